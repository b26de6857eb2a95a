"""Which programs of a directory of unpacked packages are linked against a library. Reads only."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from naht.elf import constants as c
from naht.elf.file import ElfFile, read_string
from naht.errors import HostileInputError

_FOLDERS = ("usr/bin", "usr/sbin", "usr/lib", "usr/libexec", "usr/games")
_MOST = 64 << 20


def users_of(library: str, packages: Path) -> list[str]:
    """Programs, relative to `packages`; "" for all of them. The small ones first."""
    found = [
        (size, path)
        for path, size, needed in _programs(packages)
        if not library or any(n == library or library.startswith(f"{n}.") for n in needed)
    ]
    return [path for _, path in sorted(found)]


@cache
def _programs(packages: Path) -> tuple[tuple[str, int, tuple[str, ...]], ...]:
    return tuple(
        (str(path.relative_to(packages)), path.stat().st_size, needed)
        for folder in _FOLDERS
        for path in _executables(packages / folder)
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
        return tuple(_needed(elf))
    except HostileInputError:
        return None


def _needed(elf: ElfFile) -> Iterator[str]:
    dynamic = elf.section_by_name.get(".dynamic")
    strings = elf.section_by_name.get(".dynstr")
    if not dynamic or not strings:
        return
    table, names = elf.section_bytes(dynamic), elf.section_bytes(strings)
    for at in range(0, len(table) - 15, 16):
        tag = int.from_bytes(table[at : at + 8], "little")
        if tag == c.DT_NEEDED:
            yield read_string(names, int.from_bytes(table[at + 8 : at + 16], "little"))
