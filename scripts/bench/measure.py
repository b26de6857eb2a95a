"""The measurements. Every sample has a fresh process, and the tools take turns in every round."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from naht.domain.process import ProcessOutcome
from naht.hotpatch.container import read_hotpatch
from naht.hotpatch.verified import accept_unsigned
from naht.live.engine import RetryPolicy
from naht.live.native.engine import NativeEngine
from naht.live.native.procfs import read_key
from scripts.bench.target import Target, TargetError, Trees, memory_of, running, wait_until
from scripts.bench.tools import Naht, Tool, ToolFailedError

OLD, NEW = 1, 2  # what bench_answer(0) is before and after
SETTLE = 0.05
COST_ROUNDS = 61
SPINNING_THREADS = 4
REFUSALS_LIMIT = 20  # each may cost seconds of retries


@dataclass
class Series:
    """Samples of one figure."""

    values: list[float] = field(default_factory=list)

    def add(self, value: float) -> None:
        self.values.append(value)

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def best(self) -> float:
        return min(self.values)

    def __bool__(self) -> bool:
        return bool(self.values)


@dataclass
class Switching:
    """One tool on one number of threads; nanoseconds and bytes."""

    tool: str
    threads: int
    apply_wall: Series = field(default_factory=Series)
    apply_gap: Series = field(default_factory=Series)
    apply_stop: Series = field(default_factory=Series)
    apply_reported: Series = field(default_factory=Series)
    effect: Series = field(default_factory=Series)
    revert_wall: Series = field(default_factory=Series)
    revert_stop: Series = field(default_factory=Series)
    mapped: Series = field(default_factory=Series)
    private: Series = field(default_factory=Series)
    private_kept: Series = field(default_factory=Series)  # after the revert
    trouble: str = ""


@dataclass
class Noise:
    gap: Series = field(default_factory=Series)
    stop: Series = field(default_factory=Series)


@dataclass
class Cost:
    """Nanoseconds per call: what patching added, against the twin in the same process."""

    tool: str
    unpatched: Series = field(default_factory=Series)
    added: Series = field(default_factory=Series)
    trouble: str = ""


@dataclass(frozen=True)
class Hot:
    cycles: int
    refusals: int
    attempts: int  # the most that any one apply or revert needed
    survived: bool
    seconds: float
    pause_median_ns: float
    last_trouble: str


@dataclass(frozen=True)
class Many:
    processes: int
    wall_ns: int
    last_effect_ns: int
    longest_pause_ns: int


def measure_switching(
    trees: Trees, tools: Sequence[tuple[Tool, int]], threads: int
) -> list[Switching]:
    """`tools`: with how many samples each is worth."""
    results = [Switching(tool.name, threads) for tool, _ in tools]
    for turn in range(max(samples for _, samples in tools)):
        for (tool, samples), result in zip(tools, results, strict=True):
            if turn < samples and not result.trouble:
                _catch(result, lambda: _one_switch(trees, tool, threads, result))  # noqa: B023
    return results


def measure_cost(trees: Trees, tools: Sequence[Tool], samples: int) -> list[Cost]:
    results = [Cost(tool.name) for tool in tools]
    for _ in range(samples):
        for tool, result in zip(tools, results, strict=True):
            if not result.trouble:
                _catch(result, lambda: _one_cost(trees, tool, result))  # noqa: B023
    return results


def measure_noise(trees: Trees, naht: Naht, threads: int, samples: int) -> Noise:
    """The same figures while a command runs that touches no other process."""
    noise = Noise()
    for _ in range(samples):
        with running(trees, "beat", threads) as (target,):
            time.sleep(SETTLE)
            target.reset()
            naht.start_up()
            noise.gap.add(target.slot.longest_gap_ns)
            noise.stop.add(target.slot.longest_stop_ns)
    return noise


def measure_start_up(naht: Naht, samples: int) -> Series:
    return Series([float(naht.start_up().wall_ns) for _ in range(samples)])


def measure_hot(trees: Trees, naht: Naht, cycles: int) -> Hot:
    """Threads that are nearly always inside the patched function; the engine is called directly."""
    engine, retry = NativeEngine(), RetryPolicy()
    hotpatch = accept_unsigned(read_hotpatch(naht.hot_hotpatch))
    with running(trees, "spin", SPINNING_THREADS + 1) as (target,):
        key = read_key(target.pid)
        tally = _Tally()
        began = time.monotonic()
        for _ in range(cycles):
            if not target.is_alive() or tally.refusals > REFUSALS_LIMIT:
                break
            if tally.add(engine.apply(hotpatch, key, retry=retry, dry_run=False)):
                _see(target, NEW)
            if tally.add(engine.revert("bench-hot", key, retry=retry, dry_run=False)):
                _see(target, OLD)
                tally.cycles += 1
        calls = target.slot.calls
        seconds = time.monotonic() - began
        time.sleep(SETTLE)
        survived = target.is_alive() and target.slot.calls > calls
    return Hot(
        tally.cycles, tally.refusals, tally.attempts, survived, seconds,
        median(tally.pauses or [0]), tally.last_trouble,
    )  # fmt: skip


def measure_many(trees: Trees, naht: Naht, processes: int) -> Many:
    """One command, every process of the library."""
    with running(trees, "sleep", processes=processes) as targets:
        for target in targets:
            target.slot.reset = 1
        for target in targets:
            wait_until(lambda: target.slot.reset == 0, "a target to reset", target)  # noqa: B023
        began = time.monotonic_ns()
        work = naht.apply_all()
        for target in targets:
            wait_until(lambda: target.slot.changed_at_ns > 0, "the change", target)  # noqa: B023
        last = max(target.slot.changed_at_ns for target in targets) - began
        return Many(processes, work.wall_ns, last, work.pause_ns)


@dataclass
class _Tally:
    cycles: int = 0
    refusals: int = 0
    attempts: int = 0
    pauses: list[int] = field(default_factory=list)
    last_trouble: str = ""

    def add(self, outcome: ProcessOutcome) -> bool:
        """Whether the process was changed; anything else counts as a refusal."""
        self.attempts = max(self.attempts, outcome.attempts)
        if outcome.outcome not in {"applied", "reverted", "reverted-memory-kept"}:
            self.refusals += 1
            self.last_trouble = f"{outcome.outcome}: {outcome.cause}"
            return False
        self.pauses.append(outcome.pause_ns)
        return True


def _one_switch(trees: Trees, tool: Tool, threads: int, result: Switching) -> None:
    with running(trees, "beat", threads) as (target,):
        time.sleep(SETTLE)
        before = memory_of(target.pid)
        target.reset()
        began = time.monotonic_ns()
        work = tool.apply(target)
        _see(target, NEW)
        result.apply_wall.add(work.wall_ns)
        result.apply_gap.add(target.slot.longest_gap_ns)
        result.apply_stop.add(target.slot.longest_stop_ns)
        result.effect.add(target.slot.changed_at_ns - began)
        if work.pause_ns:
            result.apply_reported.add(work.pause_ns)
        after = memory_of(target.pid)
        result.mapped.add(after.mapped - before.mapped)
        result.private.add(after.private - before.private)
        target.reset()
        result.revert_wall.add(tool.revert(target).wall_ns)
        _see(target, OLD)
        result.revert_stop.add(target.slot.longest_stop_ns)
        result.private_kept.add(memory_of(target.pid).private - before.private)


def _one_cost(trees: Trees, tool: Tool, result: Cost) -> None:
    with running(trees, "cost") as (target,):
        twin, answer = target.measure_cost(COST_ROUNDS)
        tool.apply(target)
        _see(target, NEW)
        twin_after, answer_after = target.measure_cost(COST_ROUNDS)
        result.unpatched.add(twin_after)
        result.added.add((answer_after - twin_after) - (answer - twin))
        tool.revert(target)


def _see(target: Target, answer: int) -> None:
    wait_until(lambda: target.slot.answer == answer, f"the answer {answer}", target, 5)


def _catch(result: Switching | Cost, sample: Callable[[], None]) -> None:
    """A peer that fails is a finding, not the end of the bench."""
    try:
        sample()
    except (ToolFailedError, TargetError) as error:
        result.trouble = str(error)
