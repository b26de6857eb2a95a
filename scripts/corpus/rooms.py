"""Which objects of a case can lie in one root: packages that exclude each other (a light and a
heavy build of one daemon) ship different files under the same path. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from naht.build.debian.change_job import ObjectChange


def places(thing: ObjectChange) -> list[str]:
    """Where the file is installed."""
    return [name.partition(":")[2] for name in thing.shipped_as]


def share_out(objects: Sequence[ObjectChange]) -> list[list[ObjectChange]]:
    """Rooms, each with all objects that its root has. One object of each path; of those that have
    rivals, the ones of one package together. The others are in all rooms."""
    counts = Counter(path for thing in objects for path in set(places(thing)))
    rivals = [o for o in objects if any(counts[path] > 1 for path in places(o))]
    rooms: list[list[ObjectChange]] = []
    for thing in rivals:
        room = next((r for r in rooms if _belongs(thing, r) and _has_place(thing, r)), None)
        if room is None:
            room = []
            rooms.append(room)
        room.append(thing)
    return [
        [o for o in objects if any(o is x for x in room) or not any(o is x for x in rivals)]
        for room in rooms or [[]]
    ]


def home_of(thing: ObjectChange, rooms: Sequence[Sequence[ObjectChange]]) -> int:
    """The number of the first room that it is in."""
    return next(n for n, room in enumerate(rooms) if any(o is thing for o in room))


def _belongs(thing: ObjectChange, room: Sequence[ObjectChange]) -> bool:
    own = _packages(thing)
    return all(own & _packages(other) for other in room)


def _has_place(thing: ObjectChange, room: Sequence[ObjectChange]) -> bool:
    return not any(set(places(thing)) & set(places(other)) for other in room)


def _packages(thing: ObjectChange) -> set[str]:
    return {name.partition(":")[0] for name in thing.shipped_as}
