"""Old and new code of each changed function as lines of assembly that can be compared.

Owns the naming of what instructions refer to: the running object's addresses by the names that the
manifest's bindings give them, the image's own symbols, string literals by content. It needs the
instruction decoder of naht[build] and runs nothing. Syntax is AT&T, as objdump prints it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from naht.elf import constants as c
from naht.errors import UsageError
from naht.hotpatch.image import HotpatchImage, ImageRelocation, LoadedSection
from naht.hotpatch.manifest import Function, Image

try:
    from iced_x86 import Decoder, Formatter, FormatterSyntax, Instruction, OpKind
except ImportError as error:
    raise UsageError(
        "--diff needs the instruction decoder, which hosts don't carry.",
        "Install it with `pip install 'naht[build]'`, or look on the machine that builds.",
    ) from error

MAX_COMPARED = 20_000  # instructions; beyond, difflib's quadratic worst case takes minutes
_RIP = re.compile(r"-?(?:0x)?[0-9a-f]*\(%rip\)")

Mark = Literal[" ", "-", "+", "~"]
"""~ is the same instruction whose datum now lies in the hotpatch, with new content perhaps."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What an operand means. `key` is equal in old and new code when it is the same thing."""

    key: str
    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    offset: int
    text: str
    key: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class DiffLine:
    mark: Mark
    line: Line


MOVED = "<datum>"  # key of a datum that can't be told apart by its address


class Names:
    """What addresses of the running object and symbols of the image are called."""

    def __init__(self, image: Image, view: HotpatchImage) -> None:
        self._view = view
        self._bindings = {b.symbol: b for b in image.bindings}
        self._entries = {f.name: f.parts[0].offset for f in image.functions if f.parts}
        self._by_address = {b.offset: b.symbol for b in image.bindings if b.kind == "object"}
        self._by_address |= {offset: name for name, offset in self._entries.items()}

    def of_address(self, address: int, *, is_branch: bool) -> Reference:
        name = self._by_address.get(address)
        if name is None and not is_branch:
            return Reference(MOVED, f"<{address:#x}>")
        return Reference(f"{address:#x}", f"<{name or hex(address)}>")

    def of_symbol(self, symbol: str, addend: int) -> Reference:
        suffix = f"{addend:+#x}" if addend else ""
        binding = self._bindings.get(symbol)
        if binding and binding.kind == "object":
            return Reference(f"{binding.offset + addend:#x}", f"<{symbol}{suffix}>")
        if binding:
            name = binding.name or "its TLS module"
            return Reference(f"{binding.kind} {name}", f"<{name}{suffix}>")
        if symbol in self._entries:
            return Reference(f"{self._entries[symbol] + addend:#x}", f"<{symbol}{suffix}>")
        return self._of_definition(symbol, addend)

    def _of_definition(self, symbol: str, addend: int) -> Reference:
        found = self._view.symbols[symbol]
        section = self._view.section(found.section)
        at = found.value + addend
        if section.name == ".naht.plt":
            return Reference(f"stub {symbol}", f"<{symbol}>", "new import")
        if section.kind == "code":
            return Reference(f"new {symbol}", f"<{symbol}>", "new in the hotpatch")
        for slot in section.relocations:
            if section.name == ".naht.got" and slot.offset == at:
                return Reference(MOVED, f"<{self.of_symbol(slot.symbol, 0).text[1:-1]}@slot>")
        suffix = f"{addend:+#x}" if addend else ""
        return Reference(MOVED, f"<{symbol}{suffix}>", string_at(section.content, at))


def string_at(content: bytes, at: int) -> str:
    """The C string there, quoted, when it looks like text."""
    end = content.find(b"\0", at, at + 200) if at >= 0 else -1
    try:
        text = content[at:end].decode() if at < end else ""
    except UnicodeDecodeError:
        return ""
    printable = all(ch.isprintable() or ch in "\n\t\r" for ch in text)
    return json.dumps(text, ensure_ascii=False) if text and printable else ""


def diff_function(function: Function, image: Image, view: HotpatchImage) -> list[DiffLine]:
    names = Names(image, view)
    old = [line for part in range(len(function.parts)) for line in old_lines(function, part, view,
           names)]  # fmt: skip
    new = new_lines(view.section(view.symbols[function.name].section), view, names)
    return list(compare(old, list(new)))


def compare(old: list[Line], new: list[Line]) -> Iterator[DiffLine]:
    matcher = SequenceMatcher(
        None, [line.key for line in old], [line.key for line in new],
        autojunk=max(len(old), len(new)) > MAX_COMPARED,
    )  # fmt: skip
    for operation, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if operation == "equal":
            for line in new[new_from:new_to]:
                yield DiffLine("~" if MOVED in line.key and line.note else " ", line)
            continue
        yield from (DiffLine("-", line) for line in old[old_from:old_to])
        yield from (DiffLine("+", line) for line in new[new_from:new_to])


def old_lines(function: Function, part: int, view: HotpatchImage, names: Names) -> Iterator[Line]:
    code = view.old_code[function.parts[part].section]
    base = function.parts[part].offset

    def refer(instruction: Instruction) -> Reference | None:
        if is_branch(instruction):
            target = instruction.near_branch_target
            for other in function.parts:
                if other.offset <= target < other.offset + other.size and target != base:
                    return inside(target - function.parts[0].offset)
            return names.of_address(target, is_branch=True)
        if instruction.is_ip_rel_memory_operand:
            return names.of_address(instruction.ip_rel_memory_address, is_branch=False)
        return None

    shift = base - function.parts[0].offset
    for line in disassemble(code, base, refer):
        yield Line(line.offset + shift, line.text, line.key, line.note)


def new_lines(section: LoadedSection, view: HotpatchImage, names: Names) -> Iterator[Line]:
    by_field = {r.offset: r for r in section.relocations}

    def refer(instruction: Instruction) -> Reference | None:
        start, end = instruction.ip, instruction.next_ip
        for offset in range(start, end):
            if offset in by_field:
                return names.of_symbol(*meant(by_field[offset], end))
        return inside(instruction.near_branch_target) if is_branch(instruction) else None

    return disassemble(section.content, 0, refer)


def meant(relocation: ImageRelocation, end: int) -> tuple[str, int]:
    """Symbol and addend as the instruction means them: a PC-relative field counts from its end."""
    relative = relocation.type in (c.R_X86_64_PC32, c.R_X86_64_PLT32)
    return relocation.symbol, relocation.addend + (end - relocation.offset if relative else 0)


def is_branch(instruction: Instruction) -> bool:
    return bool(instruction.op_count and instruction.op0_kind == OpKind.NEAR_BRANCH64)


def inside(offset: int) -> Reference:
    return Reference("<inside>", f"+{offset:#x}")


def disassemble(
    code: bytes, base: int, refer: Callable[[Instruction], Reference | None]
) -> Iterator[Line]:
    formatter = Formatter(FormatterSyntax.GAS)
    formatter.rip_relative_addresses = True
    formatter.uppercase_hex = False
    formatter.space_after_operand_separator = True
    formatter.first_operand_char_index = 8
    for instruction in Decoder(64, code, ip=base):
        text = formatter.format(instruction)
        reference = refer(instruction)
        shown, key = (text, text) if reference is None else (
            substitute(text, reference.text, instruction),
            substitute(text, reference.key, instruction),
        )  # fmt: skip
        yield Line(instruction.ip - base, shown, key, reference.note if reference else "")


def substitute(text: str, name: str, instruction: Instruction) -> str:
    if is_branch(instruction):
        return f"{text.split(maxsplit=1)[0]:<7} {name}"
    if instruction.is_ip_rel_memory_operand:
        return _RIP.sub(lambda _: f"{name}(%rip)", text)
    return f"{text}  # {name}"  # an absolute address, in code that isn't position independent
