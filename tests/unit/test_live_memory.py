"""Bounded reading of memory, tried on this process's own."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naht.domain.process import ProcessKey
from naht.errors import HostileInputError, TargetGoneError
from naht.live.native import procfs
from naht.live.native.memory import MAX_READ, PAGE, TargetMemory
from tests.builders.own_memory import OwnBytes, own_memory

AREA = OwnBytes(4 * PAGE)
PATTERN = bytes(range(256)) * (4 * PAGE // 256)
AREA.put(0, PATTERN)


@given(st.integers(0, 4 * PAGE), st.integers(0, 4 * PAGE))
def test_reads_exactly_what_is_there(offset: int, size: int) -> None:
    with own_memory() as memory:
        if offset + size <= 4 * PAGE:
            assert memory.read(AREA.address + offset, size) == PATTERN[offset : offset + size]
        assert memory.read_up_to(AREA.address + offset, size) == PATTERN[offset : offset + size]


def test_a_read_across_the_end_is_refused_as_a_whole() -> None:
    with (
        own_memory() as memory,
        pytest.raises(HostileInputError, match=hex(AREA.address + AREA.size)),
    ):
        memory.read(AREA.address + AREA.size - 8, 9)


@pytest.mark.parametrize("address", [0, 0x1000, -1, 1 << 62, 1 << 63, 1 << 64, (1 << 64) - 8])
def test_addresses_that_nobody_has(address: int) -> None:
    with own_memory() as memory, pytest.raises(HostileInputError):
        memory.read(address, 8)


@pytest.mark.parametrize("size", [-1, MAX_READ + 1, 1 << 62])
def test_impossible_sizes_are_refused_before_memory_is_taken(size: int) -> None:
    with own_memory() as memory, pytest.raises(HostileInputError):
        memory.read(AREA.address, size)


def test_words_and_strings() -> None:
    AREA.put(PAGE - 3, b"across pages\0")
    AREA.put(2 * PAGE, (0xDEADBEEF12345678).to_bytes(8, "little"))
    with own_memory() as memory:
        assert memory.string(AREA.address + PAGE - 3) == b"across pages"
        assert memory.unsigned(AREA.address + 2 * PAGE) == 0xDEADBEEF12345678
        with pytest.raises(HostileInputError):
            memory.string(AREA.address + PAGE - 3, limit=5)
    AREA.put(0, PATTERN)


def test_a_string_that_runs_into_nothing() -> None:
    area = OwnBytes(PAGE)
    area.put(PAGE - 4, b"abcd")
    with own_memory() as memory, pytest.raises(HostileInputError):
        memory.string(area.address + PAGE - 4)


@given(st.integers(20, 300), st.integers(0, 16), st.integers(1, 3000))
def test_chunks_cut_no_pattern(size: int, overlap: int, length: int) -> None:
    start = AREA.address + 7
    with own_memory() as memory:
        pieces = list(memory.chunks(start, start + length, size, overlap))
    joined = bytearray(length)
    for at, data in pieces:
        joined[at - start : at - start + len(data)] = data
    assert bytes(joined) == PATTERN[7 : 7 + length]
    for (at, data), (following, _) in pairwise(pieces):
        assert at + len(data) - following == overlap


def test_the_key_is_checked() -> None:
    key = procfs.read_key(os.getpid())
    with TargetMemory.of(key) as memory:
        assert memory.pid == os.getpid()
    with pytest.raises(TargetGoneError):
        TargetMemory.of(ProcessKey(key.pid, key.start_time + 1))


def test_closing_twice_is_harmless() -> None:
    memory = TargetMemory(os.getpid())
    memory.close()
    memory.close()
