"""What naht aims for, and whether a run met it. Pure: judges figures, measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scripts.bench.measure import Cost, Hot, Many, Switching

MS = 1e6
KIB = 1024.0
PAUSE_LIMITS_MS = {1: 1.0, 16: 1.0, 100: 1.0, 200: 3.0, 1000: 15.0}
MEMORY_LIMIT_KIB = 64.0
CALL_LIMIT_NS = 0.3
EFFECT_LIMIT_MS = 150.0
MANY_LIMIT_S = 5.0


@dataclass(frozen=True)
class Verdict:
    aim: str
    limit: str
    measured: str
    met: bool


def judge(
    switching: Mapping[int, Switching], cost: Cost, hot: Hot, many: Many, own_size: int
) -> list[Verdict]:
    one = switching[min(switching)]
    return [
        *(_pause(threads, result) for threads, result in switching.items()),
        _memory(one, own_size),
        _call(cost),
        _effect(one),
        _many(many),
        _hot(hot),
    ]


def _pause(threads: int, result: Switching) -> Verdict:
    limit = PAUSE_LIMITS_MS[threads]
    stop = result.apply_stop
    return Verdict(
        f"pause, {threads:,} thread{'s' * (threads > 1)}, stacks checked, as the target sees it",
        f"< {limit:g} ms",
        f"{stop.median / MS:.2f} [{stop.best / MS:.2f}] ms",
        stop.median / MS < limit,
    )


def _memory(result: Switching, own_size: int) -> Verdict:
    extra = (max(result.private.median, result.mapped.median) - own_size) / KIB
    return Verdict(
        "extra memory beyond the hotpatch's own code, mapped or private, whichever is more",
        f"< {MEMORY_LIMIT_KIB:g} KiB",
        f"{extra:.1f} KiB",
        extra < MEMORY_LIMIT_KIB,
    )


def _call(cost: Cost) -> Verdict:
    return Verdict(
        "a patched call against an unpatched one",
        f"within {CALL_LIMIT_NS} ns",
        f"{cost.added.median:+.2f} [{cost.added.best:+.2f}] ns on {cost.unpatched.median:.2f} ns",
        cost.added.median <= CALL_LIMIT_NS,
    )


def _effect(result: Switching) -> Verdict:
    effect = result.effect
    return Verdict(
        "from command to effect, one process",
        f"< {EFFECT_LIMIT_MS:g} ms",
        f"{effect.median / MS:.0f} [{effect.best / MS:.0f}] ms",
        effect.median / MS < EFFECT_LIMIT_MS,
    )


def _many(many: Many) -> Verdict:
    seconds = max(many.wall_ns, many.last_effect_ns) / 1e9
    return Verdict(
        f"from command to effect in the last of {many.processes} processes of one library",
        f"< {MANY_LIMIT_S:g} s",
        f"{seconds:.2f} s",
        seconds < MANY_LIMIT_S,
    )


def _hot(hot: Hot) -> Verdict:
    return Verdict(
        "4 threads spinning in the function: applied and reverted 1,000 times in a row",
        "no refusal, no crash",
        f"{hot.cycles:,} times, {hot.refusals} refusals, "
        f"{'alive' if hot.survived else 'DEAD'}, {hot.seconds:.0f} s",
        hot.cycles >= 1000 and hot.refusals == 0 and hot.survived,
    )
