"""Instructions that the target already has and that a borrowed thread can run: a system call that
comes back, and a signal return.

Owns the search for them in executable, file-backed mappings and the vDSO, as memory holds them.
Never writes code to make a gadget. Refuses (TargetRefusedError) when there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from naht.errors import HostileInputError, TargetRefusedError
from naht.live.native.memory import TargetMemory
from naht.live.native.procfs import Mapping

SYS_RT_SIGRETURN = 15
SYSCALL_RETURN = bytes.fromhex("0f05c3")  # syscall; ret
SIGNAL_RETURNS = (
    bytes.fromhex("48c7c00f0000000f05"),  # mov $15,%rax; syscall: glibc's __restore_rt
    bytes.fromhex("b80f0000000f05"),  # mov $15,%eax; syscall: musl and others
)
POP_RAX_RETURN = bytes.fromhex("58c3")
LONGEST_GADGET = 9
_CHUNK = 512 << 10
_OVERLAP = 16
_MAX_SEARCHED = 512 << 20


class Gadgets(msgspec.Struct, frozen=True):
    syscall_return: int  # address of `syscall; ret`
    signal_return: tuple[int, ...]  # words to return through, ending in rt_sigreturn


_seen: dict[tuple[str, int, int], tuple[int, int]] = {}
"""Where in a file's code both instructions were in another process: a hint, checked each time."""


def find_gadgets(memory: TargetMemory, maps: Sequence[Mapping]) -> Gadgets:
    """Looks in libc first, where the instructions nearly always are."""
    ordered = list(_in_search_order(maps))
    if known := _find_again(memory, ordered[:1]):
        return known
    gadgets = _find(memory, ordered)
    _remember(gadgets, ordered[0])
    return gadgets


def _file_part(mapping: Mapping) -> tuple[str, int, int]:
    return mapping.device, mapping.inode, mapping.offset


def _find_again(memory: TargetMemory, first: Sequence[Mapping]) -> Gadgets | None:
    for mapping in first:
        if places := _seen.get(_file_part(mapping)):
            gadgets = Gadgets(mapping.start + places[0], (mapping.start + places[1],))
            if still_there(memory, gadgets):
                return gadgets
    return None


def _remember(gadgets: Gadgets, mapping: Mapping) -> None:
    addresses = (gadgets.syscall_return, *gadgets.signal_return)
    if mapping.inode and len(addresses) == 2 and all(a in mapping for a in addresses):
        _seen[_file_part(mapping)] = (addresses[0] - mapping.start, addresses[1] - mapping.start)


def _find(memory: TargetMemory, ordered: Sequence[Mapping]) -> Gadgets:
    found = _search(memory, iter(ordered))
    syscall_return = found.get(SYSCALL_RETURN, 0)
    signal_return = _signal_return(found)
    if not syscall_return or not signal_return:
        missing = "a signal return" if syscall_return else "`syscall; ret`"
        raise TargetRefusedError(
            "no-gadget",
            f"No code of the process holds {missing}, so no thread of it can be borrowed safely.",
            "Restart the process with the fixed object on disk.",
        )
    return Gadgets(syscall_return, signal_return)


def _signal_return(found: dict[bytes, int]) -> tuple[int, ...]:
    for pattern in SIGNAL_RETURNS:
        if pattern in found:
            return (found[pattern],)
    if POP_RAX_RETURN in found and SYSCALL_RETURN in found:
        return (found[POP_RAX_RETURN], SYS_RT_SIGRETURN, found[SYSCALL_RETURN])
    return ()


def _search(memory: TargetMemory, maps: Iterator[Mapping]) -> dict[bytes, int]:
    """The first place of each pattern; stops as soon as the preferred ones are there."""
    found: dict[bytes, int] = {}
    searched = 0
    for mapping in maps:
        for address, data in memory.chunks(mapping.start, mapping.end, _CHUNK, _OVERLAP):
            _note_patterns(found, address, data)
            searched += len(data)
            if _is_enough(found) or searched > _MAX_SEARCHED:
                return found
    return found


def _note_patterns(found: dict[bytes, int], address: int, data: bytes) -> None:
    for pattern in (SYSCALL_RETURN, *SIGNAL_RETURNS, POP_RAX_RETURN):
        if pattern not in found and (at := data.find(pattern)) >= 0:
            found[pattern] = address + at


def _is_enough(found: dict[bytes, int]) -> bool:
    return SYSCALL_RETURN in found and any(pattern in found for pattern in SIGNAL_RETURNS)


def _in_search_order(maps: Sequence[Mapping]) -> Iterator[Mapping]:
    """Readable code whose bytes come from a file or the kernel; libc first, the vDSO last."""
    code = [m for m in maps if m.permissions[:3] == "r-x" and (m.inode or m.path == "[vdso]")]
    return iter(sorted(code, key=_search_rank))


def _search_rank(mapping: Mapping) -> tuple[int, int]:
    name = mapping.path.rpartition("/")[2]
    if name.startswith(("libc.so", "libc-", "ld-musl-", "libc.musl-")):
        return 0, mapping.start
    return (2 if mapping.path == "[vdso]" else 1), mapping.start


def still_there(memory: TargetMemory, gadgets: Gadgets) -> bool:
    """Whether the code at the gadgets is what it was; a cheap check before they are used."""
    try:
        if memory.read(gadgets.syscall_return, 3) != SYSCALL_RETURN:
            return False
        first = memory.read(gadgets.signal_return[0], 9)
    except HostileInputError:
        return False
    if len(gadgets.signal_return) == 1:
        return first.startswith(SIGNAL_RETURNS)
    return first.startswith(POP_RAX_RETURN)
