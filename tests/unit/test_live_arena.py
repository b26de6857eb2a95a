"""Where an arena goes: near its object, never where the heap or the stack grow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naht.errors import TargetRefusedError
from naht.live.native.arena import GROWTH_ROOM, PAGE, REACH, find_place
from naht.live.native.procfs import Mapping, parse_maps


def line(start: int, end: int, name: str = "/lib/x.so") -> str:
    inode = 0 if name.startswith("[") else 7
    return f"{start:x}-{end:x} r-xp 00000000 fe:00 {inode} {name}"


def maps(*lines: str) -> tuple[Mapping, ...]:
    return parse_maps("\n".join(lines).encode() + b"\n")


def test_the_nearest_place_below_comes_first() -> None:
    library = (0x7F00_0000_0000, 0x7F00_0001_0000)
    place = find_place(maps(line(*library)), *library, 3 * PAGE)
    assert place == library[0] - PAGE - 3 * PAGE


def test_low_executables_get_low_memory() -> None:
    program = (0x40_0000, 0x41_0000)
    place = find_place(maps(line(*program), line(0x41_0000, 0x42_0000, "[heap]")), *program, PAGE)
    assert 0x10000 < place < program[0]


def test_above_the_heap_there_is_room_to_grow() -> None:
    program = (0x1_0000, 0x41_0000)
    heap_end = 0x42_0000
    given_maps = maps(line(*program), line(0x41_0000, heap_end, "[heap]"))
    assert find_place(given_maps, *program, PAGE) >= heap_end + GROWTH_ROOM


def test_no_room_within_reach_is_refused() -> None:
    start = 0x7F00_0000_0000
    full = maps(line(start - (3 << 30), start + (3 << 30)))
    with pytest.raises(TargetRefusedError) as refusal:
        find_place(full, start, start + PAGE, PAGE)
    assert refusal.value.reason == "no-room-near-object"


ranges = st.lists(
    st.tuples(st.integers(0x10, 0x7FFFF), st.integers(1, 0x4000)), min_size=1, max_size=20
)


@given(ranges, st.integers(1, 64), st.data())
def test_a_place_is_free_aligned_and_in_reach(
    raw: list[tuple[int, int]], pages: int, data: st.DataObject
) -> None:
    taken, at = [], 0x7E00_0000_0000
    for gap, size in raw:
        at += gap * PAGE
        taken.append((at, at + size * PAGE))
        at += size * PAGE
    start, end = data.draw(st.sampled_from(taken))
    place = find_place(maps(*(line(*t) for t in taken)), start, end, pages * PAGE)
    stop = place + pages * PAGE
    assert place % PAGE == 0
    assert all(stop < low or place > high for low, high in taken)
    assert abs(end - place) <= REACH + (end - start)
    assert max(stop, end) - min(place, start) < 1 << 31
