"""Whether an address that old code takes may still be held when the calls that took it are over.

Owns following it through registers, stack slots and calls, by the machine code. What it cannot
follow counts as held. It knows of places that hold the address, not of what that means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from iced_x86 import Decoder, DecoderOptions, FlowControl, Instruction, Register

from naht.build.native.flow_state import ARGUMENTS, SLOT, State
from naht.build.native.flow_steps import Mark, Rules, Stepper
from naht.build.native.instructions import is_near_branch
from naht.build.native.known_functions import copies_content, keeps_nothing, returns_a_place
from naht.build.native.names import cold_parent
from naht.build.native.relocatable import Definition, Named, Place, Reference, Relocatable
from naht.elf import constants as c

MAX_DEPTH = 12
MAX_STEPS = 400_000
_NARROW = frozenset({c.R_X86_64_32, c.R_X86_64_32S})
_CALLS = frozenset({FlowControl.CALL, FlowControl.INDIRECT_CALL})

Found = tuple[Relocatable, Definition]
FindFunction = Callable[[str], Found | None]
MayReturn = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Flow:
    """`held`: where the address stays, in words, else "". `returned`: it is the call's result."""

    held: str = ""
    returned: bool = False


@dataclass(frozen=True, slots=True)
class Sources:
    """What to follow: addresses of `names` and of places in the sections `unnamed` of one object.

    `loads`: what is loaded from there counts as well. `returners`: functions whose result is one.
    """

    names: frozenset[str]
    unnamed: frozenset[int] = frozenset()
    loads: bool = False
    returners: frozenset[str] = frozenset()

    def has(self, reference: Reference) -> bool:
        target = reference.target
        if isinstance(target, Named):
            return target.symbol.name in self.names
        return isinstance(target, Place) and target.section in self.unnamed


@dataclass(frozen=True, slots=True)
class _Spot:
    """One instruction of a function or of a part split off from it."""

    instruction: Instruction
    references: tuple[Reference, ...]
    displacement: int  # offset of that field in the section, else -1


Key = tuple[int, int]  # (section, offset)


class AddressFlow:
    """`find`: a function of the object by its global name. `may_return`: whether what a function
    of `view` returns can hold an address at all."""

    def __init__(
        self, view: Relocatable, sources: Sources, find: FindFunction, may_return: MayReturn
    ) -> None:
        self.view, self.sources = view, sources
        self._find, self._may_return = find, may_return
        self._known: dict[tuple[str, State, bool], Flow] = {}
        self._steps = 0

    def of(self, name: str) -> Flow:
        """What becomes of the addresses that a function takes by itself."""
        start = State(frozenset())
        return self._flow(self.view, self.view.functions[name], start, self.sources, 0)

    def _flow(
        self, view: Relocatable, function: Definition, start: State, sources: Sources, depth: int
    ) -> Flow:
        key = (f"{view.path}:{function.name}", start, sources.loads)
        if key not in self._known:
            self._known[key] = Flow(held=f"{function.name} calls itself with it")
            self._known[key] = self._walk(view, function, start, sources, depth)
        return self._known[key]

    def _walk(
        self, view: Relocatable, function: Definition, start: State, sources: Sources, depth: int
    ) -> Flow:
        if depth > MAX_DEPTH:
            return Flow(held=f"{function.name} hands it on too deep to follow")
        walk = _Walk(self, view, function, sources, depth)
        walk.run(start)
        return Flow(walk.held, walk.returned and self._result_counts(view, function))

    def _result_counts(self, view: Relocatable, function: Definition) -> bool:
        return view is not self.view or self._may_return(function.name)

    def spend(self) -> bool:
        self._steps += 1
        return self._steps <= MAX_STEPS

    def call(
        self, view: Relocatable, name: str, start: State, sources: Sources, depth: int
    ) -> Flow:
        """A direct call whose arguments hold the address."""
        local = view.functions.get(name)
        found = (view, local) if local else self._find(name)
        if found is not None:
            home, function = found
            inner = sources if home is self.view else _elsewhere(sources)
            return self._flow(home, function, start, inner, depth + 1)
        if not keeps_nothing(name) or (sources.loads and copies_content(name)):
            return Flow(held=f"it is handed to {name}")
        return Flow(returned=returns_a_place(name))


class _Walk:
    """One function, until nothing more is learnt."""

    def __init__(
        self, flow: AddressFlow, view: Relocatable, function: Definition, sources: Sources,
        depth: int,
    ) -> None:  # fmt: skip
        self.flow, self.view, self.function = flow, view, function
        self.sources, self.depth = sources, depth
        self.held, self.returned = "", False
        self._spots = dict(_spots(view, function))
        narrow = any(r.type in _NARROW for s in self._spots.values() for r in s.references)
        self._rules = Rules(sources.loads, narrow)
        self._stepper = Stepper(self._rules, self._mark)
        self._states: dict[Key, State] = {}
        self._waiting: list[Key] = []
        self._at: Key = (0, 0)

    def run(self, start: State) -> None:
        self._reach((self.function.section, self.function.offset), start)
        while self._waiting or self._reach_the_rest():
            key = self._waiting.pop()
            if self.held:
                return
            if not self.flow.spend():
                self.held = f"{self.function.name} is too long to follow"
                return
            self._at = key
            self._pass(key, self._spots[key], self._states[key])

    def _reach(self, key: Key, state: State) -> None:
        if key not in self._spots:
            return
        known = self._states.get(key)
        joined = state if known is None else known.join(state)
        if joined != known:
            self._states[key] = joined
            self._waiting.append(key)

    def _reach_the_rest(self) -> bool:
        """Landing pads, and whatever else only tables lead to, may be reached from anywhere."""
        missing = [key for key in self._spots if key not in self._states]
        if missing and self._states:
            states = iter(self._states.values())
            anywhere = next(states)
            for state in states:
                anywhere = anywhere.join(state)
            self._reach(missing[0], anywhere)
        return bool(self._waiting)

    def _pass(self, key: Key, spot: _Spot, state: State) -> None:
        flow = spot.instruction.flow_control
        following = (key[0], spot.instruction.next_ip)
        if flow == FlowControl.RETURN:
            self._return(state)
        elif flow in _CALLS:
            self._reach(following, self._call(spot, state))
        elif flow == FlowControl.INDIRECT_BRANCH:
            self._jump_somewhere(spot, state)
        elif is_near_branch(spot.instruction):
            self._branch(key, spot, state)
            if flow == FlowControl.CONDITIONAL_BRANCH:
                self._reach(following, state)
        elif flow not in (FlowControl.INTERRUPT, FlowControl.EXCEPTION):
            stepped = self._stepper.step(spot.instruction, state)
            if stepped.stored:
                self.held = f"{self.function.name} stores it"
            self._reach(following, stepped.state)

    def _return(self, state: State) -> None:
        self.returned |= bool(state.registers & {int(Register.RAX), int(Register.RDX)})

    def _branch(self, key: Key, spot: _Spot, state: State) -> None:
        target = self._target(key, spot)
        if target in self._spots:
            self._reach(target, state)
        else:
            self._tail_call(spot, target, state)

    def _tail_call(self, spot: _Spot, target: Key, state: State) -> None:
        """The stack is as it was at our own entry, so the callee finds its arguments there."""
        self._return(self._call_named(self._callee(spot, target), state, returns_to=0))

    def _jump_somewhere(self, spot: _Spot, state: State) -> None:
        """A switch, or a tail call through a pointer."""
        if name := self._imported(spot):
            self._return(self._call_named(name, state, returns_to=0))
            return
        switches = has_labels(self.view, self.function)
        if not (switches and self._indirect_jumps == 1):
            self._hand_to_unknown(state)
            self._return(state.after_call(()))
        for key in self._spots if switches else ():
            self._reach(key, state)

    @cached_property
    def _indirect_jumps(self) -> int:
        flows = [spot.instruction.flow_control for spot in self._spots.values()]
        return flows.count(FlowControl.INDIRECT_BRANCH)

    # --- calls ---------------------------------------------------------------------------

    def _call(self, spot: _Spot, state: State) -> State:
        if is_near_branch(spot.instruction):
            name = self._callee(spot, self._target(self._at, spot))
        else:
            name = self._imported(spot)
        if name:
            return self._call_named(name, state, returns_to=SLOT)
        self._hand_to_unknown(state)
        return state.after_call(())

    def _call_named(self, name: str, state: State, *, returns_to: int) -> State:
        """`returns_to`: what the call itself pushes."""
        entered, contents = self._entered(state, returns_to)
        returned: list[int] = []
        if entered.registers or entered.slots:
            sources = replace(self.sources, loads=self.sources.loads or contents)
            found = self.flow.call(self.view, name, entered, sources, self.depth)
            self.held = self.held or found.held
            returned = [int(Register.RAX)] if found.returned else []
        if name in self.sources.returners:
            returned = [int(Register.RAX)]
        return state.after_call(returned)

    def _entered(self, state: State, pushed: int) -> tuple[State, bool]:
        """What the callee starts with: argument registers, arguments on the stack, and addresses
        of stack objects that hold ours (then what it loads from there counts)."""
        held = {r for r in map(int, ARGUMENTS) if r in state.registers}
        to_stack = {r for r in map(int, ARGUMENTS) if state.points_to_stack(r)}
        contents = bool(to_stack) and state.on_stack
        if contents:
            held |= to_stack
        slots = frozenset(at + pushed for at in state.stack_arguments())
        return State(frozenset(held), slots), contents

    def _hand_to_unknown(self, state: State) -> None:
        entered, _ = self._entered(state, SLOT)
        if entered.registers or entered.slots:
            self.held = f"{self.function.name} hands it to a function through a pointer"

    def _callee(self, spot: _Spot, target: Key) -> str:
        for reference in spot.references:
            if isinstance(reference.target, Named):
                return reference.target.symbol.name
        if 0 < target[0] < len(self.view.elf.sections):
            symbol = self.view.covering(*target)
            return symbol.name if symbol else ""
        return ""

    def _imported(self, spot: _Spot) -> str:
        """The callee of `call *name@GOTPCREL(%rip)`."""
        for reference in spot.references:
            if reference.through_got and isinstance(reference.target, Named):
                return reference.target.symbol.name
        return ""

    def _target(self, key: Key, spot: _Spot) -> Key:
        for reference in spot.references:
            place = self.view.raw_place(reference)
            return place if place else (-1, 0)
        return key[0], spot.instruction.near_branch_target

    # --- what fields refer to ------------------------------------------------------------

    def _mark(self, instruction: Instruction, field: str) -> Mark:
        spot = self._spots[self._at]
        for reference in spot.references:
            in_displacement = reference.field == spot.displacement
            if in_displacement == (field == "displacement"):
                return self._mark_of(reference, in_displacement)
        return ""

    def _mark_of(self, reference: Reference, in_displacement: bool) -> Mark:
        if not self.sources.has(reference):
            return ""
        return "address" if reference.through_got or not in_displacement else "content"


def _elsewhere(sources: Sources) -> Sources:
    """In another object file the names mean other things."""
    return replace(sources, names=frozenset(), unnamed=frozenset())


def _spots(view: Relocatable, function: Definition) -> Iterator[tuple[Key, _Spot]]:
    parts = [d for d in view.functions.values() if cold_parent(d.name) == function.name]
    for part in (function, *parts):
        references = view.references_of(part)
        decoder = Decoder(64, view.definition_bytes(part), DecoderOptions.NONE, ip=part.offset)
        for instruction in decoder:
            start, end = instruction.ip, instruction.next_ip
            mine = tuple(r for r in view.references_in(part.section, start, end) if r.size)
            offsets = decoder.get_constant_offsets(instruction)
            at = start + offsets.displacement_offset if offsets.has_displacement else -1
            yield (part.section, start), _Spot(instruction, mine if references else (), at)


def has_labels(view: Relocatable, function: Definition) -> bool:
    """Whether tables hold places inside a function: it has a switch, or computed goto."""
    return any(
        _is_inside(view, reference, function)
        for section in view.elf.sections
        if section.flags & c.SHF_ALLOC and not view.is_code(section.index)
        for reference in view.references(section.index)
    )


def _is_inside(view: Relocatable, reference: Reference, function: Definition) -> bool:
    """Entries of relative tables count from their table's start, so that they may seem to be
    somewhat behind their place, even in the next function."""
    target = reference.target
    if isinstance(target, Named) and target.symbol.name == function.name and target.offset:
        return True
    place = view.raw_place(reference) if reference.pc_relative else None
    return place is not None and place[0] == function.section
