"""Judges small pairs of sources that are compiled and linked for the purpose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from naht.build.compile_pair import BuiltPair, Unit
from naht.build.native.changes import ChangeSet
from naht.build.native.judge import JudgeOptions, judge
from naht.errors import BuildRefusedError
from tests.builders.native_pair import SECTIONED, Recipe, build, run

LINE_NEUTRAL = ("-w", "-D__LINE__=0", '-D__DATE__=""', '-D__TIME__=""')


def built(folder: Path, recipe: Recipe) -> BuiltPair:
    """A pair whose units have their line-neutral form too."""
    pair = build(folder, recipe)
    units = tuple(
        replace(unit, old=_with_neutral(unit.old, recipe), new=_with_neutral(unit.new, recipe))
        for unit in pair.units
    )
    return replace(pair, units=units)


def _with_neutral(unit: Unit | None, recipe: Recipe) -> Unit | None:
    if unit is None:
        return None
    folder = unit.plain.parent
    source = next(p for p in folder.iterdir() if p.stem == unit.plain.stem and p.suffix in SUFFIXES)
    neutral = unit.plain.with_suffix(".n.o")
    run([recipe.compiler, *recipe.flags, *SECTIONED, *LINE_NEUTRAL, "-c", source.name,
         "-o", str(neutral)], folder)  # fmt: skip
    return replace(unit, line_neutral=neutral)


SUFFIXES = {".c", ".cc", ".S"}


def one_file(old: str, new: str, **more: object) -> Recipe:
    return Recipe({"case.c": old}, {"case.c": new}, **more)  # type: ignore[arg-type]


def judged(folder: Path, recipe: Recipe, options: JudgeOptions | None = None) -> ChangeSet:
    return judge(built(folder, recipe), options or JudgeOptions())


def refused(folder: Path, recipe: Recipe, options: JudgeOptions | None = None) -> BuildRefusedError:
    with pytest.raises(BuildRefusedError) as caught:
        judged(folder, recipe, options)
    return caught.value


def included(changes: ChangeSet) -> dict[str, str]:
    """Function → "changed" or "new"."""
    return {function.name: function.change for function in changes.functions}
