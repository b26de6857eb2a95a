"""Compiles single units again, with the command that the build used, in the forms that are
compared: one section per function and datum, with DWARF, and the same with fixed line numbers.

Refuses a unit whose own command, run again, gives other code than it gave during the build.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from naht.build.compile_pair import Unit
from naht.build.native.command_line import (
    compile_one,
    without_errors_for_warnings,
    without_output,
    without_side_outputs,
)
from naht.build.native.tool_account import credentials, hand_over
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

_SECTIONED_FORM, _NEUTRAL_FORM, _COUNTED_FORM = "sectioned.o", "line_neutral.o", "line_counted.o"
_LINELESS = "says-no-lines"


@dataclass(frozen=True)
class UnitJob:
    """A unit to compile again; `plain` is the object as it was linked."""

    compilation: Compilation
    plain: Path
    forms: Path  # directory for the results
    kept: Path | None = None  # where results of an unchanging unit stay, for whoever comes next


def compile_forms(jobs: Sequence[UnitJob]) -> tuple[Unit, ...]:
    """One unit per job, in order. Jobs of one driver run share its outputs: one after another."""
    groups: dict[str, list[int]] = {}
    for index, job in enumerate(jobs):
        groups.setdefault(job.compilation.invocation.id, []).append(index)
    with ThreadPoolExecutor(WORKERS) as pool:
        done = pool.map(lambda group: [(i, _compile_once(jobs[i])) for i in group], groups.values())
        units = dict(pair for group in done for pair in group)
    return tuple(units[i] for i in range(len(jobs)))


def _compile_once(job: UnitJob) -> Unit:
    if job.kept is None or job.compilation.source.assembler:
        return _compile(job)
    if not job.kept.is_dir():
        # Process numbers would not tell drafts apart: builders in containers share them.
        draft = Path(tempfile.mkdtemp(dir=job.kept.parent))
        draft.chmod(0o755)
        _compile(replace(job, forms=draft / "forms"))
        with suppress(OSError):  # another one was faster
            (draft / "forms").rename(job.kept)
        shutil.rmtree(draft)
    return _read_forms(job.plain, job.kept)


def _read_forms(plain: Path, directory: Path) -> Unit:
    def form(name: str) -> Path | None:
        return directory / name if (directory / name).is_file() else None

    sectioned = directory / _SECTIONED_FORM
    neutral = sectioned if form(_LINELESS) else form(_NEUTRAL_FORM)
    return Unit(plain, sectioned, neutral, form(_COUNTED_FORM))


def _compile(job: UnitJob) -> Unit:
    job.forms.mkdir(parents=True)
    hand_over(job.forms)
    if job.compilation.source.assembler:
        return Unit(plain=job.plain, sectioned=job.plain, line_neutral=None)
    _prove_repeatable(job)
    sectioned = _run(job, job.forms / _SECTIONED_FORM, _sectioned_flags(job.compilation))
    if isinstance(sectioned, str):
        raise ToolError(
            f"{job.compilation.source.path.name} does not compile with one section per function: "
            f"{sectioned}",
            "Check that its compiler accepts -ffunction-sections -fdata-sections -g.",
        )
    if _says_no_lines(job):
        (job.forms / _LINELESS).touch()
        return Unit(job.plain, sectioned, sectioned)
    neutral = _run_neutral(job, _NEUTRAL_FORM, _LINE_NEUTRAL)
    counted = None
    if neutral is not None and not _same_code(neutral, sectioned):  # its code depends on lines
        counted = _run_neutral(job, _COUNTED_FORM, _LINE_COUNTED)
    return Unit(job.plain, sectioned, neutral, counted)


def _says_no_lines(job: UnitJob) -> bool:
    """Whether the source is the same for the compiler with __LINE__ and times fixed: then so is
    what comes out, and preprocessing costs a small part of compiling."""
    plain, neutral = _preprocess(job, ()), _preprocess(job, _LINE_NEUTRAL)
    return plain is not None and plain == neutral


def _preprocess(job: UnitJob, definitions: Sequence[str]) -> bytes | None:
    command, record = job.compilation.command, job.compilation.invocation
    others = {s.index for s in command.sources} - {job.compilation.source.index}
    kept = tuple(a for i, a in enumerate(command.arguments) if i not in others)
    arguments = without_output(without_side_outputs(kept))
    result = subprocess.run(
        [str(record.tool), *arguments, "-w", *definitions, "-E", "-o", "-"],
        cwd=record.cwd, env=record.environment, stdin=subprocess.DEVNULL,
        capture_output=True, check=False, **credentials(),
    )  # fmt: skip
    return result.stdout if result.returncode == 0 and result.stdout else None


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
    if not output.parent.is_dir():
        output.parent.mkdir(parents=True, exist_ok=True)
        hand_over(output.parent)
    output.unlink(missing_ok=True)
    finished = subprocess.run(
        [str(compilation.invocation.tool), *arguments, *extra],
        cwd=compilation.invocation.cwd, env=compilation.invocation.environment,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
        **credentials(),
    )  # fmt: skip
    if finished.returncode or not output.is_file():
        return finished.stderr[-4000:].strip() or "no object came out"
    if output != result:
        shutil.move(output, result)
    return result
