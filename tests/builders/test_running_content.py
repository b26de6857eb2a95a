"""Running binaries that differ from the old build: what of that is of no concern, and what is."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from naht.build.compile_pair import BuiltPair
from naht.build.native.description import Description
from naht.build.native.emit import emit
from naht.build.native.judge import JudgeOptions, judge
from naht.elf.file import ElfFile
from naht.errors import BuildRefusedError
from tests.builders.judged_pair import built, included, one_file
from tests.builders.native_pair import run

pytestmark = pytest.mark.compiler

# The aligned table behind the strings keeps the layout when a string grows.
SOURCE = """
#include <stdio.h>
#include <unistd.h>
const char *version(void) { return "Version 1.0.9"; }
const char *const names[] = {"first name", "second name"};
static const int table[64] __attribute__((aligned(256))) = {7, 1, 2, 3, [63] = 9};
__attribute__((noinline)) int helper(int n) { return printf("helper %d\\n", n) + 70000; }
__attribute__((noinline)) int sum(const int *list, int n)
{
    return n ? list[n] + sum(list, n / 2) : 0;
}
int filled(int n)
{
    int list[40] = {11, 22, 33, 44, 55, [20] = 5, [39] = 77};
    list[n & 31] = n;
    return sum(list, n & 31);
}
int synced(int fd) { return fsync(fd) + 5; }
int api(int n) { printf("api %s\\n", names[n & 1]); return helper(n) + table[n & 63] + 1000; }
"""
VERSION = ('"Version 1.0.9"', '"Version 1.0.10"')


def pair(folder: Path, running: str, new: str) -> BuiltPair:
    """The old build of SOURCE, a new one, and a running binary of other sources."""
    made = built(folder, one_file(SOURCE, new))
    (folder / "running").mkdir()
    (folder / "running" / "case.c").write_text(running)
    path = folder / "running" / "libcase.so"
    run(["gcc", "-O2", "-fPIC", "-shared", "-Wl,-soname,libcase.so.1", "-Wl,--build-id",
         "case.c", "-o", str(path)], folder / "running")  # fmt: skip
    return replace(made, running=path)


def changed(*edits: tuple[str, str]) -> str:
    text = SOURCE
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return text


API = ("+ 1000", "+ 2000")


def test_literals_that_moved_are_the_same(tmp_path: Path) -> None:
    made = pair(tmp_path, changed(VERSION), changed(API))
    old, theirs = (p.read_bytes() for p in (made.old_link.path, made.running))
    assert old.index(b"api %s") != theirs.index(b"api %s")
    changes = judge(made, JudgeOptions())
    assert included(changes) == {"api": "changed"}
    manifest, _ = emit(made, changes, Description(id="moved"))
    (part,) = manifest.images[0].functions[0].parts
    running = ElfFile(made.running.read_bytes())
    code = running.read_address(part.offset, part.size)
    assert part.digest == sha256(code).hexdigest()
    assert code != ElfFile(old).read_address(part.offset, part.size)


@pytest.mark.parametrize(
    ("there", "new", "named"),
    [
        (("api %s", "API %s"), API, "api"),
        (("second name", "second Name"), API, "names"),
        (("helper %d", "HELPER %d"), API, "helper"),
        (("[39] = 77", "[39] = 78"), ("= n;", "= n + 4;"), "filled"),
        (("{7, 1", "{7, 0"), API, "table"),
    ],
)
def test_literals_with_another_content_are_refused(
    tmp_path: Path, there: tuple[str, str], new: tuple[str, str], named: str
) -> None:
    """The code itself is the same, byte by byte."""
    made = pair(tmp_path, changed(there), changed(new))
    with pytest.raises(BuildRefusedError) as caught:
        judge(made, JudgeOptions())
    assert caught.value.reason == "running-differs"
    assert f"{named} of the running binary differs" in caught.value.cause


def test_other_imports_at_the_same_places_are_refused(tmp_path: Path) -> None:
    made = pair(tmp_path, changed(("fsync(fd)", "close(fd)")), changed(API))
    with pytest.raises(BuildRefusedError) as caught:
        judge(made, JudgeOptions())
    assert caught.value.reason == "running-differs"
    assert "close" in caught.value.cause
