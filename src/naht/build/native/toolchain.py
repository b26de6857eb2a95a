"""Owns the stand-ins for compiler drivers, linkers and makes that record a build, and the
environment that makes a build find them. The build's own commands, flags and results stay as they
are.

Refuses to work where no C compiler is found. It reads no records: see `recording`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from naht.errors import ToolError, UsageError

_DRIVER = re.compile(
    r"(?:x86_64-(?:pc-)?linux-gnu-)?(?:gcc|g\+\+|cc|c\+\+|clang|clang\+\+|c89|c99)(?:-\d+(?:\.\d+)*)?"
)
_LINKER = re.compile(r"(?:x86_64-(?:pc-)?linux-gnu-)?ld(?:\.(?:bfd|gold|lld|mold))?(?:-\d+)?")
_MAKER = re.compile(r"make|gmake|ninja")
_CACHES = frozenset({"ccache", "sccache", "distcc", "icecc", "buildcache"})

_HEADERS = resources.files("naht.hotpatch") / "include"  # <naht.h>, for author hooks

# 1980-01-01: a build that bakes in its date gives the same bytes every time.
_EPOCH = "315532800"


@dataclass(frozen=True)
class Recorder:
    """The stand-ins in a directory of their own. `records` and `files` are what builds leave."""

    home: Path
    compilers: tuple[str, ...]  # names that are recorded

    @property
    def records(self) -> Path:
        return self.home / "records"

    @property
    def files(self) -> Path:
        return self.home / "files"

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """The user's environment, with the stand-ins first in PATH, <naht.h> and no cache."""
        return {
            **base,
            "PATH": f"{self.home / 'bin'}:{base.get('PATH', os.defpath)}",
            "CPATH": ":".join(filter(None, (base.get("CPATH"), str(self.home / "include")))),
            "LC_ALL": "C.UTF-8",
            "SOURCE_DATE_EPOCH": base.get("SOURCE_DATE_EPOCH", _EPOCH),
            "CCACHE_DISABLE": "1",
            "SCCACHE_NO_DAEMON": "1",
            "DISTCC_HOSTS": "localhost",
        }


def place_headers(home: Path) -> None:
    """<naht.h> of this version, whichever version made the recorder: builds are kept for long."""
    with resources.as_file(_HEADERS) as headers:
        shutil.copytree(headers, home / "include", dirs_exist_ok=True)


def install_recorder(home: Path, search_path: str) -> Recorder:
    """Makes HOME/bin with a stand-in for every driver and linker found in `search_path`."""
    if re.search(r"[\s:]", str(home)):
        raise UsageError(
            f"The work directory {home} has a blank or a colon in its name.",
            "Set TMPDIR to a directory without either.",
        )
    for name in ("bin", "real", "records", "files"):
        (home / name).mkdir(parents=True)
    tools = _find_tools(search_path)
    _compile_recorder(home / "recorder", tools)
    place_headers(home)
    for name, real in tools.items():
        (home / "bin" / name).symlink_to("../recorder")
        (home / "real" / name).symlink_to(real)
    return Recorder(home, tuple(sorted(name for name in tools if _DRIVER.fullmatch(name))))


def _find_tools(search_path: str) -> dict[str, Path]:
    """Name → the first real tool of that name in the search path."""
    tools: dict[str, Path] = {}
    for directory in filter(None, search_path.split(":")):
        try:
            entries = sorted(Path(directory).iterdir())
        except OSError:
            continue
        for entry in entries:
            if entry.name not in tools and _is_tool(entry):
                tools[entry.name] = entry.absolute()
    return tools


def _is_tool(path: Path) -> bool:
    if not any(kind.fullmatch(path.name) for kind in (_DRIVER, _LINKER, _MAKER)):
        return False
    if not path.is_file() or not os.access(path, os.X_OK):
        return False
    if path.resolve().name in _CACHES:  # it would look for the compiler in PATH and find us
        return False
    with path.open("rb") as stream:  # a script calls a real driver, which is recorded then
        return stream.read(2) != b"#!"


def _compile_recorder(output: Path, tools: Mapping[str, Path]) -> None:
    compiler = next((tools[n] for n in ("gcc", "cc", "clang") if n in tools), None)
    if compiler is None:
        raise ToolError(
            "No C compiler was found in PATH.", "Install gcc or clang (`apt-get install gcc`)."
        )
    with resources.as_file(resources.files(__package__) / "recorder.c") as source:
        result = subprocess.run(
            [compiler, "-std=c11", "-O1", "-o", output, source],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    if result.returncode:
        raise ToolError(
            f"{compiler} cannot compile a small program: {result.stderr[-2000:].strip()}",
            "Install the C library's headers (`apt-get install libc6-dev`).",
        )
