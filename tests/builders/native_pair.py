"""Built pairs for the emitter, made with the compiler directly: two small sets of sources, compiled
plain and sectioned, and linked with a map.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from naht.build.compile_pair import BuiltPair, LinkedObject, Placement, Unit, UnitPair
from naht.build.native.archives import read_archive
from naht.build.native.changes import ChangeSet, IncludedFunction
from naht.build.native.debug_info import DebugInfo
from naht.build.native.link_map import InputSection, read_link_map
from naht.build.native.matching import Side, match
from naht.build.native.meaning import cold_parts
from naht.build.native.relocatable import Relocatable
from naht.elf import constants as c
from naht.elf.file import ElfFile
from naht.hotpatch.manifest import Hooks, Source

SECTIONED = ("-ffunction-sections", "-fdata-sections", "-g")


@dataclass(frozen=True)
class Recipe:
    """How to make one object out of sources; `shared` sources are the same on both sides."""

    old: dict[str, str]
    new: dict[str, str]
    shared: dict[str, str] = field(default_factory=dict)
    compiler: str = "gcc"
    flags: tuple[str, ...] = ("-O2", "-fPIC")
    link: tuple[str, ...] = ("-shared", "-Wl,-soname,libcase.so.1")
    output: str = "libcase.so"


def build(folder: Path, recipe: Recipe) -> BuiltPair:
    old = _build_side(folder / "old", recipe, recipe.old)
    new = _build_side(folder / "new", recipe, recipe.new)
    names = sorted(recipe.old.keys() | recipe.new.keys())
    return BuiltPair(
        units=tuple(UnitPair(n, old[0].get(n), new[0].get(n)) for n in names),
        unchanged=(),
        old_link=old[1],
        new_link=new[1],
        running=old[1].path,
        compilers=(recipe.compiler,),
        command="make",
        sources=(Source(path="case.c", old_digest="", new_digest=""),),
    )


def _build_side(
    folder: Path, recipe: Recipe, sources: dict[str, str]
) -> tuple[dict[str, Unit], LinkedObject]:
    folder.mkdir(parents=True, exist_ok=True)
    units = {name: _compile(folder, recipe, name, text) for name, text in sources.items()}
    shared = [_compile(folder, recipe, n, text).plain for n, text in recipe.shared.items()]
    plain = [*(unit.plain for unit in units.values()), *shared]
    output, map_file = folder / recipe.output, folder / "link.map"
    run([recipe.compiler, *recipe.flags, "-o", str(output), *map(str, plain), *recipe.link,
         "-Wl,--build-id", f"-Wl,-Map,{map_file}"], folder)  # fmt: skip
    placements: dict[tuple[Path, str], tuple[Placement, ...]] = {}
    inputs: dict[Path, None] = dict.fromkeys(plain)
    for section in read_link_map(map_file).inputs:
        path = _plain_object(folder, section)
        if path is None:
            continue
        inputs[path] = None
        key = (path, section.name)
        where = Placement(section.address, section.size)
        placements[key] = (*placements.get(key, ()), where)
    return units, LinkedObject(output, placements, tuple(inputs))


def _plain_object(folder: Path, section: InputSection) -> Path | None:
    path = Path(section.file)
    if section.member:
        member = folder / "members" / f"{path.name}.{section.member}"
        if not member.exists():
            member.parent.mkdir(exist_ok=True)
            members = {m.name: m.content for m in read_archive(path, path)}
            member.write_bytes(members[section.member])
        return member
    return path if ElfFile(path.read_bytes()).type == c.ET_REL else None


def _compile(folder: Path, recipe: Recipe, name: str, text: str) -> Unit:
    source = folder / name
    source.write_text(text)
    plain, sectioned = source.with_suffix(".o"), source.with_suffix(".s.o")
    for target, more in ((plain, ()), (sectioned, SECTIONED)):
        run([recipe.compiler, *recipe.flags, *more, "-c", name, "-o", str(target)], folder)
    return Unit(plain, sectioned, None)


def run(command: list[str], folder: Path) -> str:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def changes(
    pair: BuiltPair, changed: tuple[str, ...], new: tuple[str, ...] = (), hooks: Hooks | None = None
) -> ChangeSet:
    """The change set that says: these functions changed, these are new."""
    functions = []
    matched = {}
    for unit in pair.units:
        if unit.new is None:
            continue
        view = Relocatable.load(unit.new.sectioned)
        old = Relocatable.load(unit.old.sectioned) if unit.old else None
        matched[unit] = _match(old, view) if old else {}
        for name in sorted(view.functions.keys() & {*changed, *new}):
            functions.append(_include(unit, old, view, name, name in changed, matched[unit]))
    return ChangeSet(tuple(functions), matched, (), (), hooks or Hooks())


def _match(old: Relocatable, new: Relocatable) -> dict[str, str]:
    return match(Side(old, DebugInfo(old)), Side(new, DebugInfo(new))).old_of


def _include(
    unit: UnitPair, old: Relocatable | None, new: Relocatable, name: str, changed: bool,
    matched: dict[str, str],
) -> IncludedFunction:  # fmt: skip
    cold = cold_parts(new).get(name, ())
    if not changed or old is None:
        return IncludedFunction(unit, name, "new", cold=cold)
    old_name = matched.get(name, name)
    return IncludedFunction(
        unit, name, "changed", old_name, cold, cold_parts(old).get(old_name, ()), "source changed"
    )
