"""The dynamic loader's list of a process's objects, and the scopes in which it looks up symbols.

Owns walking `r_debug` (link.h: the debugger interface, kept stable by glibc and musl) with bounds
and loop protection, and the rules by which objects form scopes. It only reads; a list that the
loader is changing at this moment is BusyError, one that cannot be understood is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import cached_property

import msgspec

from naht.elf import constants as c
from naht.errors import BusyError, HostileInputError, TargetRefusedError
from naht.live.native import procfs
from naht.live.native.dynamic import DynamicObject
from naht.live.native.loaded_elf import LoadedElf
from naht.live.native.memory import TargetMemory
from naht.live.native.procfs import Mapping

MAX_ENTRIES = 16384
READS = 3
MAX_NAMESPACES = 64  # glibc's DL_NNS is 16
AT_PHDR = 3  # elf.h

_R_DEBUG = struct.Struct("<iiQQiiQ")  # version, map, brk, state, ldbase
_LINK_MAP = struct.Struct("<QQQQQ")  # addr, name, ld, next, prev
_AUXV_ENTRY = struct.Struct("<QQ")


class LoaderList(msgspec.Struct, frozen=True):
    """A `struct r_debug`: where a namespace's list begins, and whether it is whole."""

    version: int  # 0 until the loader has set it up
    first: int
    state: int  # RT_CONSISTENT is 0


class LinkEntry(msgspec.Struct, frozen=True):
    """One `struct link_map`. `namespace` is 0 for the program's own, more for dlmopen's."""

    bias: int
    name: bytes
    dynamic: int
    namespace: int


def read_link_map(
    memory: TargetMemory, main: LoadedElf, elves: Sequence[LoadedElf]
) -> tuple[LinkEntry, ...]:
    """Every entry in load order, namespace by namespace; empty for a static program."""
    address = find_r_debug(memory, main, elves)
    for attempt in range(READS):
        try:
            return _read_namespaces(memory, address)
        except HostileInputError:
            if attempt == READS - 1:
                raise  # else the loader may have changed the list under our eyes
    return ()


def _read_namespaces(memory: TargetMemory, address: int) -> tuple[LinkEntry, ...]:
    entries: list[LinkEntry] = []
    for namespace in range(MAX_NAMESPACES):
        if not address:
            return tuple(entries)
        version, first = _read_r_debug(memory, address)
        entries += _walk(memory, first, namespace)
        if _read_r_debug(memory, address) != (version, first):
            raise damaged("it changed meanwhile")
        # glibc 2.35 and later chain the other namespaces from version 2 on.
        address = memory.unsigned(address + _R_DEBUG.size) if version >= 2 else 0
    raise damaged("too many namespaces")


def _read_r_debug(memory: TargetMemory, address: int) -> tuple[int, int]:
    """Version and first entry."""
    found = read_loader_list(memory, address)
    if found.state != 0:  # RT_ADD or RT_DELETE
        raise BusyError(
            f"Process {memory.pid} is loading or unloading a library.", "Try again shortly."
        )
    return found.version, found.first


def read_loader_list(memory: TargetMemory, address: int) -> LoaderList:
    version, _, first, _brk, state, _, _base = _R_DEBUG.unpack(memory.read(address, _R_DEBUG.size))
    return LoaderList(version, first, state)


def _walk(memory: TargetMemory, address: int, namespace: int) -> list[LinkEntry]:
    entries: list[LinkEntry] = []
    seen: set[int] = set()
    while address:
        if address in seen or len(seen) >= MAX_ENTRIES:
            raise damaged("it runs in a circle or has no end")
        seen.add(address)
        bias, name, dynamic, address, _ = _LINK_MAP.unpack(memory.read(address, _LINK_MAP.size))
        text = memory.string(name) if name else b""
        entries.append(LinkEntry(bias, text, dynamic, namespace))
    return entries


def find_r_debug(memory: TargetMemory, main: LoadedElf, elves: Sequence[LoadedElf]) -> int:
    """DT_DEBUG of the program, else the loader's own `_r_debug` (its program has no DT_DEBUG when
    the loader was started by hand: `ld.so ./program`)."""
    program = DynamicObject(memory, main)
    if address := program.value(c.DT_DEBUG):
        return address
    for elf in elves:
        for symbol in DynamicObject(memory, elf).find_symbols(b"_r_debug"):
            if symbol.section != c.SHN_UNDEF:
                return elf.bias + symbol.value
    return 0


def main_program(memory: TargetMemory, elves: Iterable[LoadedElf]) -> LoadedElf:
    """The object that the kernel started, by where it says the program headers are."""
    address = auxiliary_value(procfs.read_text(memory.pid, "auxv", 65536), AT_PHDR)
    for elf in elves:
        if elf.start <= address < elf.end:
            return elf
    raise TargetRefusedError(
        "no-main-program",
        f"The main program of process {memory.pid} is not mapped from a file any more.",
        "Restart the process with the fixed object on disk.",
    )


def auxiliary_value(auxv: bytes, wanted: int) -> int:
    usable = len(auxv) - len(auxv) % _AUXV_ENTRY.size
    entries = _AUXV_ENTRY.iter_unpack(auxv[:usable])
    return next((value for kind, value in entries if kind == wanted), 0)


class LinkedObject(msgspec.Struct, frozen=True):
    """A link map entry together with the dynamic tables of its object."""

    position: int
    entry: LinkEntry
    dynamic: DynamicObject

    @property
    def names(self) -> frozenset[bytes]:
        """What a DT_NEEDED entry may call it."""
        return frozenset(
            {self.entry.name, self.entry.name.rpartition(b"/")[2], self.dynamic.soname} - {b""}
        )


class Scopes:
    """Which objects the loader searches for a symbol that an object refers to, and in which order.

    First the global scope (the program, preloaded objects, and what they need, breadth first, which
    is load order), then the object that was dlopen'ed and what that needs. Which dlopen brought an
    object in is not on record: `search_lists` gives every possibility.
    """

    def __init__(self, objects: Sequence[LinkedObject]) -> None:
        self.objects = objects

    @cached_property
    def global_scopes(self) -> dict[int, tuple[LinkedObject, ...]]:
        """By namespace. All up to the last object that the first one needs: what comes between
        without being needed was preloaded, and counts."""
        scopes = {}
        for namespace in {o.entry.namespace for o in self.objects}:
            members = self._members(namespace)
            reached = self.reachable(members[0])
            last = max(o.position for o in reached)
            scopes[namespace] = tuple(o for o in members if o.position <= last)
        return scopes

    def search_lists(self, wanting: LinkedObject) -> list[tuple[LinkedObject, ...]]:
        scope = self.global_scopes[wanting.entry.namespace]
        if any(o is wanting for o in scope):
            return [scope]
        roots = [
            o
            for o in self._members(wanting.entry.namespace)
            if scope[-1].position < o.position <= wanting.position
            and any(r is wanting for r in self.reachable(o))
        ]
        return [scope + self.reachable(root) for root in roots]

    def reachable(self, root: LinkedObject) -> tuple[LinkedObject, ...]:
        """`root` and what it needs, breadth first (gABI: the order of symbol search)."""
        by_name = self._by_name(root.entry.namespace)
        order, seen = [root], {root.position}
        for found in order:
            for name in found.dynamic.needed:
                other = by_name.get(name) or by_name.get(name.rpartition(b"/")[2])
                if other is not None and other.position not in seen:
                    seen.add(other.position)
                    order.append(other)
        return tuple(order)

    def _by_name(self, namespace: int) -> dict[bytes, LinkedObject]:
        return {name: o for o in reversed(self._members(namespace)) for name in o.names}

    def _members(self, namespace: int) -> list[LinkedObject]:
        return [o for o in self.objects if o.entry.namespace == namespace]


def link_objects(
    memory: TargetMemory,
    entries: Sequence[LinkEntry],
    elves: Sequence[LoadedElf],
    maps: Sequence[Mapping],
) -> tuple[LinkedObject, ...]:
    """Pairs each entry with its object in memory. The vDSO is in the list, but in no scope."""
    by_dynamic = {}
    for elf in elves:
        dynamic = DynamicObject(memory, elf)
        by_dynamic[dynamic.address] = dynamic
    linked = []
    for position, entry in enumerate(entries):
        dynamic_object = by_dynamic.get(entry.dynamic)
        if dynamic_object is not None and dynamic_object.bias == entry.bias:
            linked.append(LinkedObject(position, entry, dynamic_object))
        elif not is_vdso(maps, entry):
            raise TargetRefusedError(
                "link-map-incomplete",
                f"The loader lists {procfs.printable(entry.name) or 'an object'} in process "
                f"{memory.pid}, but its ELF header is not in memory.",
                "Restart the process with the fixed object on disk.",
            )
    return tuple(linked)


def is_vdso(maps: Sequence[Mapping], entry: LinkEntry) -> bool:
    mapping = procfs.mapping_at(maps, entry.dynamic)
    return mapping is not None and mapping.path == "[vdso]"


def damaged(what: str) -> HostileInputError:
    return HostileInputError(
        f"The loader's list of objects in the process is damaged: {what}.",
        "Treat the process as altered: restart it at the next chance.",
    )
