"""Bytes at known addresses of this very process, to be read through TargetMemory."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from naht.live.native.memory import TargetMemory

PAGE = mmap.PAGESIZE


class OwnBytes:
    """`size` writable bytes between two pages that are not mapped."""

    def __init__(self, size: int) -> None:
        self.size = -(-size // PAGE) * PAGE
        self._area = mmap.mmap(-1, self.size + 2 * PAGE)
        self._anchor = ctypes.c_char.from_buffer(self._area)
        start = ctypes.addressof(self._anchor)
        self.address = start + PAGE
        libc = ctypes.CDLL(None)
        libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        assert libc.munmap(start, PAGE) == 0
        assert libc.munmap(self.address + self.size, PAGE) == 0

    def put(self, offset: int, data: bytes) -> int:
        assert offset + len(data) <= self.size
        self._area[PAGE + offset : PAGE + offset + len(data)] = data
        return self.address + offset


@contextmanager
def own_memory() -> Iterator[TargetMemory]:
    with TargetMemory(os.getpid()) as memory:
        yield memory


@pytest.fixture
def memory() -> Iterator[TargetMemory]:
    with own_memory() as opened:
        yield opened
