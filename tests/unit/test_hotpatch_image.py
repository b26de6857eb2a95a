"""The checks of a hotpatch image: each rule refuses the image that breaks it, and no input does
worse than to be refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from naht.build.native.writer import Draft, DraftRelocation, DraftSection, write_image
from naht.elf import constants as c
from naht.elf.file import ElfFile
from naht.errors import HostileInputError
from naht.hotpatch.image import check_image
from naht.hotpatch.manifest import Binding, Function, Hooks, Image, Part, Target

NEW = b"\xe8\0\0\0\0\x48\x8d\x05\0\0\0\0\xc3"
OLD = b"\x55\x48\x89\xe5\x5d\xc3"
FRAMES = bytes.fromhex("0c000000" "00000000" "0000000000000000" "0c000000" "14000000"
                       "0000000000000000" "00000000")  # fmt: skip


def draft() -> Draft:
    image = Draft()
    code = DraftSection(".text.f", "code", 16, bytearray(NEW))
    code.relocations.append(DraftRelocation(1, c.R_X86_64_PLT32, "helper", -4))
    code.relocations.append(DraftRelocation(8, c.R_X86_64_PC32, "text", -4))
    slots = DraftSection(".naht.got", "constant", 8, bytearray(16))
    slots.relocations.append(DraftRelocation(0, c.R_X86_64_64, "puts", 0))
    slots.relocations.append(DraftRelocation(8, c.R_X86_64_64, "module", 0))
    for section in (
        code,
        slots,
        DraftSection(".rodata.str", "constant", 1, bytearray(b"hello\0")),
        DraftSection(".bss.n", "data", 8, zeros=8),
        DraftSection(".eh_frame", "constant", 8, bytearray(FRAMES)),
        DraftSection(".naht.displaced.f", "code", 16, bytearray(OLD)),
        DraftSection(".naht.old.f", "unloaded", 1, bytearray(OLD)),
    ):
        image.add_section(section)
    image.define("f", ".text.f", 0, len(NEW), is_function=True)
    image.define("text", ".rodata.str", 0, 6)
    image.define("n", ".bss.n", 0, 8)
    image.define("naht.displaced.f", ".naht.displaced.f", 0, len(OLD), is_function=True)
    for name in ("helper", "puts", "module"):
        image.declare(name)
    return image


def manifest() -> Image:
    return Image(
        architecture="x86_64",
        member="x86_64.o",
        digest="0" * 64,
        target=Target(build_id="0123456789abcdef", name="libcase.so", kind="library"),
        functions=(
            Function(
                name="f",
                change="changed",
                new_size=len(NEW),
                new_digest=hashlib.sha256(NEW).hexdigest(),
                parts=(
                    Part(
                        offset=0x1000,
                        size=len(OLD),
                        digest=hashlib.sha256(OLD).hexdigest(),
                        section=".naht.old.f",
                    ),
                ),
                redirect=0x1000,
                displaced="naht.displaced.f",
            ),
        ),
        bindings=(
            Binding(symbol="helper", kind="object", offset=0x2000),
            Binding(symbol="puts", kind="import", name="puts", version="GLIBC_2.2.5"),
            Binding(symbol="module", kind="tls_module"),
        ),
    )


def test_a_good_image_becomes_a_view() -> None:
    view = check_image(ElfFile(write_image(draft())), manifest())
    kinds = {s.name: (s.kind, s.size, s.alignment) for s in view.sections}
    assert kinds == {
        ".text.f": ("code", 13, 16),
        ".naht.got": ("constant", 16, 8),
        ".rodata.str": ("constant", 6, 1),
        ".bss.n": ("data", 8, 8),
        ".eh_frame": ("constant", 36, 8),
        ".naht.displaced.f": ("code", 6, 16),
    }
    assert view.section(".text.f").content == NEW
    assert [(r.offset, r.symbol) for r in view.section(".text.f").relocations] == [
        (1, "helper"), (8, "text")
    ]  # fmt: skip
    assert view.undefined == {"helper", "puts", "module"}
    assert view.old_code == {".naht.old.f": OLD}
    assert view.symbols["f"].is_function
    assert not view.symbols["n"].is_function


def test_a_word_of_data_may_be_handed_over() -> None:
    check_image(ElfFile(write_image(draft())), edited(hands_over=("n",)))


def relocate(name: str, *args: object) -> Callable[[Draft], None]:
    return lambda d: d.sections[name].relocations.append(DraftRelocation(*args))  # type: ignore[arg-type]


def replace_content(name: str, content: bytes) -> Callable[[Draft], None]:
    def change(d: Draft) -> None:
        d.sections[name].content[:] = content

    return change


def set_alignment(d: Draft) -> None:
    d.sections[".text.f"].alignment = 1 << 20


def declare_another(d: Draft) -> None:
    d.declare("other")


def large_zeros(d: Draft) -> None:
    d.sections[".bss.n"].zeros = 1 << 40


def move_function(d: Draft) -> None:
    d.sections[".text.f"].content[:0] = b"\x90"
    d.symbols["f"] = d.symbols.pop("f").__class__("f", ".text.f", 1, len(NEW), True)


BAD_DRAFTS: dict[str, Callable[[Draft], None]] = {
    "field leaves its section": relocate(".text.f", 10, c.R_X86_64_PC32, "text", 0),
    "field beyond": relocate(".text.f", 1 << 40, c.R_X86_64_PC32, "text", 0),
    "relocation type": relocate(".text.f", 1, c.R_X86_64_GOTPCREL, "text", 0),
    "relocated zeros": relocate(".bss.n", 0, c.R_X86_64_64, "text", 0),
    "relocated old code": relocate(".naht.old.f", 0, c.R_X86_64_PC32, "text", 0),
    "import out of reach": relocate(".text.f", 1, c.R_X86_64_PLT32, "puts", 0),
    "module out of reach": relocate(".text.f", 1, c.R_X86_64_PC32, "module", 0),
    "32 bits in a library": relocate(".text.f", 1, c.R_X86_64_32S, "text", 0),
    "narrow slot": relocate(".naht.got", 0, c.R_X86_64_PC32, "text", 0),
    "unbound symbol": declare_another,
    "alignment": set_alignment,
    "too large": large_zeros,
    "function not at its start": move_function,
    "other code": replace_content(".text.f", b"\x90" * len(NEW)),
    "other old code": replace_content(".naht.old.f", b"\x90" * len(OLD)),
    "short old code": replace_content(".naht.old.f", OLD[:5]),
    "open unwind table": replace_content(".eh_frame", FRAMES[:-4]),
    "unwind table goes on": replace_content(".eh_frame", FRAMES + bytes(4)),
    "unwind entry leaves": replace_content(".eh_frame", b"\xff\0\0\0" + FRAMES[4:]),
    "unwind entry without CIE": replace_content(
        ".eh_frame", FRAMES[:20] + b"\x15\0\0\0" + FRAMES[24:]
    ),
}


@pytest.mark.parametrize("rule", BAD_DRAFTS)
def test_images_that_break_a_rule(rule: str) -> None:
    broken = draft()
    BAD_DRAFTS[rule](broken)
    with pytest.raises(HostileInputError):
        check_image(ElfFile(write_image(broken)), manifest())


def edited(**changes: object) -> Image:
    return msgspec.structs.replace(manifest(), **changes)


def edited_function(**changes: object) -> Image:
    (function,) = manifest().functions
    return edited(functions=(msgspec.structs.replace(function, **changes),))


def edited_binding(number: int, **changes: object) -> Image:
    bindings = list(manifest().bindings)
    bindings[number] = msgspec.structs.replace(bindings[number], **changes)
    return edited(bindings=tuple(bindings))


PART = manifest().functions[0].parts[0]
BAD_MANIFESTS = {
    "binding twice": edited(bindings=(*manifest().bindings, manifest().bindings[0])),
    "binding of nothing": edited_binding(0, symbol="other"),
    "import without name": edited_binding(1, name=""),
    "named object": edited_binding(0, name="x"),
    "offset of an import": edited_binding(1, offset=8),
    "weak object": edited_binding(0, weak=True),
    "function twice": edited(functions=manifest().functions * 2),
    "function that is data": edited_function(name="text"),
    "function elsewhere": edited_function(name="g"),
    "new size": edited_function(new_size=12),
    "changed without old code": edited_function(parts=()),
    "new with old code": edited_function(change="new"),
    "displaced elsewhere": edited_function(displaced="f"),
    "displaced nowhere": edited_function(displaced="naht.displaced.g"),
    "redirect inside": edited_function(redirect=0x1001),
    "redirect after an endbr64 that is not there": edited_function(redirect=0x1004),
    "old code twice": edited_function(parts=(PART, PART)),
    "old code overlaps": edited_function(
        parts=(PART, msgspec.structs.replace(PART, offset=0x1003))
    ),
    "old code in loaded section": edited_function(
        parts=(msgspec.structs.replace(PART, section=".text.f"),)
    ),
    "hook that is data": edited(hooks=Hooks(pre_apply="text")),
    "hook nowhere": edited(hooks=Hooks(pre_revert="g")),
    "hands over code": edited(hands_over=("f",)),
    "hands over a constant": edited(hands_over=("text",)),
    "hands over nothing": edited(hands_over=("g",)),
    "hands over twice": edited(hands_over=("n", "n")),
}


@pytest.mark.parametrize("rule", BAD_MANIFESTS)
def test_manifests_that_contradict_their_image(rule: str) -> None:
    with pytest.raises(HostileInputError):
        check_image(ElfFile(write_image(draft())), BAD_MANIFESTS[rule])


def header_field(raw: bytes, section: str, offset: int, value: int, size: int = 8) -> bytes:
    elf = ElfFile(raw)
    start = int.from_bytes(raw[40:48], "little") + 64 * elf.section_by_name[section].index + offset
    return raw[:start] + value.to_bytes(size, "little") + raw[start + size :]


@pytest.mark.parametrize(
    ("section", "offset", "value", "size"),
    [
        (".text.f", 8, 7, 8),  # writable and executable
        (".bss.n", 8, c.SHF_ALLOC | c.SHF_WRITE | c.SHF_TLS, 8),
        (".text.f", 4, c.SHT_NOBITS, 4),
        (".naht.old.f", 8, c.SHF_ALLOC, 8),
        (".rodata.str", 8, 0, 8),  # holds a symbol, but is not loaded
        (".rodata.str", 24, 64, 8),  # overlaps other sections in the file
        (".rela.text.f", 44, 0, 4),
        (".rela.text.f", 44, 3, 4),
        (".rela.text.f", 32, 47, 8),
        (".symtab", 4, c.SHT_STRTAB, 4),
    ],
)
def test_headers_that_break_a_rule(section: str, offset: int, value: int, size: int) -> None:
    raw = header_field(write_image(draft()), section, offset, value, size)
    if section == ".rodata.str" and offset == 24:
        raw = header_field(raw, section, 32, len(raw))
    with pytest.raises(HostileInputError):
        check_image(ElfFile(raw), manifest())


GOOD = write_image(draft())


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=8)),
                min_size=1, max_size=6))  # fmt: skip
def test_damaged_images_are_refused_or_read(edits: list[tuple[int, bytes]]) -> None:
    raw = bytearray(GOOD)
    for at, value in edits:
        raw[at : at + len(value)] = value
    try:
        view = check_image(ElfFile(bytes(raw)), manifest())
    except HostileInputError:
        return
    assert sum(s.size for s in view.sections) < 1 << 28


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(GOOD)))
def test_images_that_are_cut_short(size: int) -> None:
    with pytest.raises(HostileInputError):
        check_image(ElfFile(GOOD[: min(size, len(GOOD) - 1)]), manifest())
