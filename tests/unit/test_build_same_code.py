"""The sectioned and the plain form of a unit are the same code, however it was assembled."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from naht.build.native.relocatable import Relocatable
from naht.build.native.same_code import FormComparison

pytestmark = pytest.mark.compiler

SOURCE = r"""
extern void keep(int (*)(int), const char *, int);
static int local(int x) { return x * %(factor)s; }
void takes_an_address(void) { keep(local, 0, 0); }
void passes_two_zeros(void) { keep(0, "\0", 1); }
int switches(int x) {
    switch (x) { case 0: return 11; case 1: keep(0, 0, 1); return 3; case 2: return 17;
                 case 3: keep(0, 0, 2); return 9; case 4: return 2; case 5: keep(0, 0, 3); }
    return x;
}
"""


def compile_form(folder: Path, name: str, factor: int, *flags: str) -> Relocatable:
    source, output = folder / f"{name}.c", folder / f"{name}.o"
    source.write_text(SOURCE % {"factor": factor})
    options = ["-O2", "-fPIC", "-fno-inline", *flags]
    subprocess.run(["gcc", "-c", *options, "-o", str(output), str(source)], check=True)
    return Relocatable.load(output)


def test_addresses_within_the_section_and_padding_are_no_difference(tmp_path: Path) -> None:
    plain = compile_form(tmp_path, "plain", 3)
    sectioned = compile_form(tmp_path, "sectioned", 3, "-ffunction-sections")
    assert FormComparison(sectioned, plain).differing_functions() == []


def test_other_code_is_a_difference(tmp_path: Path) -> None:
    plain = compile_form(tmp_path, "plain", 5)
    sectioned = compile_form(tmp_path, "sectioned", 3, "-ffunction-sections")
    assert FormComparison(sectioned, plain).differing_functions() == ["local"]
