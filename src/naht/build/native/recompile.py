"""Compiles single units again, with the command that the build used, in the forms that are
compared: one section per function and datum, with DWARF, and the same with fixed line numbers.

Refuses a unit whose own command, run again, gives other code than it gave during the build.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from naht.build.compile_pair import Unit
from naht.build.native.command_line import (
    compile_one,
    without_errors_for_warnings,
    without_side_outputs,
)
from naht.build.native.units import Compilation, code_view
from naht.errors import BuildRefusedError, ToolError

WORKERS = max(2, os.cpu_count() or 2)

_SECTIONED = ("-ffunction-sections", "-fdata-sections", "-g2", "-w")
# clang leaves out types that it thinks another unit describes; we compare them all.
_CLANG_SECTIONED = (*_SECTIONED, "-fstandalone-debug")
_TIME_NEUTRAL = ('-D__DATE__=""', '-D__TIME__=""', '-D__TIMESTAMP__=""')
_LINE_NEUTRAL = ("-D__LINE__=0", *_TIME_NEUTRAL)
# Equal numbers in all calls let the compiler clone and inline what it would not otherwise. Counted
# ones differ from each other as lines do, but move when the change adds or takes out one of them.
_LINE_COUNTED = ("-D__LINE__=__COUNTER__", *_TIME_NEUTRAL)


@dataclass(frozen=True)
class UnitJob:
    """A unit to compile again; `plain` is the object as it was linked."""

    compilation: Compilation
    plain: Path
    forms: Path  # directory for the results


def compile_forms(jobs: Sequence[UnitJob]) -> tuple[Unit, ...]:
    """One unit per job, in order. Jobs of one driver run share its outputs: one after another."""
    groups: dict[str, list[int]] = {}
    for index, job in enumerate(jobs):
        groups.setdefault(job.compilation.invocation.id, []).append(index)
    with ThreadPoolExecutor(WORKERS) as pool:
        done = pool.map(lambda group: [(i, _compile(jobs[i])) for i in group], groups.values())
        units = dict(pair for group in done for pair in group)
    return tuple(units[i] for i in range(len(jobs)))


def _compile(job: UnitJob) -> Unit:
    job.forms.mkdir(parents=True)
    if job.compilation.source.assembler:
        return Unit(plain=job.plain, sectioned=job.plain, line_neutral=None)
    _prove_repeatable(job)
    sectioned = _run(job, job.forms / "sectioned.o", _sectioned_flags(job.compilation))
    if isinstance(sectioned, str):
        raise ToolError(
            f"{job.compilation.source.path.name} does not compile with one section per function: "
            f"{sectioned}",
            "Check that its compiler accepts -ffunction-sections -fdata-sections -g.",
        )
    neutral = _run_neutral(job, "line_neutral.o", _LINE_NEUTRAL)
    counted = None
    if neutral is not None and not _same_code(neutral, sectioned):  # its code depends on lines
        counted = _run_neutral(job, "line_counted.o", _LINE_COUNTED)
    return Unit(job.plain, sectioned, neutral, counted)


def _run_neutral(job: UnitJob, name: str, definitions: Sequence[str]) -> Path | None:
    """None: the source needs what its lines or times say."""
    flags = (*_sectioned_flags(job.compilation), *definitions)
    result = _run(job, job.forms / name, flags, lenient=True)
    return None if isinstance(result, str) else result


def _sectioned_flags(compilation: Compilation) -> tuple[str, ...]:
    return _CLANG_SECTIONED if "clang" in compilation.invocation.tool.name else _SECTIONED


def _prove_repeatable(job: UnitJob) -> None:
    """Without this, a header generated and overwritten meanwhile would go unseen."""
    again = _run(job, job.forms / "plain.o", ())
    if isinstance(again, str):
        cause = f"does not compile a second time: {again}"
    elif _same_code(again, job.plain):
        return
    else:
        cause = "gives other code when its own command is run a second time"
    raise BuildRefusedError(
        "unrepeatable-unit",
        f"{job.compilation.source.path.name} {cause}.",
        "Look for files that the build generates anew or deletes, random seeds and time stamps.",
        where=str(job.compilation.source.path),
    )


def _same_code(a: Path, b: Path) -> bool:
    first, second = a.read_bytes(), b.read_bytes()
    return first == second or code_view(first) == code_view(second)


def _run(job: UnitJob, result: Path, extra: Sequence[str], *, lenient: bool = False) -> Path | str:
    """The object file, or what the compiler said. The output keeps its name while it is compiled:
    compilers derive profile names and random seeds from it."""
    compilation = job.compilation
    command = compilation.command
    output = compilation.output or result
    if command.compiles_only:
        arguments = without_side_outputs(command.arguments)
    else:
        arguments = compile_one(command, compilation.source, result)
    if extra:
        arguments = [a for a in arguments if not a.startswith(("-gsplit-dwarf", "-gz"))]
    if lenient:
        arguments = without_errors_for_warnings(arguments)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.unlink(missing_ok=True)
    finished = subprocess.run(
        [str(compilation.invocation.tool), *arguments, *extra],
        cwd=compilation.invocation.cwd, env=compilation.invocation.environment,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    if finished.returncode or not output.is_file():
        return finished.stderr[-4000:].strip() or "no object came out"
    if output != result:
        shutil.move(output, result)
    return result
