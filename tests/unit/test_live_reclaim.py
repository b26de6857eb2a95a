"""Which addresses of a hotpatch the program itself can have got hold of."""

from __future__ import annotations

import pytest

from naht.live.native.reclaim import without
from naht.live.native.remote import Range


@pytest.mark.parametrize(
    ("hole", "left"),
    [
        ((20, 30), [(10, 20), (30, 40), (60, 80)]),
        ((10, 40), [(60, 80)]),
        ((0, 15), [(15, 40), (60, 80)]),
        ((35, 70), [(10, 35), (70, 80)]),
        ((40, 60), [(10, 40), (60, 80)]),
        ((0, 100), []),
        ((50, 50), [(10, 40), (60, 80)]),
    ],
)
def test_a_hole_is_cut_out_of_ranges(hole: Range, left: list[Range]) -> None:
    assert without([(10, 40), (60, 80)], hole) == left
