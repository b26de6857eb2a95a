"""Ranges that differ, and their names."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from naht.build.native.loaded_content import _runs


@given(st.binary(max_size=9000), st.data())
def test_the_ranges_cover_exactly_what_differs(content: bytes, data: st.DataObject) -> None:
    changed = bytearray(content)
    places = st.integers(0, max(len(content) - 1, 0))
    for at in data.draw(st.sets(places, max_size=6)) if content else ():
        changed[at] ^= data.draw(st.integers(0, 255))
    differing = [i for i, (a, b) in enumerate(zip(content, changed, strict=True)) if a != b]
    ranges = list(_runs(content, bytes(changed)))
    assert all(any(start <= i < end for start, end in ranges) for i in differing)
    for start, end in ranges:
        assert start in differing
        assert end - 1 in differing
    assert all(a[1] <= b[0] for a, b in pairwise(ranges))
