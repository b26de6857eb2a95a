"""Debian versions: their order, their parts, and what is none."""

from __future__ import annotations

from itertools import pairwise

import pytest

from naht.build.debian.versions import (
    check_name,
    check_version,
    upstream_version,
    version_key,
    without_epoch,
)
from naht.errors import UsageError

ASCENDING = [
    "1.0~~",
    "1.0~~a",
    "1.0~",
    "1.0",
    "1.0-0.1",
    "1.0-1~deb12u1",
    "1.0-1",
    "1.0-1+b1",
    "1.0-1+deb12u1",
    "1.0-1+deb12u2",
    "1.0-1+deb12u10",
    "1.0-1.1",
    "1.0a",
    "1.0+dfsg-1",
    "1.2",
    "1.10",
    "1:0.1",
    "2:0.1",
]


def test_the_order_is_debians() -> None:
    for older, newer in pairwise(ASCENDING):
        assert version_key(older) < version_key(newer), (older, newer)


def test_equal_versions_are_equal() -> None:
    for one, other in (("1.0", "0:1.0"), ("1.0", "1.0-0"), ("1.01", "1.1"), ("1.0-", "1.0")):
        assert version_key(one) == version_key(other)


@pytest.mark.parametrize(
    ("version", "upstream", "no_epoch"),
    [
        ("1:2.10-12+deb12u3", "2.10", "2.10-12+deb12u3"),
        ("2.1.12-stable-8", "2.1.12-stable", "2.1.12-stable-8"),
        ("252.39-1~deb12u2", "252.39", "252.39-1~deb12u2"),
        ("1.4", "1.4", "1.4"),
    ],
)
def test_parts(version: str, upstream: str, no_epoch: str) -> None:
    assert (upstream_version(version), without_epoch(version)) == (upstream, no_epoch)


@pytest.mark.parametrize("text", ["", "-1", "a1", "1/2", "1 2", "../1", "1\n", "1" * 300, ":1"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        check_version(text)


@pytest.mark.parametrize("text", ["", "-o", "A", "a/b", "..", "x", "a b", "a\n"])
def test_what_is_no_package_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        check_name(text)
