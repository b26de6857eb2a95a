"""Where else the changed code is: everything that one build made of it, and who else holds it.

    find_copies(records, changed, rebuilt, tree) -> tuple[Copy, ...]
        records: of the whole build, oldest first; changed: absolute paths of changed files (headers
        too, and copies of them: `copied_sources`), as they were in the build; rebuilt: what its
        packages hold; tree: where it was built. To be called where the tree can be seen, or
        symbolic links in it are not followed.

Listed are all linked objects, shipped or not (test programs, a second library of the same sources),
static archives and relocatables that packages ship, and compilations that were linked into nothing
that was seen. It judges nothing, and where the records are unclear a copy is listed rather than
left out. Packages of other sources: see `built_using`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from naht.build.debian.changed_objects import ChangedObjects
from naht.build.debian.linked_pairs import last_links
from naht.build.debian.origins import find_origins, names_by_link
from naht.build.debian.shipped import Shipped, ShippedObject
from naht.build.native.archives import read_archive
from naht.build.native.recording import Invocation
from naht.build.native.units import relative
from naht.errors import HostileInputError

CopyKind = Literal["object", "archive", "relocatable", "compilation", "package"]


@dataclass(frozen=True)
class Copy:
    """name: of an object or compilation its path relative to the tree; else "package:path", or the
    binary package of another source."""

    kind: CopyKind
    name: str
    shipped_as: tuple[str, ...] = ()  # "package:path"
    units: tuple[str, ...] = ()  # changed units in it, relative to the tree
    note: str = ""


def find_copies(
    records: Sequence[Invocation], changed: Collection[Path], rebuilt: Shipped, tree: Path
) -> tuple[Copy, ...]:
    objects = ChangedObjects(records, frozenset(changed))
    linked = _linked_copies(records, objects, rebuilt, tree)
    static = [c for f in rebuilt.files if (c := _static_copy(f, objects, tree))]
    return (*linked, *static, *_lost_units(objects, tree))


def _linked_copies(
    records: Sequence[Invocation], objects: ChangedObjects, rebuilt: Shipped, tree: Path
) -> list[Copy]:
    names = names_by_link(find_origins(rebuilt.objects, records))
    found = []
    for key, link in last_links(records, tree).items():
        if units := objects.units_of(link):
            shipped_as = names.get(link.id, ())
            name = "/".join(filter(None, key))
            found.append(Copy("object", name, shipped_as, _relative(units, tree)))
    return found


def _static_copy(file: ShippedObject, objects: ChangedObjects, tree: Path) -> Copy | None:
    if file.kind not in ("archive", "relocatable"):
        return None
    try:
        units = _units_in(file, objects)
    except HostileInputError as error:
        return Copy(file.kind, file.name, (file.name,), (), f"can't be read: {error.cause}")
    if not units:
        return None
    note = "whoever links it later, or did, holds the code too"
    return Copy(file.kind, file.name, (file.name,), _relative(units, tree), note)


def _units_in(file: ShippedObject, objects: ChangedObjects) -> set[Path]:
    if file.kind == "relocatable":
        return objects.units_like(file.file.read_bytes())
    members = read_archive(file.file, Path("/nowhere") / file.path)
    return {unit for m in members for unit in objects.units_like(m.content)}


def _lost_units(objects: ChangedObjects, tree: Path) -> list[Copy]:
    note = "compiled, but no link that was seen took it"
    return [
        Copy("compilation", relative(x.output, tree), (), (x.source_name(tree),), note)
        for x in objects.unlinked()
        if x.output is not None
    ]


def _relative(units: Collection[Path], tree: Path) -> tuple[str, ...]:
    return tuple(sorted(relative(unit, tree) for unit in units))
