"""Bounded reading of another process's memory, without stopping it.

Owns one open /proc/PID/mem: the descriptor stays with the address space that it was opened on, so
that a PID used again, or an exec, reads as TargetGoneError and never as somebody else's memory.
What is read is hostile. This module never writes.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from types import TracebackType

from naht.domain.process import ProcessKey
from naht.errors import HostileInputError, TargetGoneError
from naht.live.native import procfs
from naht.live.native.no_memory import no_memory_refusal

MAX_READ = 256 << 20
PAGE = 4096
ADDRESS_LIMIT = 1 << 63

_U64 = struct.Struct("<Q")


class TargetMemory:
    """Memory of one process. Use as a context manager, or call `close`."""

    __slots__ = ("_descriptor", "pid")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = -1
        try:
            self._descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise procfs.as_target_error(pid, error) from error

    @classmethod
    def of(cls, key: ProcessKey) -> TargetMemory:
        """Opens first and checks the key after, so that the opened memory is that process's.

        Raises TargetRefusedError for what is there, but has no memory (see `no_memory`).
        """
        try:
            memory = cls(key.pid)
        except TargetGoneError:
            _check_task(key)
            raise
        try:
            _check_task(key)
        except BaseException:
            memory.close()
            raise
        return memory

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> TargetMemory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes, or an error."""
        data = self.read_up_to(address, size)
        if len(data) != size:
            raise unmapped(address + len(data))
        return data

    def read_up_to(self, address: int, size: int) -> bytes:
        """The bytes from `address` up to the first unmapped page, at most `size`."""
        if not 0 <= size <= MAX_READ:
            raise HostileInputError(
                f"A read of {size} bytes at {address:#x} was asked for.",
                "Treat the process as altered: its tables name impossible sizes.",
            )
        if not 0 <= address <= ADDRESS_LIMIT - size:
            raise unmapped(address)
        if size == 0:
            return b""
        first = self._pread(address, size)
        if len(first) == size:
            return first
        return self._read_rest(first, address, size)

    def _read_rest(self, first: bytes, address: int, size: int) -> bytes:
        chunks = [first]
        done = len(first)
        while done < size and chunks[-1]:  # a read is cut short by an unmapped page only
            chunks.append(self._pread(address + done, size - done))
            done += len(chunks[-1])
        return b"".join(chunks)

    def _pread(self, address: int, size: int) -> bytes:
        """At least one byte, or b"" where nothing is mapped."""
        try:
            data = os.pread(self._descriptor, size, address)
        except OSError as error:
            if error.errno in (errno.EIO, errno.EFAULT):
                return b""
            raise procfs.as_target_error(self.pid, error) from error
        if not data:
            # The kernel's mem_rw returns 0 only when the address space has no user left.
            raise procfs.gone(self.pid)
        return data

    def unsigned(self, address: int) -> int:
        """The 64-bit word at `address`."""
        return int(_U64.unpack(self.read(address, 8))[0])

    def string(self, address: int, limit: int = 4096) -> bytes:
        """The NUL-terminated string at `address`, without its end."""
        found = bytearray()
        while len(found) < limit:
            at = address + len(found)
            piece = self.read_up_to(at, min(PAGE - at % PAGE, limit - len(found)))
            if not piece:
                raise unmapped(at)
            end = piece.find(b"\0")
            if end >= 0:
                return bytes(found + piece[:end])
            found += piece
        raise HostileInputError(
            f"A string at {address:#x} of process {self.pid} has no end.",
            "Treat the process as altered: restart it at the next chance.",
        )

    def chunks(self, start: int, end: int, size: int, overlap: int) -> Iterator[tuple[int, bytes]]:
        """[start, end) in pieces that overlap, so that no pattern is cut. Stops where unmapped."""
        at = start
        while at < end:
            data = self.read_up_to(at, min(size, end - at))
            if data:
                yield at, data
            if len(data) < size or at + len(data) >= end:
                return
            at += size - overlap


def _check_task(key: ProcessKey) -> None:
    stat = procfs.read_stat(key.pid)
    if stat.start_time != key.start_time:
        raise procfs.gone(key.pid)
    if refusal := no_memory_refusal(key.pid, stat):
        raise refusal


def unmapped(address: int) -> HostileInputError:
    return HostileInputError(
        f"Nothing is mapped at {address:#x} of the process.",
        "Try again; if it stays so, the process's own tables are damaged: restart it.",
    )
