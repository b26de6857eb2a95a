"""Pairs the objects of two links and brings each changed one into the forms for comparing.

Refuses an object that changed although its compilation was not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from naht.build.compile_pair import Unit, UnitPair
from naht.build.native.recompile import UnitJob, compile_forms
from naht.build.native.request import Progress
from naht.build.native.units import Compilation, Link, LinkedInput
from naht.errors import BuildRefusedError

Objects = dict[tuple[str, str], Path]  # names of a link's inputs → plain objects
Kept = Callable[[Compilation], Path | None]
"""Where the forms of a compilation stay that will never come out otherwise; None: nowhere."""


def pair_units(
    old: tuple[Link, Objects],
    new: tuple[Link, Objects],
    tree: Path,
    work: Path,
    show_old: Callable[[], None],
    kept: Kept,
    progress: Progress,
) -> tuple[UnitPair, ...]:
    """Called with the new tree at `tree`, which it leaves with the old one there (`show_old`)."""
    before = {i.key: i for i in old[0].inputs}
    after = {i.key: i for i in new[0].inputs}
    keys = [
        key for key in dict.fromkeys((*before, *after))
        if key not in before or key not in after or before[key].digest != after[key].digest
    ]  # fmt: skip
    _refuse_unrecorded(keys, before, after)
    progress(f"comparing {len(keys)} of {len(after)} objects…")
    new_units = _units(keys, after, new[1], work / "forms-new", kept)
    # The old tree goes back to where it was built: paths are part of what compilers see.
    show_old()
    old_units = _units(keys, before, old[1], work / "forms-old", kept)
    return tuple(
        UnitPair(
            _source(before.get(key) or after[key], tree), old_units.get(key), new_units.get(key)
        )
        for key in keys
    )


def _source(item: LinkedInput, tree: Path) -> str:
    return item.compilation.source_name(tree) if item.compilation else item.key


def _refuse_unrecorded(
    keys: Sequence[str], before: dict[str, LinkedInput], after: dict[str, LinkedInput]
) -> None:
    for key in keys:
        sides = [side[key] for side in (before, after) if key in side]
        known = [s.compilation is not None or s.sectioned is not None for s in sides]
        if len(known) == 2 and not all(known):
            raise BuildRefusedError(
                "unrecorded-compiler",
                f"{key} changed, but its compilation was not seen.",
                "Let the build compile it with gcc or clang, called by name; other tools and "
                "objects made by hand can't be compared.",
                where=key,
            )


def _units(
    keys: Sequence[str],
    inputs: dict[str, LinkedInput],
    objects: Objects,
    directory: Path,
    kept: Kept,
) -> dict[str, Unit]:
    present = [inputs[key] for key in keys if key in inputs]
    directory.mkdir()
    made = [i for i in present if i.compilation]
    jobs = [
        UnitJob(i.compilation, objects[i.name], directory / f"{n:05}", kept(i.compilation))
        for n, i in enumerate(made) if i.compilation
    ]  # fmt: skip
    units = dict(zip((i.key for i in made), compile_forms(jobs), strict=True))
    for item in present:
        if item.sectioned is not None:
            form = directory / f"{item.key}.o"
            form.write_bytes(item.sectioned)
            units[item.key] = Unit(objects[item.name], form, None)
        else:  # from a library that is not built here: as it is
            plain = objects[item.name]
            units.setdefault(item.key, Unit(plain, plain, None))
    return units
