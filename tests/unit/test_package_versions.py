"""Versions are ordered as dpkg orders them."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from naht.domain.package import compare_versions

# Ascending; from deb-version(7) and from updates that were really published.
ASCENDING = [
    "0", "1.0~~", "1.0~~a", "1.0~", "1.0~rc1", "1.0~rc1-1", "1.0", "1.0-1~bpo12+1", "1.0-1",
    "1.0-1+b1", "1.0-1+deb12u1", "1.0-1+deb12u2", "1.0-1+deb12u11", "1.0-1.1", "1.0-2", "1.0a",
    "1.0+dfsg", "1.0.1", "1.9", "1.10", "1:0.5", "5:7.0.15-1~deb12u7", "5:7.0.15-1~deb12u10",
]  # fmt: skip

VERSIONS = st.from_regex(
    r"([0-9]:)?[0-9][0-9a-z.+~]{0,6}(-[0-9a-z.+~]{1,5})?", fullmatch=True
).filter(str.isascii)


def sign(number: int) -> int:
    return (number > 0) - (number < 0)


@pytest.mark.parametrize("index", range(len(ASCENDING)))
def test_published_order(index: int) -> None:
    for other, version in enumerate(ASCENDING):
        assert sign(compare_versions(ASCENDING[index], version)) == sign(index - other)


@pytest.mark.parametrize(("one", "other"), [("1.0", "0:1.0"), ("1.00", "1.0"), ("1.0-0", "1.0")])
def test_written_differently_and_equal(one: str, other: str) -> None:
    assert compare_versions(one, other) == 0


@given(VERSIONS, VERSIONS, VERSIONS)
def test_it_is_an_order(one: str, two: str, three: str) -> None:
    assert compare_versions(one, one) == 0
    assert sign(compare_versions(one, two)) == -sign(compare_versions(two, one))
    if compare_versions(one, two) <= 0 and compare_versions(two, three) <= 0:
        assert compare_versions(one, three) <= 0


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_survived(one: str, other: str) -> None:
    assert sign(compare_versions(one, other)) == -sign(compare_versions(other, one))


@settings(max_examples=40)
@given(VERSIONS, VERSIONS)
def test_dpkg_agrees(one: str, other: str) -> None:
    order = compare_versions(one, other)
    relation = "lt" if order < 0 else "gt" if order > 0 else "eq"
    asked = ["dpkg", "--compare-versions", one, relation, other]
    assert subprocess.run(asked, check=False, stderr=subprocess.DEVNULL).returncode == 0
