"""What ELF files say of themselves: which programs of a directory are linked against a library, and
what kind of object a file is. Reads only."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from naht.elf import constants as c
from naht.elf.file import ElfFile, read_string
from naht.errors import HostileInputError
from scripts.corpus.target import ObjectKind

_FOLDERS = ("usr/bin", "usr/sbin", "usr/lib", "usr/libexec", "usr/games")
_TEST = re.compile(r"(^|[/_.-])(test|check|regress|suite)|tests?$", re.IGNORECASE)
_MOST = 64 << 20
_DT_SONAME, _DT_FLAGS_1, _DF_1_PIE = 14, 0x6FFFFFFB, 0x08000000


def users_of(library: str, packages: Path) -> list[str]:
    """Programs, relative to `packages`; "" for all of them. The small ones first."""
    return [path for _, path in sorted(_linked_against(library, packages, _FOLDERS))]


def tests_of(library: str, tree: Path) -> list[str]:
    """Test programs that a built tree holds, relative to it. The large ones first."""
    found = sorted(_linked_against(library, tree, (".",)), reverse=True)
    return [path for _, path in found if _TEST.search(path) and not path.startswith("debian/")]


def _linked_against(
    library: str, directory: Path, folders: tuple[str, ...]
) -> Iterator[tuple[int, str]]:
    for path, size, needed in _programs(directory, folders):
        if not library or any(n == library or library.startswith(f"{n}.") for n in needed):
            yield size, path


@cache
def _programs(
    directory: Path, folders: tuple[str, ...]
) -> tuple[tuple[str, int, tuple[str, ...]], ...]:
    return tuple(
        (str(path.relative_to(directory)), path.stat().st_size, needed)
        for folder in folders
        for path in _executables(directory / folder)
        if (needed := needed_libraries(path)) is not None
    )


def _executables(folder: Path) -> Iterator[Path]:
    for directory, _, files in os.walk(folder):
        for name in sorted(files):
            path = Path(directory, name)
            mode = path.lstat()
            if stat.S_ISREG(mode.st_mode) and mode.st_mode & 0o111 and mode.st_size <= _MOST:
                yield path


def needed_libraries(file: Path) -> tuple[str, ...] | None:
    """Of a program that is linked dynamically; None for anything else."""
    with file.open("rb") as stream:
        if stream.read(4) != c.ELF_MAGIC:
            return None
    try:
        elf = ElfFile(file.read_bytes())
        if not any(s.type == c.PT_INTERP for s in elf.segments):
            return None
        return tuple(dynamic_strings(elf, c.DT_NEEDED))
    except HostileInputError:
        return None


def dynamic_strings(elf: ElfFile, wanted: int) -> Iterator[str]:
    strings = elf.section_by_name.get(".dynstr")
    names = elf.section_bytes(strings) if strings else b""
    for tag, value in _dynamic_numbers(elf):
        if tag == wanted:
            yield read_string(names, value)


def object_kind(file: Path) -> ObjectKind:
    """A library that can also be run (it has an interpreter) is a library."""
    elf = ElfFile(file.read_bytes())
    kinds = {segment.type for segment in elf.segments}
    if c.PT_INTERP in kinds and not any(dynamic_strings(elf, _DT_SONAME)):
        return "program"
    is_static = elf.type == c.ET_EXEC or c.PT_DYNAMIC not in kinds or _is_static_pie(elf)
    return "static program" if c.PT_INTERP not in kinds and is_static else "library"


def _is_static_pie(elf: ElfFile) -> bool:
    flags = [value for tag, value in _dynamic_numbers(elf) if tag == _DT_FLAGS_1]
    return any(value & _DF_1_PIE for value in flags)


def _dynamic_numbers(elf: ElfFile) -> Iterator[tuple[int, int]]:
    dynamic = elf.section_by_name.get(".dynamic")
    table = elf.section_bytes(dynamic) if dynamic else b""
    for at in range(0, len(table) - 15, 16):
        yield (
            int.from_bytes(table[at : at + 8], "little"),
            int.from_bytes(table[at + 8 : at + 16], "little"),
        )
