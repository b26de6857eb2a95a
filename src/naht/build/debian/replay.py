"""Brings a built package up to date with changed sources, by running again what its build ran: the
outermost makes, in their directories, with their environment.

Refuses (ToolError) when one fails that succeeded before. Whether all that had to be compiled was
compiled, `sides` looks at.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Collection, Sequence
from itertools import zip_longest
from pathlib import Path

from naht.build.debian.enclosure import BUILDER
from naht.build.native.recording import Invocation
from naht.errors import ToolError

# Targets that hosts have nothing of, as a rule; some packages ship their test programs.
_TEST = re.compile(r"(?:.*[-_/])?(?:check|test|tests)")
_CLEAN = re.compile(r"(?:.*[-_/])?(?:clean|distclean|mostlyclean|realclean|maintainer-clean)")
_INSTALL = re.compile(r"(?:.*[-_/])?install(?:[-_].*)?")
_LAST = "~"  # sorts after every id
_DRY_OPTIONS = frozenset("npqtv")  # print only, database, question, touch, version
_LONG_DRY = frozenset(
    {"--dry-run", "--just-print", "--recon", "--question", "--touch", "--version"}
)
# They speak to processes of the first build, which are gone.
_STALE_VARIABLES = ("FAKEROOTKEY", "FAKED_MODE", "LD_PRELOAD", "LD_LIBRARY_PATH")


def replay(
    records: Sequence[Invocation], shipped: Collection[str], tree: Path, log: Path,
    settle: Callable[[], None],
) -> None:  # fmt: skip
    """`shipped`: ids of the links that hosts have the results of. Installing and testing are left
    out where none of them was made by it. `settle` is called after each make."""
    makers = [r for r in records if r.kind == "maker" and r.succeeded]
    for maker, following in zip_longest(makers, makers[1:]):
        end = following.id if following else _LAST
        if _is_wanted(maker, tree) and not (
            _is_optional(maker) and not any(maker.id < link < end for link in shipped)
        ):
            _run(maker, log)
            settle()


def _is_optional(maker: Invocation) -> bool:
    return any(_INSTALL.fullmatch(a) or _TEST.fullmatch(a) for a in maker.arguments) or (
        "DESTDIR" in maker.environment or any(a.startswith("DESTDIR=") for a in maker.arguments)
    )


def _is_wanted(maker: Invocation, tree: Path) -> bool:
    arguments = maker.arguments
    if not maker.cwd.is_relative_to(tree) or not maker.cwd.is_dir():
        return False
    file = _makefile(arguments)
    if file == "-" or (file and not (maker.cwd / file).is_file()):
        return False  # `configure` tried make out
    if maker.tool.name != "ninja" and any(_is_dry(a) for a in arguments):
        return False
    return not any(_CLEAN.fullmatch(a) for a in arguments)


def _makefile(arguments: Sequence[str]) -> str:
    """The last -f, in any of its spellings; "" for the default."""
    found = ""
    for index, argument in enumerate(arguments):
        if argument in {"-f", "--file", "--makefile"} and index + 1 < len(arguments):
            found = arguments[index + 1]
        elif argument.startswith(("--file=", "--makefile=")):
            found = argument.partition("=")[2]
        elif argument.startswith("-f") and len(argument) > 2:
            found = argument[2:]
    return found


def _is_dry(argument: str) -> bool:
    if argument in _LONG_DRY:
        return True
    letters = re.fullmatch(r"-([A-Za-z]+)\d*", argument)
    if not letters or letters[1][0] in "CfIjloWE":  # these take the rest as their value
        return False
    return bool(_DRY_OPTIONS & set(letters[1]))


def _run(maker: Invocation, log: Path) -> None:
    environment = {
        k: v for k, v in maker.environment.items()
        if k not in _STALE_VARIABLES and not k.startswith("MAKE") and k != "MFLAGS"
    }  # fmt: skip
    as_root = ["fakeroot"] if "FAKEROOTKEY" in maker.environment else []
    command = [*as_root, maker.tool.name, *maker.arguments]
    with log.open("ab") as stream:
        stream.write(f"\n== {maker.cwd}: {' '.join(command)}\n".encode())
        stream.flush()
        result = subprocess.run(
            command, cwd=maker.cwd, env=environment, user=BUILDER, group=BUILDER,
            extra_groups=[], stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            umask=0o022, check=False,
        )  # fmt: skip
    if result.returncode:
        raise ToolError(
            f"`{' '.join(command[:6])}` failed in {os.path.relpath(maker.cwd, '/build')} "
            f"(status {result.returncode}).",
            f"Its output is in {log.name} beside the result.",
        )
