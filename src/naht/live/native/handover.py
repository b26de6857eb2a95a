"""What a hotpatch takes over from those that it replaces: words of their data, such as the root of
the shadow data. Pure, given how memory is read. Refuses (TargetRefusedError) two that contradict
each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from naht.errors import TargetRefusedError
from naht.live.native.record import HandedOver, Record

WORD = 8


class TakenOver(msgspec.Struct, frozen=True):
    """`value` is at `source` now and goes to `destination`, if it is still there at the switch."""

    source: int
    destination: int
    value: bytes


def hands_over(names: Sequence[str], addresses: Mapping[str, int]) -> tuple[HandedOver, ...]:
    return tuple(HandedOver(name, addresses[name]) for name in names)


def take_over(
    words: Sequence[HandedOver], replaced: Sequence[Record], read: Callable[[int, int], bytes]
) -> tuple[TakenOver, ...]:
    """Every word, of any replaced hotpatch, that one of `words` continues."""
    found: list[TakenOver] = []
    for word in words:
        sources = [h for r in replaced for h in r.payload.hands_over if h.name == word.name]
        values = [(source, read(source.address, WORD)) for source in sources]
        if len([value for _, value in values if any(value)]) > 1:
            raise _contradiction(word.name, replaced)
        found += [TakenOver(source.address, word.address, value) for source, value in values]
    return tuple(found)


def _contradiction(name: str, replaced: Sequence[Record]) -> TargetRefusedError:
    ids = ", ".join(record.payload.id for record in replaced)
    return TargetRefusedError(
        "two-predecessors",
        f"{ids} would be replaced at once, and each has data of its own in {name}.",
        "Revert all but one of them first.",
    )


def fill(content: bytearray, start: int, taken: Sequence[TakenOver]) -> None:
    """Puts what is taken over into the data region that starts at `start`."""
    for word in taken:
        if any(word.value):
            at = word.destination - start
            content[at : at + WORD] = word.value
