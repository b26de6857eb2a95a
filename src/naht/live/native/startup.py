"""Whether a process has come to its program: until the dynamic loader has handed over, objects are
missing or lack their relocations, and nothing that the plan needs to know can be read.

Owns that question and the wait for its answer, which is a matter of moments: BusyError when they
are over. It only reads, and claims nothing of a process that it does not understand: what comes
after it judges that.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from naht.elf import constants as c
from naht.errors import BusyError, HostileInputError
from naht.live.engine import RetryPolicy
from naht.live.native import procfs
from naht.live.native.dynamic import DynamicObject
from naht.live.native.link_map import (
    AT_PHDR,
    auxiliary_value,
    find_r_debug,
    is_vdso,
    read_link_map,
    read_loader_list,
)
from naht.live.native.loaded_elf import LoadedElf, read_loaded_elf
from naht.live.native.memory import TargetMemory
from naht.live.native.procfs import Mapping

AT_BASE = 7  # elf.h: where the kernel put the loader
RT_CONSISTENT = 0  # link.h


def wait_for_program(memory: TargetMemory, retry: RetryPolicy) -> tuple[Mapping, ...]:
    """The mappings of a process that runs its program. Looks as often as for any quiet moment."""
    wait = retry.first_wait_ns
    for left in reversed(range(retry.attempts)):
        unfinished = find_unfinished_start(memory, procfs.read_maps(memory.pid))
        if not unfinished:
            return procfs.read_maps(memory.pid)  # the loader may have mapped the last ones since
        if left:
            time.sleep(wait / 1e9)
            wait = min(wait * 2, retry.longest_wait_ns)
    raise BusyError(
        f"Process {memory.pid} does not run its program yet: {unfinished}; it was looked at "
        f"{retry.attempts} times.",
        "Run it again in a moment. If it stays so, see what it waits for: "
        f"ls -l /proc/{memory.pid}/fd; cat /proc/{memory.pid}/wchan",
    )


def find_unfinished_start(memory: TargetMemory, maps: Sequence[Mapping]) -> str:
    """What has still to be done before the program runs, for people; "" when it may be running."""
    auxv = procfs.read_text(memory.pid, "auxv", 65536)
    if not any(auxv):
        # The kernel fills it in last (create_elf_tables), after it has mapped program and loader.
        return "the kernel is still loading it" if maps else ""
    try:
        headers, base = auxiliary_value(auxv, AT_PHDR), auxiliary_value(auxv, AT_BASE)
        start = _Start.of(memory, maps, headers, base)
        return start.find_unfinished() if start else ""
    except HostileInputError:
        return ""


class _Start(msgspec.Struct):
    """A program that a dynamic loader starts."""

    memory: TargetMemory
    maps: Sequence[Mapping]
    program: DynamicObject
    loader: LoadedElf
    by_hand: bool  # `ld.so ./program`: to the kernel, the loader is the program

    @classmethod
    def of(
        cls, memory: TargetMemory, maps: Sequence[Mapping], headers: int, base: int
    ) -> _Start | None:
        """None for a static program, and for one whose headers are not where the kernel had them:
        it has long run if it moved them."""
        first = procfs.mapping_at(maps, headers)
        if first is None or first.offset or not first.inode:
            return None
        elf = read_loaded_elf(memory, first.start)
        program = DynamicObject(memory, elf)
        if elf.segment(c.PT_INTERP) is None:
            is_loader = any(program.find_symbols(b"_r_debug"))
            return cls(memory, maps, program, elf, True) if is_loader else None
        if not base:
            return None
        return cls(memory, maps, program, read_loaded_elf(memory, base), False)

    def find_unfinished(self) -> str:
        address = find_r_debug(self.memory, self.program.elf, [self.loader])
        if not address:
            # Both glibc and musl fill DT_DEBUG in; nearly all linkers make room for it.
            return "its dynamic linker has not begun" if self.program.has(c.DT_DEBUG) else ""
        found = read_loader_list(self.memory, address)
        if not found.version or not found.first:
            return "its dynamic linker has not yet set up its list of objects"
        if not self._is_in_loader():
            return ""
        if found.state != RT_CONSISTENT:
            return "its dynamic linker is still loading its libraries"
        # glibc publishes the list, still called consistent, just before it says that it adds to it.
        if self.program.needed and not self.by_hand and not self._has_libraries():
            return "its dynamic linker has still to load its libraries"
        return ""

    def _is_in_loader(self) -> bool:
        """Whether the first call on the initial stack is one that the loader made.

        The kernel starts the loader with the stack pointer at start_stack; its first instructions
        call its own work (sysdeps/x86_64/dl-machine.h's RTLD_START, musl's crt_arch.h), and it
        starts the program with the same stack pointer, which writes over that return address. It
        tells a start from a later dlopen, and from the child of a fork that came amid one: there
        the list says "not consistent" for ever.
        """
        stack = procfs.read_stat(self.memory.pid).start_stack
        if not stack:
            return False  # hidden from this user
        return self.loader.start <= self.memory.unsigned(stack - 8) < self.loader.end

    def _has_libraries(self) -> bool:
        own = {self.program.address, DynamicObject(self.memory, self.loader).address}
        try:
            entries = read_link_map(self.memory, self.program.elf, [self.loader])
        except BusyError:
            return False
        return any(e.dynamic not in own and not is_vdso(self.maps, e) for e in entries)
