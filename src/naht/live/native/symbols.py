"""What a symbol name means in a live process: the address that its dynamic loader would bind.

Owns the rules of symbol search (scopes, versions, hidden and default versions, unique symbols), and
finding values that the loader has already computed: chosen IFUNC implementations and TLS module
ids. It never runs code of the target; what it would have to run for is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from naht.domain.process import LoadedObject
from naht.elf import constants as c
from naht.elf.file import Relocation
from naht.errors import TargetRefusedError
from naht.live.native import link_map, procfs
from naht.live.native.discovery import find_elves
from naht.live.native.dynamic import (
    VERSION_HIDDEN,
    VERSION_INDEX,
    DynamicObject,
    DynamicSymbol,
)
from naht.live.native.link_map import LinkedObject, Scopes
from naht.live.native.loaded_elf import LoadedElf
from naht.live.native.memory import TargetMemory
from naht.live.native.procfs import Mapping

STB_GNU_UNIQUE = 10
STT_COMMON = 5
_ADDRESSABLE = {c.STT_NOTYPE, c.STT_OBJECT, c.STT_FUNC, STT_COMMON, c.STT_TLS, c.STT_GNU_IFUNC}
_SYMBOL_SLOTS = {c.R_X86_64_64, c.R_X86_64_GLOB_DAT, c.R_X86_64_JUMP_SLOT}
_MAX_TLS_MODULE = 1 << 20
_ENDBR64 = bytes.fromhex("f30f1efa")

Definition = tuple[LinkedObject, DynamicSymbol]


class ProcessSymbols:
    """Symbol search in one process, as its memory is now. Reads lazily and keeps what it read."""

    def __init__(self, memory: TargetMemory, maps: Sequence[Mapping]) -> None:
        self.memory = memory
        self.maps = maps

    def address_of(
        self, target: LoadedObject, name: str, version: str = "", *, weak: bool = False
    ) -> int:
        """What a reference from `target` to `name` binds to; 0 for a weak one with no definition.

        Raises TargetRefusedError: import-missing, import-ambiguous, import-tls, ifunc-unresolved.
        """
        wanting = self._linked(target)
        found = {
            self._value(definition, name)
            for scope in self._scopes.search_lists(wanting)
            if (definition := search(scope, name.encode(), version.encode()))
        }
        if len(found) > 1:
            raise _refuse(
                "import-ambiguous", f"{name} means different things to the objects that use it"
            )
        if not found and not weak:
            wanted = f"{name}@{version}" if version else name
            raise _refuse("import-missing", f"no object in reach of it defines {wanted}")
        return found.pop() if found else 0

    def exported_by(self, soname: str, name: str) -> int:
        """The address of a symbol in the first loaded object of that SONAME; 0 if there is none."""
        for linked in self._objects:
            if linked.dynamic.soname == soname.encode():
                symbol = find_definition(linked.dynamic, name.encode(), b"")
                return linked.dynamic.bias + symbol.value if symbol else 0
        return 0

    def tls_module(self, target: LoadedObject) -> int:
        """The id under which the loader keeps the object's thread-local storage."""
        elf = self._elf(target)
        if elf.segment(c.PT_TLS) is None:
            raise _refuse("tls-module-unknown", "the object has no thread-local storage")
        if elf is self._main:
            return 1  # the program's module id is always 1 (ELF Handling For TLS, section 3.4.2)
        dynamic = DynamicObject(self.memory, elf)
        for relocation in dynamic.relocations:
            if relocation.type == c.R_X86_64_DTPMOD64 and self._is_own(target, dynamic, relocation):
                module = self.memory.unsigned(elf.bias + relocation.offset)
                if 0 < module <= _MAX_TLS_MODULE:
                    return module
        raise _refuse("tls-module-unknown", "no slot of the object holds its TLS module id")

    def _is_own(self, target: LoadedObject, dynamic: DynamicObject, relocation: Relocation) -> bool:
        """Whether the slot names the object's own storage: another object may define the symbol."""
        if relocation.symbol == 0:
            return True
        symbol = dynamic.symbol(relocation.symbol)
        if symbol.section == c.SHN_UNDEF:
            return False
        version = dynamic.defined_versions.get(_version_index(dynamic, symbol.index), b"")
        lists = self._scopes.search_lists(self._linked(target))
        found = [search(scope, symbol.name, version) for scope in lists]
        return all(d is not None and d[0].dynamic.bias == dynamic.bias for d in found)

    # --- values --------------------------------------------------------------------------------

    def _value(self, definition: Definition, name: str) -> int:
        holder, symbol = definition
        if symbol.type == c.STT_TLS:
            raise _refuse("import-tls", f"{name} is a thread-local variable of another object")
        if symbol.binding == STB_GNU_UNIQUE:
            holder, symbol = self._unique(definition, name)
        if symbol.section == c.SHN_ABS:
            return symbol.value
        address = holder.dynamic.bias + symbol.value
        if symbol.type == c.STT_GNU_IFUNC:
            return self._chosen_implementation(holder, symbol, address, name)
        return address

    def _unique(self, definition: Definition, name: str) -> Definition:
        """The one definition of an STB_GNU_UNIQUE symbol in the namespace.

        The loader keeps the first that it ever bound, in a table of its own; with several
        definitions loaded only an existing binding tells which one.
        """
        holder, symbol = definition
        namespace = holder.entry.namespace
        others = [
            (o, s)
            for o in self._objects
            if o.entry.namespace == namespace
            for s in o.dynamic.find_symbols(symbol.name)
            if s.binding == STB_GNU_UNIQUE and s.section != c.SHN_UNDEF
        ]
        if len(others) == 1:
            return others[0]
        bound = {value for _, _, value in self._slots_of(symbol.name, namespace)}
        matching = [d for d in others if d[0].dynamic.bias + d[1].value in bound]
        if len(matching) != 1:
            raise _refuse("import-ambiguous", f"{name} is defined in several loaded objects")
        return matching[0]

    def _chosen_implementation(
        self, holder: LinkedObject, symbol: DynamicSymbol, resolver: int, name: str
    ) -> int:
        """What the IFUNC's resolver returned to the loader, from a slot that the loader filled."""
        version = _defined_version(holder.dynamic, symbol)
        chosen = {
            value
            for user, user_symbol, value in self._slots_of(symbol.name, holder.entry.namespace)
            if _wanted_version(user.dynamic, user_symbol) == version
        }
        chosen |= set(self._resolved_internally(holder.dynamic, resolver))
        usable = {v for v in chosen if v != resolver and self._is_code_of(holder, v)}
        if len(usable) != 1:
            raise _refuse(
                "ifunc-unresolved", f"which implementation of {name} the loader chose is not known"
            )
        return usable.pop()

    def _slots_of(
        self, name: bytes, namespace: int
    ) -> Iterator[tuple[LinkedObject, DynamicSymbol, int]]:
        """Every filled pointer slot for the symbol: user, the user's symbol, value."""
        for user in self._objects:
            if user.entry.namespace != namespace:
                continue
            indices = user.dynamic.indices_of(name)
            for relocation in user.dynamic.relocations if indices else ():
                if relocation.symbol not in indices or relocation.addend:
                    continue
                if relocation.type not in _SYMBOL_SLOTS:
                    continue
                value = self.memory.unsigned(user.dynamic.bias + relocation.offset)
                if relocation.type != c.R_X86_64_JUMP_SLOT or not self._is_lazy_stub(value):
                    yield user, user.dynamic.symbol(relocation.symbol), value

    def _resolved_internally(self, dynamic: DynamicObject, resolver: int) -> Iterator[int]:
        """Slots that the object itself uses, filled by R_X86_64_IRELATIVE when it was loaded."""
        for relocation in dynamic.relocations:
            is_indirect = relocation.type == c.R_X86_64_IRELATIVE
            if is_indirect and dynamic.bias + relocation.addend == resolver:
                yield self.memory.unsigned(dynamic.bias + relocation.offset)

    def _is_lazy_stub(self, address: int) -> bool:
        """Whether a slot still leads to the PLT: `push $index; jmp PLT0` (psABI 5.2)."""
        code = self.memory.read_up_to(address, 16).removeprefix(_ENDBR64)
        return code[:1] == b"\x68" and code[5:6] in (b"\xe9", b"\xf2")

    def _is_code_of(self, holder: LinkedObject, address: int) -> bool:
        """The vDSO counts: time and gettimeofday of glibc are IFUNCs that choose it."""
        mapping = procfs.mapping_at(self.maps, address)
        if mapping is not None and mapping.path == "[vdso]":
            return True
        elf = holder.dynamic.elf
        return any(
            s.flags & c.PF_X and 0 <= address - elf.bias - s.address < s.memory_size
            for s in elf.loads
        )

    # --- objects -------------------------------------------------------------------------------

    @cached_property
    def _elves(self) -> list[LoadedElf]:
        return [elf for elf, _ in find_elves(self.memory, self.maps)]

    @cached_property
    def _main(self) -> LoadedElf:
        return link_map.main_program(self.memory, self._elves)

    @cached_property
    def _objects(self) -> tuple[LinkedObject, ...]:
        entries = link_map.read_link_map(self.memory, self._main, self._elves)
        return link_map.link_objects(self.memory, entries, self._elves, self.maps)

    @cached_property
    def _scopes(self) -> Scopes:
        return Scopes(self._objects)

    def _elf(self, target: LoadedObject) -> LoadedElf:
        for elf in self._elves:
            if elf.bias == target.bias and elf.build_id == target.build_id:
                return elf
        raise procfs.gone(self.memory.pid)

    def _linked(self, target: LoadedObject) -> LinkedObject:
        elf = self._elf(target)
        for linked in self._objects:
            if linked.dynamic.elf is elf:
                return linked
        raise _refuse("not-linked", "the dynamic loader does not list the object")


def search(scope: Sequence[LinkedObject], name: bytes, version: bytes) -> Definition | None:
    """The first definition; weak and strong count alike (ld.so(8), LD_DYNAMIC_WEAK)."""
    for linked in scope:
        if symbol := find_definition(linked.dynamic, name, version):
            return linked, symbol
    return None


def find_definition(dynamic: DynamicObject, name: bytes, version: bytes) -> DynamicSymbol | None:
    """The definition that one object offers (glibc's do_lookup_x and check_match)."""
    versioned: list[DynamicSymbol] = []
    for symbol in dynamic.find_symbols(name):
        if not _is_definition(symbol):
            continue
        if not dynamic.has_versions:
            return symbol
        word = dynamic.version_word(symbol.index)
        index, hidden = word & VERSION_INDEX, bool(word & VERSION_HIDDEN)
        if version:
            defined = dynamic.defined_versions.get(index, b"")
            if defined == version or (not defined and not hidden):
                return symbol
        elif index < 3:  # unversioned, or the object's oldest version, even if not the default
            return symbol
        elif not hidden:
            versioned.append(symbol)
    return versioned[0] if len(versioned) == 1 else None


def _is_definition(symbol: DynamicSymbol) -> bool:
    if symbol.binding == c.STB_LOCAL or symbol.type not in _ADDRESSABLE:
        return False
    if symbol.value:
        # An undefined function of a non-PIE program with a value is its PLT entry, which is the
        # function's address for the whole process (psABI 3.5.5, function addresses).
        return True
    return symbol.section != c.SHN_UNDEF and (
        symbol.section == c.SHN_ABS or symbol.type == c.STT_TLS
    )


def _version_index(dynamic: DynamicObject, index: int) -> int:
    return dynamic.version_word(index) & VERSION_INDEX if dynamic.has_versions else 0


def _defined_version(dynamic: DynamicObject, symbol: DynamicSymbol) -> bytes:
    return dynamic.defined_versions.get(_version_index(dynamic, symbol.index), b"")


def _wanted_version(dynamic: DynamicObject, symbol: DynamicSymbol) -> bytes:
    index = _version_index(dynamic, symbol.index)
    return dynamic.needed_versions.get(index) or dynamic.defined_versions.get(index, b"")


def _refuse(reason: str, why: str) -> TargetRefusedError:
    return TargetRefusedError(
        reason,
        f"The hotpatch cannot be linked into the process: {why}.",
        "Restart the process with the fixed object on disk.",
    )
