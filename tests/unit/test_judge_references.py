"""What relocations refer to, in objects that the assembler made."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from naht.build.native.meaning import Meanings
from naht.build.native.names import cold_parent, family, stem
from naht.build.native.relocatable import Constant, Named, Place, Relocatable, Text

pytestmark = pytest.mark.compiler

DATA = """
    .section .rodata.str1.1, "aMS", @progbits, 1
    .LC0: .string "first"
    .LC1: .string "second"
    .section .rodata.cst8, "aM", @progbits, 8
    .LC2: .quad 1234
    .data
    .type table, @object
    .size table, 16
    table: .quad 0, 0
    .section .bss.alone, "aw", @nobits
    .type alone, @object
    .size alone, 16
    alone: .zero 16
    .text
    .globl f
    .type f, @function
    f:
"""


def assembled(folder: Path, code: str) -> Relocatable:
    path = folder / "case.o"
    subprocess.run(
        ["gcc", "-c", "-x", "assembler", "-", "-o", str(path)],
        input=DATA + code + "\n.size f, .-f\n", text=True, check=True,
    )  # fmt: skip
    return Relocatable.load(path)


def only_reference(folder: Path, code: str) -> tuple[object, int, str, int]:
    view = assembled(folder, code)
    (reference,) = view.references_of(view.functions["f"])
    target: object = reference.target
    if isinstance(target, Named):
        target = (target.symbol.name, target.offset)
    return target, reference.trailing, reference.use, reference.width


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("lea .LC1(%rip), %rax", (Text(b"second", 1, 0), 4, "address", 0)),
        ("lea .LC1+2(%rip), %rax", (Text(b"cond", 1, 0), 4, "address", 0)),
        ("lea .LC1-1(%rip), %rax", (Text(b"second", 1, -1), 4, "address", 0)),
        ("movabs $.rodata.str1.1+6, %rax", (Text(b"second", 1, 0), 0, "address", 0)),
        ("movsd .LC2(%rip), %xmm0", (Constant((1234).to_bytes(8, "little"), 0), 4, "access", 8)),
        ("movl table+8(%rip), %eax", (("table", 8), 4, "access", 4)),
        ("movl $7, table(%rip)", (("table", 0), 8, "access", 4)),
        ("movb $7, table+3(%rip)", (("table", 3), 5, "access", 1)),
        ("movw $7, table+4(%rip)", (("table", 4), 6, "access", 2)),
        ("lea alone-4(%rip), %rax", (("alone", -4), 4, "address", 0)),
        ("lea alone+16(%rip), %rax", (("alone", 16), 4, "address", 0)),
        ("movl table(,%rax,4), %eax", (("table", 0), 0, "address", 0)),
        ("call elsewhere", (("elsewhere", 0), 4, "branch", 0)),
        ("call *elsewhere@GOTPCREL(%rip)", (("elsewhere", 0), 4, "access", 8)),
    ],
)
def test_a_field_refers_to_what_the_instruction_means(
    tmp_path: Path, code: str, expected: tuple[object, int, str, int]
) -> None:
    assert only_reference(tmp_path, code) == expected


def test_entries_of_a_jump_table_count_from_its_start(tmp_path: Path) -> None:
    """The same table at another place in its section has the same meaning."""
    code = """
        nop
        1: lea 4f(%rip), %rax
        2: ret
        .section .rodata
        .zero PADDING
        4: .long 1b - 4b, 2b - 4b, 1b - 4b
        .text
    """
    meanings = []
    for padding in ("0", "40"):
        view = assembled(tmp_path, code.replace("PADDING", padding))
        (reference,) = view.references_of(view.functions["f"])
        assert isinstance(reference.target, Place)
        meanings.append(Meanings(view, str).target(reference, "f"))
    assert meanings[0] == meanings[1]
    fields = meanings[0][2]
    assert [f[2] for f in fields] == [("symbol", "f", o) for o in (1, 8, 1)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", "plain"),
        ("count.12", "count.#"),
        ("f.isra.0", "f.isra.#"),
        ("f.constprop.3.isra.0", "f.constprop.#.isra.#"),
        ("f.part.0.cold", "f.part.#.cold"),
        ("n.lto_priv.7", "n"),
        ("f.n", "f.n"),
        ("v1.2name", "v1.2name"),
    ],
)
def test_families_of_names(name: str, expected: str) -> None:
    assert family(name) == expected


def test_stems_and_parents_of_names() -> None:
    assert stem("f.constprop.3.isra.0") == "f"
    assert stem("f.n.2") == "f.n"
    assert cold_parent("f.isra.0.cold") == "f.isra.0"
    assert cold_parent("f.cold.1") == "f"
    assert cold_parent("f.colder") is None
