"""Which blocked threads still have old code on their stacks, without stopping any.

A report for people, best effort: a running thread cannot be looked at, and a word that happens to
look like a return address counts. The proof that nobody is in old code is the C core's, under stop.
"""

from __future__ import annotations

import sys
import time
from array import array
from collections.abc import Sequence

from naht.errors import HostileInputError, TargetGoneError
from naht.live.native import procfs
from naht.live.native.memory import TargetMemory
from naht.live.native.procfs import BlockedCall, Mapping

MAX_STACK = 8 << 20
RED_ZONE = 128
MOST_LOOKS, LOOK_AGAIN_S = 8, 0.002
Range = tuple[int, int]


def threads_in_old_code(
    memory: TargetMemory, maps: Sequence[Mapping], parts: Sequence[Range]
) -> tuple[int, ...]:
    """The threads that wait with a return address or program counter in `parts`.

    One that runs just now is looked at again a few times: most threads wait soon.
    """
    found: list[int] = []
    left = procfs.list_threads(memory.pid)
    for look in range(MOST_LOOKS):
        if look:
            time.sleep(LOOK_AGAIN_S)
        left = [t for t in left if not _is_judged(memory, maps, t, parts, found)]
        if not left:
            break
    return tuple(sorted(found))


def _is_judged(
    memory: TargetMemory, maps: Sequence[Mapping], thread: int, parts: Sequence[Range],
    found: list[int],
) -> bool:  # fmt: skip
    """False while it runs. One that waits in old code is added to `found`."""
    try:
        call = procfs.read_blocked_call(memory.pid, thread)
    except TargetGoneError:
        return True
    if call is not None and _is_in_parts(memory, maps, call, parts):
        found.append(thread)
    return call is not None


def _is_in_parts(
    memory: TargetMemory, maps: Sequence[Mapping], call: BlockedCall, parts: Sequence[Range]
) -> bool:
    if any(start <= call.program_counter < end for start, end in parts):
        return True
    return points_into(_stack_words(memory, maps, call.stack_pointer), parts)


def _stack_words(memory: TargetMemory, maps: Sequence[Mapping], pointer: int) -> array[int]:
    start = (pointer - RED_ZONE) & -8
    mapping = procfs.mapping_at(maps, pointer)
    words = array("Q")
    if mapping is None:
        return words
    try:
        data = memory.read_up_to(start, min(mapping.end - start, MAX_STACK))
    except HostileInputError:
        return words
    words.frombytes(data[: len(data) & -8])
    if sys.byteorder != "little":
        words.byteswap()
    return words


def points_into(words: Sequence[int] | array[int], parts: Sequence[Range]) -> bool:
    """Whether a word may be a return address: after the first byte, up to just past the last."""
    if not parts:
        return False
    low, high = min(start for start, _ in parts), max(end for _, end in parts)
    near = [word for word in words if low < word <= high]
    return any(start < word <= end for word in near for start, end in parts)
