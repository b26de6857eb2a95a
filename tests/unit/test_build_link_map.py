from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naht.build.native.link_map import parse_link_map
from naht.build.native.same_name_members import tell_apart
from naht.errors import BuildRefusedError

MAP = """\
Archive member included to satisfy reference by file (symbol)

lib/libv.a(v.o)               m.o (s)

Discarded input sections

 .text          0x0000000000000000       0x10 discarded.o

Memory Configuration

Name             Origin             Length             Attributes
*default*        0x0000000000000000 0xffffffffffffffff

Linker script and memory map

LOAD m.o
LOAD lib/libv.a
START GROUP
LOAD a path/with blanks.o
END GROUP
                [!provide]                        PROVIDE (__executable_start = 0x0)

.interp
 *(.interp)

.text           0x0000000000001050      0x160
 *(.text.unlikely .text.*_unlikely .text.unlikely.*)
 .text.unlikely.coldf
                0x0000000000001050        0x3 lib/libv.a(v.o)
                0x0000000000001050                coldf
 *fill*         0x0000000000001053        0xd 
 .text.startup  0x0000000000001060       0x30 m.o
                0x0000000000001060                main
 .text          0x0000000000001090       0x10 a path/with blanks.o
 .text          0x00000000000010a0       0x10 lib/libv.a(odd(name).o)

.a_very_long_output_section
                0x0000000000002000        0x8
 odd_name       0x0000000000002000        0x8 m.o

.eh_frame       0x00000000000020c8       0x20 load address 0x00000000000030c8
 .eh_frame      0x00000000000020c8       0x20 m.o
                                         0x38 (size before relaxing)

.bss            0x0000000000004010        0x8
 *(COMMON)
 COMMON         0x0000000000004014        0x4 lib/libv.a(v.o)
                0x0000000000004014                common_thing
                0x0000000000004018                . = ALIGN ((. != 0x0)?0x8:0x1)
OUTPUT(m elf64-x86-64)
"""  # noqa: W291  (ld ends *fill* lines so)


def test_sections_of_every_form_are_read() -> None:
    found = parse_link_map(MAP.splitlines(keepends=True))
    assert found.loaded == ("m.o", "lib/libv.a", "a path/with blanks.o")
    assert [(s.output.name, s.name, s.address, s.size, s.file, s.member) for s in found.inputs] == [
        (".text", ".text.unlikely.coldf", 0x1050, 0x3, "lib/libv.a", "v.o"),
        (".text", ".text.startup", 0x1060, 0x30, "m.o", ""),
        (".text", ".text", 0x1090, 0x10, "a path/with blanks.o", ""),
        (".text", ".text", 0x10A0, 0x10, "lib/libv.a", "odd(name).o"),
        (".a_very_long_output_section", "odd_name", 0x2000, 0x8, "m.o", ""),
        (".eh_frame", ".eh_frame", 0x20C8, 0x20, "m.o", ""),
        (".bss", "COMMON", 0x4014, 0x4, "lib/libv.a", "v.o"),
    ]
    assert {(o.name, o.address, o.size) for o in found.outputs} >= {
        (".text", 0x1050, 0x160),
        (".a_very_long_output_section", 0x2000, 0x8),
        (".eh_frame", 0x20C8, 0x20),
    }


@pytest.mark.parametrize("end", ["OUTPUT(", ".bss  ", "Linker script"])
def test_a_map_that_is_cut_short_is_refused(end: str) -> None:
    with pytest.raises(BuildRefusedError) as caught:
        parse_link_map(MAP[: MAP.index(end)].splitlines(keepends=True))
    assert caught.value.reason == "link-map"


@given(st.lists(st.text(alphabet="  .0x1fabc()*\t\n", max_size=60), max_size=30))
def test_any_text_is_read_or_refused(lines: list[str]) -> None:
    parse_link_map(["Linker script and memory map\n", *lines, "OUTPUT(x elf64-x86-64)\n"])
    with pytest.raises(BuildRefusedError):
        parse_link_map(lines)


def test_members_that_cannot_be_told_apart_are_refused() -> None:
    sections = parse_link_map(MAP.splitlines(keepends=True)).inputs[:1]
    empty_object = bytes.fromhex(
        "7f454c460201010000000000000000000100 3e00 01000000".replace(" ", "")
    )
    header = empty_object + bytes(64 - len(empty_object))
    with pytest.raises(BuildRefusedError) as caught:
        tell_apart("util.o", [header, header], sections)
    assert caught.value.reason == "archive-member"
