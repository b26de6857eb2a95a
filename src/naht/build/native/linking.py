"""What a name of the new code means in the process: new code in the image, the running object's
own function, datum, PLT stub or GOT slot, or an import of another object.

The order of preference keeps what the dynamic linker and the program already decided: resolved
slots first (interposition, IFUNC), then the object's own definitions, then a new import. Refuses
what could only be reached through something that the running object does not have.
"""

from __future__ import annotations

from dataclasses import dataclass

from naht.build.compile_pair import UnitPair
from naht.build.native.bindings import Bindings
from naht.build.native.closure import Chunk, Closure
from naht.build.native.constant_data import ConstantData
from naht.build.native.new_build import NewBuild
from naht.build.native.old_object import OldObject, OldThing
from naht.build.native.relocatable import Definition
from naht.build.native.running_object import RunningObject
from naht.build.native.slots import Slots
from naht.elf import constants as c
from naht.elf.file import Symbol
from naht.errors import BuildRefusedError

DW_REF = "DW.ref."  # GCC's and Clang's pointer to a personality routine or typeinfo
_OUT_OF_REACH = (
    "Compile the object with -fPIC, or take what you need of it from code that already uses it."
)


@dataclass(frozen=True, slots=True)
class Thing:
    """A function or datum that new code names. `definition` is None outside the rebuilt units."""

    name: str
    unit: UnitPair | None
    definition: Definition | None
    is_local: bool
    is_weak: bool
    is_function: bool


class Linking:
    def __init__(
        self, build: NewBuild, old: OldObject, closure: Closure, bindings: Bindings, slots: Slots
    ) -> None:
        self.build = build
        self.old = old
        self.running: RunningObject = old.running
        self.closure = closure
        self.bindings = bindings
        self.slots = slots
        self.constants = ConstantData(build)

    # --- what a symbol stands for --------------------------------------------------------

    def thing(self, unit: UnitPair, symbol: Symbol, *, called: bool) -> Thing:
        local, weak = symbol.binding == c.STB_LOCAL, symbol.binding == c.STB_WEAK
        if symbol.section == c.SHN_ABS:
            raise BuildRefusedError(
                "absolute-symbol",
                f"The new code uses the absolute symbol {symbol.name}.",
                "Use a constant of the language instead.",
                where=f"{unit.source}: {symbol.name}",
            )
        if symbol.section != c.SHN_UNDEF:
            definition = self.build.definition(unit, symbol.name)
            function = definition is not None and symbol.name in self.build.file(unit).functions
            return Thing(symbol.name, unit, definition, local, weak, function)
        name = self.build.pair.new_link.meant(symbol.name)
        if found := self.build.definer(name):
            home, definition = found
            function = name in self.build.file(home).functions
            return Thing(name, home, definition, False, weak, function)
        function = called or self._is_foreign_function(name)
        return Thing(name, None, None, False, weak, function)

    def _is_foreign_function(self, name: str) -> bool:
        """Object files don't type undefined symbols; linked ones do."""
        if old := self.old.global_(name):
            return old.is_function
        return name in self.build.dynamic_functions

    def included(self, thing: Thing) -> Chunk | None:
        """The code of a function that is in the image."""
        if thing.unit is None or thing.definition is None:
            return None
        return self.closure.function_at(thing.unit, thing.definition.symbol)

    def old_thing(self, thing: Thing) -> OldThing | None:
        if thing.unit is None:
            return self.old.global_(thing.name)
        old_unit = thing.unit.old
        if not thing.is_local:
            return (
                self.old.of_unit(old_unit, thing.name) if old_unit else None
            ) or self.old.global_(thing.name)
        old_name = self.build.old_name(thing.unit, thing.name)
        if old_name is None or old_unit is None:
            return None
        return self.old.of_unit(old_unit, old_name)

    def old_entry(self, chunk: Chunk) -> str:
        """The address that a changed function had, and keeps."""
        old = self.old_function(chunk)
        return self.bindings.object(old.name, old.address)

    def old_function(self, chunk: Chunk) -> OldThing:
        placed = next(f for f in self.closure.functions if f.chunk is chunk)
        unit, name = placed.included.unit, placed.included.old_name or placed.included.name
        old = self.old.of_unit(unit.old, name) if unit.old else None
        if old is None:
            raise BuildRefusedError(
                "no-place",
                f"{name} is not in the old object.",
                "Build the old tree with exactly the flags and tools of the running binary.",
                where=chunk.where,
            )
        return old

    # --- functions -----------------------------------------------------------------------

    def callee(self, thing: Thing, where: str) -> str:
        """What to call or jump to for a function that is not in the image yet."""
        old = self.old_thing(thing)
        if not thing.is_local and (through := self._through_slot(thing)):
            return through
        if old is not None and old.type == c.STT_GNU_IFUNC:
            return self._ifunc_stub(old, where)
        if old is not None and self._is_bound(thing, old):
            return self.bindings.object(thing.name, old.address)
        if old is None and (chunk := self._new_function(thing, where)):
            return chunk.symbol
        return self.slots.stub(thing.name, self.slots.pointer(self._import(thing)))

    def _through_slot(self, thing: Thing) -> str | None:
        name, running = thing.name, self.running
        slot = running.named_slot(c.R_X86_64_JUMP_SLOT, name) or running.named_slot(
            c.R_X86_64_GLOB_DAT, name
        )
        if slot is None or not self._same_version(thing, slot.version):
            return None
        if stub := running.stub(name):
            return self.bindings.object(f"plt.{name}", stub)
        return self.slots.stub(name, self.bindings.object(f"got.{name}", slot.address))

    def _same_version(self, thing: Thing, version: str) -> bool:
        if thing.definition is not None or thing.name not in self.build.link.imports:
            return True
        return self.build.link.imports[thing.name][0] == version

    def _ifunc_stub(self, old: OldThing, where: str) -> str:
        if stub := self.running.ifunc_stub(old.address):
            return self.bindings.object(f"plt.{old.name}", stub)
        raise BuildRefusedError(
            "ifunc-no-stub",
            f"{old.name} is chosen at start-up (IFUNC), and the running object has no stub for it.",
            "Call one of its implementations directly.",
            where=where,
        )

    def _is_bound(self, thing: Thing, old: OldThing) -> bool:
        return not self._may_be_interposed(thing) or self.old.is_called_directly(old)

    def _may_be_interposed(self, thing: Thing) -> bool:
        return not thing.is_local and self.running.is_interposable(thing.name)

    def _new_function(self, thing: Thing, where: str) -> Chunk | None:
        if thing.unit is None or thing.definition is None:
            return None
        return self.closure.need_function(thing.unit, thing.definition, where)

    def function_address(self, thing: Thing, where: str, *, wide: bool) -> tuple[str, bool]:
        """The address that the program compares and stores, and whether it lies in the image.

        `wide`: an 8-byte field, which reaches everything.
        """
        old = self.old_thing(thing)
        if old is None and (chunk := self._new_function(thing, where)):
            return chunk.symbol, True
        if old is not None and not (wide and self._may_be_interposed(thing)):
            if old.type == c.STT_GNU_IFUNC:
                return self._ifunc_stub(old, where), False
            return self.bindings.object(thing.name, old.address), False
        if thing.name in self.running.canonical_stubs and not thing.is_local:
            address = self.running.canonical_stubs[thing.name]
            return self.bindings.object(f"plt.{thing.name}", address), False
        return self._import_wide(thing, where, wide=wide), False

    # --- data ----------------------------------------------------------------------------

    def datum(self, thing: Thing, where: str, *, wide: bool) -> tuple[str, bool]:
        """The place of a datum, and whether it lies in the image."""
        old = self.old_thing(thing)
        if old is not None and not self.constants.changed(thing.unit, thing.definition):
            if wide and self._may_be_interposed(thing):
                return self._import(thing), False
            return self.bindings.object(thing.name, old.address), False
        if thing.name.startswith(DW_REF) and not thing.is_local:
            return self._pointer_slot(thing, where), True
        if thing.unit is not None and thing.definition is not None:
            self._check_really_new(thing, where)
            return self.closure.need_datum(thing.unit, thing.definition).symbol, True
        return self._import_wide(thing, where, wide=wide), False

    def _check_really_new(self, thing: Thing, where: str) -> None:
        """A variable that both builds have must never get a second, unshared copy."""
        if thing.unit is None or thing.unit.old is None:
            return
        name = self.build.old_name(thing.unit, thing.name) if thing.is_local else thing.name
        file = self.build.file(thing.unit)
        definition = thing.definition
        writable = definition is not None and (
            definition.section == c.SHN_COMMON or not file.is_read_only(definition.section)
        )
        if name and writable and not self.old.is_discarded(thing.unit.old, name):
            raise BuildRefusedError(
                "no-place",
                f"{name} is a variable of the old build, but its place in the running object "
                "is not known.",
                "Build the old tree without --gc-sections and with a linker that writes a map.",
                where=where,
            )

    def _pointer_slot(self, thing: Thing, where: str) -> str:
        """Our own DW.ref pointer, to what the name says."""
        name = thing.name.removeprefix(DW_REF)
        unit = thing.unit
        found = self.build.definer(name)
        home, definition = found if found else (None, None)
        function = definition is None and not name.startswith("_ZT")
        target = Thing(name, home or (None if found is None else unit), definition, False, False,
                       function)  # fmt: skip
        place = self.function_address if function else self.datum
        return self.slots.pointer(place(target, where, wide=True)[0])

    def is_foreign(self, thing: Thing) -> bool:
        """Whether only another object has it, and this one neither a copy nor a stub of it."""
        return (
            thing.definition is None
            and not thing.is_local
            and thing.name not in self.running.canonical_stubs
            and self.old_thing(thing) is None
        )

    def foreign_slot(self, thing: Thing) -> str:
        return self.slots.pointer(self._import(thing))

    # --- imports -------------------------------------------------------------------------

    def _import(self, thing: Thing) -> str:
        version, weak = self.build.import_version(thing.name, weak=thing.is_weak)
        return self.bindings.import_(thing.name, version, weak=weak)

    def _import_wide(self, thing: Thing, where: str, *, wide: bool) -> str:
        if wide:
            return self._import(thing)
        raise BuildRefusedError(
            "import-out-of-reach",
            f"The new code reaches {thing.name} of another object directly, and the running "
            "object has neither a copy nor a stub of it.",
            _OUT_OF_REACH,
            where=where,
        )

    def slot(self, thing: Thing, where: str, *, jump: bool) -> tuple[str, bool, bool]:
        """A slot that holds a thing's address; whether that address is code or data in the image.

        A lazily bound slot holds its stub's address until the first call: good to jump through,
        but not the function's address.
        """
        if not thing.is_local:
            found = self.running.named_slot(c.R_X86_64_GLOB_DAT, thing.name)
            if jump and found is None:
                found = self.running.named_slot(c.R_X86_64_JUMP_SLOT, thing.name)
            if found and self._same_version(thing, found.version):
                return self.bindings.object(f"got.{thing.name}", found.address), False, False
        if not thing.is_function:
            symbol, inside = self.datum(thing, where, wide=True)
            return self.slots.pointer(symbol), False, inside
        chunk = self.included(thing)
        if chunk is not None and chunk.role == "changed":
            return self.slots.pointer(self.old_entry(chunk)), False, False
        if chunk is not None:
            return self.slots.pointer(chunk.symbol), not jump, False
        symbol, inside = self.function_address(thing, where, wide=True)
        return self.slots.pointer(symbol), inside and not jump, False
