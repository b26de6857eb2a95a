"""What `apply` and `revert` share: choosing processes, running side by side, a line for each.

It shows outcomes and sums them up; it judges none of them.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple

from naht.cli import exit_codes
from naht.cli.documents import OperationSummary
from naht.cli.terminal import Style, clean, clean_command, is_terminal, paint, symbols, write
from naht.cli.units import count, duration, memory
from naht.domain.process import GOOD_OUTCOMES, ProcessKey, ProcessOutcome
from naht.errors import NahtError, NothingToDoError
from naht.live.engine import Engine, RetryPolicy
from naht.live.fleet import Operation, Search, run_everywhere, run_on


class Result(NamedTuple):
    outcomes: tuple[ProcessOutcome, ...]
    summary: OperationSummary
    exit_code: int
    interrupted: bool


def add_operation_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--pid", type=parse_pid, nargs="+", action="extend", metavar="PID",
        help="these processes (several are allowed, and --pid again)",
    )  # fmt: skip
    which.add_argument(
        "--all", action="store_true", help="every live process that matches, found by build-id"
    )
    parser.add_argument("--dry-run", action="store_true", help="plan and check, but write nothing")
    add_patience_arguments(parser)
    add_json_argument(parser)


def add_patience_arguments(parser: argparse.ArgumentParser) -> None:
    """What `retry_policy` reads."""
    parser.add_argument("--attempts", type=parse_count, default=RetryPolicy().attempts, metavar="N",
        help="how often to look for a quiet moment before saying busy (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--longest-loan", type=parse_count, default=10, metavar="SECONDS",
        help="how long a thread may be borrowed that the host hardly lets run (default "
        "%(default)s); any other is given back within a second",
    )  # fmt: skip


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def parse_pid(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1 << 22:
        raise argparse.ArgumentTypeError(f"{text!r} is not a PID")
    return int(text)


def parse_count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 10000")
    return int(text)


def make_engine() -> Engine:
    from naht.live.native.engine import NativeEngine  # noqa: PLC0415  (loads the C core)

    return NativeEngine()


def retry_policy(arguments: argparse.Namespace) -> RetryPolicy:
    return RetryPolicy(
        attempts=arguments.attempts, longest_loan_ns=arguments.longest_loan * 1_000_000_000
    )


def run_operation(
    arguments: argparse.Namespace, search: Search, operation: Operation, nothing: NothingToDoError
) -> Result:
    """Runs `operation` on the chosen processes; prints a line each unless --json."""
    started = time.monotonic_ns()
    outcomes: list[ProcessOutcome] = []
    progress = Progress(silent=arguments.json)
    with stop_on_signal() as stop:
        for outcome in choose(arguments, search, operation, stop):
            outcomes.append(outcome)
            progress.show(outcomes)
    progress.close()
    code = exit_codes.of_outcomes(outcomes, searched=arguments.all)
    if code == exit_codes.NOTHING_TO_DO and not stop.is_set():
        raise replace_cause(nothing, outcomes)
    return Result(
        tuple(outcomes),
        summarise(outcomes, time.monotonic_ns() - started),
        exit_codes.INTERRUPTED if stop.is_set() else code,
        stop.is_set(),
    )


def replace_cause(
    nothing: NothingToDoError, outcomes: Sequence[ProcessOutcome]
) -> NothingToDoError:
    """Says so when some processes may run the target after all."""
    unread = sum(map(exit_codes.is_unreadable, outcomes))
    if not unread:
        return nothing
    those = count(unread, "process", "processes")
    return NothingToDoError(f"{nothing.cause} {those} could not be read.", nothing.next_step)


@contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM end the work between two processes, never inside one."""
    stop = threading.Event()

    def request_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {s: signal.signal(s, request_stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def choose(
    arguments: argparse.Namespace, search: Search, operation: Operation, stop: threading.Event
) -> Iterator[ProcessOutcome]:
    if not arguments.all:
        yield from run_pids(list(dict.fromkeys(arguments.pid)), operation, stop)
    elif arguments.dry_run:
        yield from run_on(search(), operation, stop)
    else:
        yield from run_everywhere(search, operation, stop)


def run_pids(
    pids: list[int], operation: Operation, stop: threading.Event
) -> Iterator[ProcessOutcome]:
    from naht.live.native.procfs import read_key  # noqa: PLC0415

    keys: list[ProcessKey] = []
    for pid in pids:
        try:
            keys.append(read_key(pid))
        except NahtError as error:
            key = ProcessKey(pid, 0)
            yield ProcessOutcome(key, "", "", "gone", "", error.cause, error.next_step)
    yield from run_on(keys, operation, stop)


def summarise(outcomes: Sequence[ProcessOutcome], elapsed_ns: int) -> OperationSummary:
    tally = Counter("unreadable" if exit_codes.is_unreadable(o) else o.outcome for o in outcomes)
    return OperationSummary(
        processes=len(outcomes),
        good=sum(o.outcome in GOOD_OUTCOMES for o in outcomes),
        refused=tally["refused"],
        unreadable=tally["unreadable"],
        busy=tally["busy"],
        gone=tally["gone"],
        failed=tally["failed"],
        longest_pause_ns=max((o.pause_ns for o in outcomes), default=0),
        memory_bytes=sum(o.memory_bytes for o in outcomes),
        elapsed_ns=elapsed_ns,
    )


class Progress:
    """A line per finished process; on a terminal also a running count underneath."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._live = not silent and is_terminal(sys.stdout) and is_terminal(sys.stderr)

    def show(self, outcomes: Sequence[ProcessOutcome]) -> None:
        if self._silent:
            return
        self.close()
        for line in outcome_lines(outcomes[-1]):
            write(line)
        if self._live and len(outcomes) > 1:
            good = sum(o.outcome in GOOD_OUTCOMES for o in outcomes)
            self._draw(paint(f"{len(outcomes)} done, {good} good …", "dim", sys.stderr))

    def close(self) -> None:
        if self._live:
            self._draw("\r\x1b[K")

    @staticmethod
    def _draw(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


_STYLE: dict[str, tuple[str, Style]] = {
    "applied": ("good", "good"), "reverted": ("good", "good"),
    "already-applied": ("neutral", "good"), "not-applied": ("neutral", "good"),
    "would-apply": ("neutral", "name"), "would-revert": ("neutral", "name"),
    "reverted-memory-kept": ("good", "warn"),
    "refused": ("bad", "bad"), "busy": ("bad", "warn"),
    "gone": ("neutral", "dim"), "failed": ("bad", "bad"),
}  # fmt: skip
_WIDEST = max(map(len, _STYLE))


def outcome_lines(outcome: ProcessOutcome) -> list[str]:
    """One process: what happened, in figures; then why, what to know, and what to do."""
    mark, style = _STYLE[outcome.outcome]
    head = paint(f"{symbols()[mark]} {outcome.outcome:<{_WIDEST}}", style)
    who = f"{outcome.key.pid:>7}  {clean_command(outcome.command)}"
    lines = [f"{head}  {who}  {paint(figures(outcome), 'dim')}".rstrip()]
    if outcome.cause:
        reason = paint(f" [{clean(outcome.reason)}]" if outcome.reason else "", "dim")
        lines.append(indented("", outcome.cause) + reason)
    lines += [indented("note: ", note) for note in outcome.notes]
    if outcome.next_step:
        lines.append(indented(paint("next: ", "bold"), outcome.next_step))
    return lines


def indented(label: str, text: str) -> str:
    return "\n".join(f"    {label}{clean(line)}" for line in text.splitlines())


def figures(outcome: ProcessOutcome) -> str:
    facts = [
        (outcome.functions, count(outcome.functions, "function")),
        (outcome.threads, count(outcome.threads, "thread")),
        (outcome.pause_ns, f"pause {duration(outcome.pause_ns)}"),
        (outcome.memory_bytes, memory(outcome.memory_bytes)),
        (outcome.attempts > 1, f"{outcome.attempts} attempts"),
        (len(outcome.replaced), "replaces " + ", ".join(map(clean, outcome.replaced))),
    ]
    return ", ".join(text for present, text in facts if present)


_TROUBLES: dict[str, Style] = {
    "refused": "bad", "busy": "bad", "failed": "bad", "unreadable": "warn", "gone": "dim",
}  # fmt: skip


def summary_line(summary: OperationSummary) -> str:
    """Such as: 498 of 500 processes good, 1 busy, 1 gone; longest pause 310 µs; 1.9 s."""
    troubles = [
        paint(f"{number} {name}", _TROUBLES[name])
        for name in _TROUBLES
        if (number := getattr(summary, name))
    ]
    known = summary.processes - summary.unreadable
    good = f"{summary.good} of {count(known, 'process', 'processes')} good"
    style: Style = "good" if summary.good == known else "bold"
    parts = [", ".join([paint(good, style), *troubles])]
    if summary.longest_pause_ns:
        parts.append(f"longest pause {duration(summary.longest_pause_ns)}")
    if summary.memory_bytes:
        parts.append(f"{memory(summary.memory_bytes)} in all")
    return "; ".join([*parts, f"took {duration(summary.elapsed_ns)}"])


def print_result(result: Result) -> None:
    if result.interrupted:
        write(paint("interrupted: what had begun was finished, the rest was left alone", "warn"))
    if len(result.outcomes) != 1:
        write(summary_line(result.summary))
