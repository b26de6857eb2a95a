"""Writes a run as a Markdown page. Medians, best value in brackets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from scripts.bench.aims import KIB, MS, Verdict
from scripts.bench.measure import Cost, Hot, Many, Noise, Series, Switching
from scripts.bench.recorded import RECORDED

Row = Sequence[str]
Cell = Callable[[Switching], str]
NONE = "-"


@dataclass(frozen=True)
class Run:
    """Everything that one run found."""

    date: str
    command: str
    machine: Sequence[str]
    versions: Sequence[str]
    switching: Mapping[int, Sequence[Switching]]  # by number of threads; naht first
    noise: Mapping[int, Noise]
    costs: Sequence[Cost]
    start_up: Series
    many: Many
    hot: Hot
    verdicts: Sequence[Verdict]
    seconds: float


def render(run: Run) -> str:
    return "\n".join(
        [
            "# Native engine, measured",
            "",
            f"{run.date}, `{run.command}`, {run.seconds:.0f} s. Medians, best value in brackets.",
            "",
            *(f"- {line}" for line in [*run.machine, *run.versions]),
            "",
            *_aims(run),
            *_pauses(run),
            *_walls(run),
            *_memory(run),
            *_calls(run),
            *_rest(run),
            *_recorded(),
        ]
    )


def _aims(run: Run) -> list[str]:
    rows = [(v.aim, v.limit, v.measured, "met" if v.met else "**missed**") for v in run.verdicts]
    return ["## Aims", "", *table(("aim", "limit", "measured", "verdict"), rows)]


def _pauses(run: Run) -> list[str]:
    """As the target sees it, with the noise that is there without any tool."""
    quiet = "no tool: the same target while `naht --version` runs"
    noise_stop = [quiet, *(_ms(run.noise[threads].stop) for threads in run.switching)]
    noise_gap = [quiet, *(_ms(run.noise[threads].gap) for threads in run.switching)]
    reported = ["naht, by its own report: first stop to last resume"]
    reported += [_ms(results[0].apply_reported) for results in run.switching.values()]
    return [
        "## Pause as the target sees it, ms",
        "",
        "One busy thread reads the clock without rest; the figure is the longest gap between two",
        "of its readings while the command runs, less what the kernel says that the thread waited",
        "for a CPU in that gap (schedstat): on a busy machine that is other people's. The other",
        "threads sleep 150 to 250 ms at a time, as a server's do, with 4 KiB of stack in use. naht",
        "checks every stack (consistency `quiescent`); gdb and Frida check none.",
        "",
        *table(
            ("apply", *_heads(run)),
            [noise_stop, reported, *_by_tool(run, lambda result: _ms(result.apply_stop))],
        ),
        *table(("revert", *_heads(run)), _by_tool(run, lambda result: _ms(result.revert_stop))),
        "The whole gap, waiting for a CPU included:",
        "",
        *table(
            ("apply", *_heads(run)),
            [noise_gap, *_by_tool(run, lambda result: _ms(result.apply_gap))],
        ),
    ]


def _walls(run: Run) -> list[str]:
    return [
        "## Whole command, ms",
        "",
        *table(("apply", *_heads(run)), _by_tool(run, lambda result: _ms(result.apply_wall, 0))),
        *table(("revert", *_heads(run)), _by_tool(run, lambda result: _ms(result.revert_wall, 0))),
    ]


def _memory(run: Run) -> list[str]:
    ones = run.switching[min(run.switching)]
    rows = [(one.tool, _kib(one.mapped), _kib(one.private), _kib(one.private_kept)) for one in ones]
    return [
        "## Extra memory in the target, KiB",
        "",
        *table(("tool", "mapped", "private, in RAM", "private, after the revert"), rows),
    ]


def _calls(run: Run) -> list[str]:
    rows = [
        (
            cost.tool,
            f"{cost.unpatched.median:.2f}",
            f"{cost.added.median:+.2f} [{cost.added.best:+.2f}]",
        )
        if cost.added
        else (cost.tool, NONE, cost.trouble)
        for cost in run.costs
    ]
    return [
        "## One call, ns",
        "",
        "Rounds of a patched function and of its unpatched twin take turns in one process; what",
        "they differed by before the patch is subtracted.",
        "",
        *table(("tool", "unpatched", "added by the patch"), rows),
    ]


def _rest(run: Run) -> list[str]:
    hot, many = run.hot, run.many
    trouble = f" Last trouble: {hot.last_trouble}" if hot.last_trouble else ""
    return [
        "## The rest",
        "",
        f"- {many.processes} processes of one library, `naht apply --all`: command "
        f"{many.wall_ns / 1e9:.2f} s, effect in the last one after "
        f"{many.last_effect_ns / 1e9:.2f} s, longest pause {many.longest_pause_ns / MS:.2f} ms.",
        f"- 4 threads spinning in the patched function: {hot.cycles:,} applies and reverts in "
        f"{hot.seconds:.1f} s, {hot.refusals} refusals, at most {hot.attempts} attempts, pause "
        f"{hot.pause_median_ns / MS:.2f} ms; the target {'lives' if hot.survived else 'DIED'}."
        + trouble,
        f"- `naht --version`, start to end: {_ms(run.start_up, 0)} ms.",
        "",
    ]


def _recorded() -> list[str]:
    rows = [
        (r.tool, r.wall_ms, r.pause_ms_1, r.pause_ms_16, r.pause_ms_200, r.memory, r.call_ns)
        for r in RECORDED
    ]
    return [
        "## Recorded, not measured here",
        "",
        "No registry offers these tools. Their figures were taken earlier, on another machine with",
        "two shared cores, with other targets: for orientation only.",
        "",
        *table(
            ("tool", "command ms, 1/16/200 threads", "pause ms, 1", "16", "200", "extra memory",
             "ns per call (base 4.5)"),
            rows,
        ),
    ]  # fmt: skip


def table(heads: Row, rows: Iterable[Row]) -> list[str]:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def _heads(run: Run) -> list[str]:
    return [f"{threads:,} thread{'s' * (threads > 1)}" for threads in run.switching]


def _by_tool(run: Run, cell: Cell) -> list[list[str]]:
    names = [result.tool for result in next(iter(run.switching.values()))]
    return [
        [name, *(_cell(results, name, cell) for results in run.switching.values())]
        for name in names
    ]


def _cell(results: Sequence[Switching], name: str, cell: Cell) -> str:
    found = [result for result in results if result.tool == name]
    if not found:
        return NONE
    return cell(found[0]) if found[0].apply_wall else f"failed: {found[0].trouble[:60]}"


def _ms(series: Series, digits: int = 2) -> str:
    if not series:
        return NONE
    return f"{series.median / MS:,.{digits}f} [{series.best / MS:,.{digits}f}]"


def _kib(series: Series) -> str:
    return f"{series.median / KIB:,.0f}" if series else NONE
