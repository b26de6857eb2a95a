"""Finding instructions to borrow, in this process's own memory and in bytes put there."""

from __future__ import annotations

import ctypes
import os
import signal

import pytest
from msgspec.structs import replace

from naht.errors import TargetRefusedError
from naht.live.native import procfs
from naht.live.native.gadgets import (
    POP_RAX_RETURN,
    SIGNAL_RETURNS,
    SYS_RT_SIGRETURN,
    SYSCALL_RETURN,
    find_gadgets,
    still_there,
)
from naht.live.native.memory import PAGE
from naht.live.native.procfs import Mapping
from tests.builders.own_memory import OwnBytes, own_memory

SIZE = 300 * PAGE  # more than one chunk


def code(area: OwnBytes, path: str = "/usr/bin/program", inode: int = 7) -> Mapping:
    return Mapping(area.address, area.address + area.size, "r-xp", 0, "fe:00", inode, path)


def filled(**at: bytes) -> OwnBytes:
    area = OwnBytes(SIZE)
    for offset, data in at.items():
        area.put(int(offset[1:]), data)
    return area


def test_libc_of_this_process_has_them() -> None:
    with own_memory() as memory:
        found = find_gadgets(memory, procfs.read_maps(os.getpid()))
        assert memory.read(found.syscall_return, 3) == SYSCALL_RETURN
        (address,) = found.signal_return
        assert memory.read(address, 9) == SIGNAL_RETURNS[0]
        assert still_there(memory, found)
        assert address == kernels_restorer()


def kernels_restorer() -> int:
    """Where this process's signal handlers return to, as the kernel was told by libc."""
    previous = signal.signal(signal.SIGUSR2, lambda *_: None)
    action = (ctypes.c_uint64 * 4)()  # handler, flags, restorer, mask
    rt_sigaction = 13
    assert ctypes.CDLL(None).syscall(rt_sigaction, signal.SIGUSR2, None, action, 8) == 0
    signal.signal(signal.SIGUSR2, previous)
    return int(action[2])


@pytest.mark.parametrize("pattern", SIGNAL_RETURNS)
def test_the_preferred_signal_returns(pattern: bytes) -> None:
    area = filled(_64=SYSCALL_RETURN, _9000=pattern)
    with own_memory() as memory:
        found = find_gadgets(memory, (code(area),))
        assert found.syscall_return == area.address + 64
        assert found.signal_return == (area.address + 9000,)
        area.put(9000, b"\xcc")
        assert not still_there(memory, found)


def test_the_chain_of_last_resort() -> None:
    area = filled(_100=SYSCALL_RETURN, _300=POP_RAX_RETURN)
    with own_memory() as memory:
        found = find_gadgets(memory, (code(area),))
        at = area.address
        assert found.signal_return == (at + 300, SYS_RT_SIGRETURN, at + 100)
        assert still_there(memory, found)


def test_a_pattern_across_a_chunk_is_found() -> None:
    chunk = 512 << 10
    area = filled(**{f"_{chunk - 4}": SIGNAL_RETURNS[0], f"_{chunk + 900}": SYSCALL_RETURN})
    with own_memory() as memory:
        found = find_gadgets(memory, (code(area),))
        assert found.signal_return == (area.address + chunk - 4,)


def test_libc_comes_first_and_the_vdso_last() -> None:
    every = SYSCALL_RETURN + SIGNAL_RETURNS[0]
    vdso, program, libc = filled(_0=every), filled(_0=every), filled(_0=every)
    maps = (
        code(vdso, "[vdso]", 0), code(program), code(libc, "/srv/root/lib/libc.so.6 (deleted)")
    )  # fmt: skip
    with own_memory() as memory:
        assert find_gadgets(memory, maps).syscall_return == libc.address
        assert find_gadgets(memory, maps[:2]).syscall_return == program.address
        assert find_gadgets(memory, maps[:1]).syscall_return == vdso.address


@pytest.mark.parametrize("present", [b"", SYSCALL_RETURN, SIGNAL_RETURNS[0], POP_RAX_RETURN])
def test_nothing_to_borrow_is_refused(present: bytes) -> None:
    area = filled(_0=present)
    with own_memory() as memory, pytest.raises(TargetRefusedError) as refused:
        find_gadgets(memory, (code(area),))
    assert refused.value.reason == "no-gadget"


def test_memory_that_is_no_file_s_code_does_not_count() -> None:
    area = filled(_0=SYSCALL_RETURN + SIGNAL_RETURNS[0])
    own = code(area)
    for other in (
        replace(own, inode=0, path=""), replace(own, permissions="r--p"),
        replace(own, permissions="--xp"), replace(own, permissions="rwxp"),
    ):  # fmt: skip
        with own_memory() as memory, pytest.raises(TargetRefusedError):
            find_gadgets(memory, (other,))
