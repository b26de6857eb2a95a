"""Releases travel as JSON written by others: what is not well-formed does not get in."""

from __future__ import annotations

import datetime

import msgspec
import pytest

from naht.domain.release import Advisory, Product, Release, ReleasedComponent, Withdrawal

RELEASE = Release(
    id="2026.11 H2",
    product="debian-12",
    type="out-of-band-hotpatch",
    date=datetime.date(2026, 11, 20),
    baseline="2026.10 B",
    level=2,
    restart="none",
    components=(
        ReleasedComponent(
            purl="pkg:deb/debian/libexpat1@2.5.0-1?arch=amd64",
            build_ids=("ab" * 20,),
            hotpatch="CVE-2026-1",
            digest="0" * 64,
            level=2,
        ),
    ),
    advisories=(Advisory(id="DSA-9999-1", cves=("CVE-2026-1",), severity="critical"),),
    withdrawn=Withdrawal(date=datetime.date(2026, 11, 21), reason="It breaks entity handlers."),
)


def test_a_release_survives_the_way_through_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(RELEASE), type=Release) == RELEASE


@pytest.mark.parametrize(
    "change",
    [
        {"id": "2026.13 H"},
        {"id": "2026.11 X"},
        {"id": "2026.11 H1"},
        {"id": "2026.11 H\n"},
        {"product": "Debian 12"},
        {"product": "../debian"},
        {"type": "preview"},
        {"date": "2026-02-30"},
        {"baseline": "2026.10 H"},
        {"baseline": "2026.10 B\n"},
        {"level": -1},
        {"restart": "perhaps"},
        {"kb": "5066835"},
        {"build": "26100"},
        {"surprise": 1},
        {"withdrawn": {"date": "2026-11-21", "reason": ""}},
        {"components": [{"purl": "pkg:deb/debian/x", "build_ids": ["xyz"]}]},
    ],
)
def test_what_is_malformed_is_not_decoded(change: dict[str, object]) -> None:
    fields = msgspec.to_builtins(RELEASE) | change
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(fields, Release)


@pytest.mark.parametrize("name", ["debian-12", "windows-server-2022-azure", "our.fleet-3"])
def test_product_names_fit_into_file_names_and_addresses(name: str) -> None:
    assert msgspec.convert({"name": name, "title": name}, Product).name == name
