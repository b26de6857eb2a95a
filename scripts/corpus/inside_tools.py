"""Our own C programs that run inside live roots (scripts/corpus/inside), compiled there once per
root: with the compiler and the C library of the distribution that is patched."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from naht.build.debian.cache import Cache
from naht.build.debian.clean_root import CleanRoot
from naht.build.debian.enclosure import Layered
from naht.errors import ToolError

SOURCES = Path(__file__).parent / "inside"
PLACE = "/corpus/tools"
_SOURCES_INSIDE = "/corpus/source"
_FLAGS = ("-O1", "-g", "-Wall")
_COMMANDS = (
    ("init", ("init.c",)),
    ("stopped", ("stopped.c",)),
    ("hold.so", ("-shared", "-fPIC", "hold.c", "-ldl")),
    ("driver.o", ("-c", "-fPIC", "driver.c")),
    ("loader", ("-DDRIVER_LOADS", "driver.c", "-ldl", "-lpthread")),
)


def inside_tools(cache: Cache, root: CleanRoot) -> Path:
    """The directory that holds them."""
    base = CleanRoot(root.layers[-1:], "")
    with cache.entry("corpus-tools", _key(base)) as entry:
        made = entry.path / "made"
        if not entry.complete:
            made.mkdir()
            _compile_all(base, made, entry.path)
            entry.seal()
    return made


def _key(base: CleanRoot) -> str:
    digest = hashlib.sha256(str(base.layers).encode())
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:24]


def _compile_all(base: CleanRoot, made: Path, scratch: Path) -> None:
    mounts = (
        Layered(_SOURCES_INSIDE, (str(SOURCES),), read_only=True),
        Layered(PLACE, (str(made),)),
    )
    enclosure = base.enclosure(scratch / "scratch", mounts)
    log = scratch / "log"
    shutil.copyfile(SOURCES / "driver.h", made / "driver.h")
    for name, arguments in _COMMANDS:
        command = ["gcc", *_FLAGS, "-o", f"{PLACE}/{name}", *arguments]
        if enclosure.run(command, log, cwd=_SOURCES_INSIDE):
            raise ToolError(f"{name} can't be compiled.", f"Its output is in {log}.")
