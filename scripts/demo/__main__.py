"""A real security fix goes into a live server under load, out again, and in again.

Every claim of the summary is checked on the way; the first that does not hold ends the demo with
exit code 1. Everything it makes is under build/demo; it stops what it started, and nothing else.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.demo import evidence
from scripts.demo.case import Case, CaseUnavailableError, Finding, Prepared, Server
from scripts.demo.load import LoadGenerator, Snapshot
from scripts.demo.naht_command import DemoFailedError, NahtCommand
from scripts.demo.nginx_case import NginxCase
from scripts.demo.offline_case import OfflineCase
from scripts.demo.screen import Screen

CHECKOUT = Path(__file__).parents[2]
CONNECTIONS = 16
REQUESTS_PER_SECOND = 4000
SETTLE = 1.0  # seconds of load between two steps, so that each state serves a few thousand requests


@dataclass
class Story:
    """What the demo knows while it runs."""

    screen: Screen
    naht: NahtCommand
    case: Case
    prepared: Prepared
    server: Server
    load: LoadGenerator
    hotpatch: str = "fix.naht"
    started: list[evidence.Process] = field(default_factory=list)
    ports: tuple[int, ...] = ()
    grown: list[int] = field(default_factory=list)  # bytes that naht left mapped, per process
    slowest_us: int = 0  # the longest that a client waited while the last apply ran

    @property
    def pids(self) -> list[str]:
        return [str(pid) for pid in self.server.pids]


def main() -> int:
    options = _options()
    screen = Screen()
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server must not outlive us
    try:
        case, prepared = prepare(screen, options)
        with running(screen, case, prepared) as story:
            show_the_hole(story)
            build_and_inspect(story)
            apply_and_look(story)
            revert_and_look(story)
            applied = apply_again(story)
            summarise(story, applied, time.monotonic() - began)
    except DemoFailedError as error:
        screen.failure(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def prepare(screen: Screen, options: argparse.Namespace) -> tuple[Case, Prepared]:
    """The real case; the bundled one where the real one cannot be had."""
    screen.title("naht: a security fix for a running server, without a restart")
    if not options.offline:
        screen.step("Fetch nginx from Debian's own source package, and build it")
        screen.say(
            "apt in a configuration of its own, Debian's options; 25 s the first time", "dim"
        )
        try:
            return _prepared(NginxCase(), options.work / "nginx")
        except CaseUnavailableError as error:
            screen.warn(f"{error}\nSo the demo goes on with the bundled server of our own.")
    screen.step("Build pinboard, a small threaded server that is bundled")
    try:
        return _prepared(OfflineCase(), options.work / "pinboard")
    except CaseUnavailableError as error:
        raise DemoFailedError(str(error)) from error


@contextmanager
def running(screen: Screen, case: Case, prepared: Prepared) -> Iterator[Story]:
    """The old build serves clients from here to the end."""
    screen.say(f"{prepared.release}: {prepared.origin}.")
    screen.step("Start it, with the hole in it, and put clients on it")
    with ExitStack() as stack:
        try:
            server = case.start(prepared, prepared.folder / "run")
        except CaseUnavailableError as error:
            raise DemoFailedError(str(error)) from error
        stack.callback(server.stop)
        load = LoadGenerator(server.port, case.load_path, CONNECTIONS, REQUESTS_PER_SECOND)
        stack.callback(load.stop)
        naht = NahtCommand(screen, prepared.folder)
        story = Story(screen, naht, case, prepared, server, load)
        _remember_the_start(story)
        yield story


def show_the_hole(story: Story) -> None:
    story.screen.step(f"The hole: {story.prepared.advisory}")
    story.screen.say(story.prepared.what, "dim")
    expect(story, "open")


def build_and_inspect(story: Story) -> None:
    case = story.prepared
    story.screen.step("From the source change to a hotpatch, while the server serves")
    story.naht.show(
        "build", "native", "--source", case.tree, "--patch", case.patch,
        "--command", case.command, "--object", case.object, "--running", case.server,
        "--advisory", case.advisory, "--title", case.title, "--severity", case.severity,
        "--purl", case.purl, "-o", story.hotpatch,
    )  # fmt: skip
    story.naht.show("inspect", story.hotpatch)


def apply_and_look(story: Story) -> None:
    story.screen.step("Into the running server")
    with measuring_memory(story):
        story.naht.show("apply", story.hotpatch, "--pid", *story.pids, "--unsigned-dev")
    story.naht.show("status", "--pid", *story.pids)
    _check_status(story, "active")
    expect(story, "closed")


def revert_and_look(story: Story) -> None:
    story.screen.step("And out again")
    name = _hotpatch_id(story)
    with measuring_memory(story):
        story.naht.show("revert", name, "--pid", *story.pids)
    expect(story, "open")


def apply_again(story: Story) -> Any:
    story.screen.step("And in again, this time with the figures in a file")
    words = ("apply", story.hotpatch, "--pid", *story.pids, "--unsigned-dev", "--json")
    _load_so_far(story)
    with measuring_memory(story):
        document = story.naht.show_into("applied.json", *words)
    story.slowest_us = _load_so_far(story).slowest_us
    _check_status(story, "active")
    expect(story, "closed")
    return document


def summarise(story: Story, applied: Any, seconds: float) -> None:
    final = _load_so_far(story)
    processes = _look(story)
    _check_same_server(story, processes, final)
    pauses = {process["key"]["pid"]: process["pause_ns"] / 1000 for process in applied["processes"]}
    threads = sum(process.threads for process in processes)
    story.screen.summary(
        f"{story.prepared.advisory} is closed in a server that never stopped",
        [
            ("server", story.prepared.release),
            ("PID", f"{', '.join(story.pids)}: the same, {threads} threads"),
            ("requests", f"{final.requests:,} answered, {final.failures} failed"),
            ("connections", f"{len(final.ports)} open since the start, the same sockets"),
            ("slowest answer", f"{story.slowest_us / 1000:.1f} ms while naht applied"),
            ("pause", _each(f"{pauses[pid]:,.0f} µs" for pid in story.server.pids)),
            ("extra memory", _each(f"{size // 1024} KiB" for size in story.grown)),
            ("hole", "open → closed → open (reverted) → closed"),
            ("in all", f"{seconds:.0f} s"),
        ],
    )


@contextmanager
def measuring_memory(story: Story) -> Iterator[None]:
    """What the block adds; the server's own stacks and heaps come and go at other times, too."""
    before = _look(story)
    yield
    added = [b.anonymous - a.anonymous for a, b in zip(before, _look(story), strict=True)]
    story.grown = [sum(pair) for pair in zip(story.grown or [0] * len(added), added, strict=True)]


def _each(figures: Iterable[str]) -> str:
    """One for each process, in the order of the PIDs above it."""
    return " · ".join(figures)


def expect(story: Story, finding: Finding) -> None:
    """The proof gives this finding, and the clients have noticed nothing."""
    proof = story.case.prove(story.server.port)
    story.screen.proof(proof)
    if proof.finding != finding:
        raise DemoFailedError(f"The hole should be {finding} now, but it is {proof.finding}.")
    time.sleep(SETTLE)
    so_far = _load_so_far(story)
    story.screen.say(f"clients: {so_far.requests:,} requests answered, 0 failed", "dim")


def _remember_the_start(story: Story) -> None:
    time.sleep(SETTLE)
    story.ports = _load_so_far(story).ports
    story.started = list(_look(story))
    held = evidence.connections(story.started)
    if sorted(port for port, _ in held) != list(story.ports) or len(held) != CONNECTIONS:
        raise DemoFailedError("The server does not hold the clients' connections.")
    threads = sum(process.threads for process in story.started)
    story.screen.say(
        f"PID {', '.join(story.pids)}, {threads} threads; {CONNECTIONS} keep-alive connections, "
        f"about {REQUESTS_PER_SECOND:,} requests a second, every answer checked"
    )


def _load_so_far(story: Story) -> Snapshot:
    snapshot = story.load.snapshot()
    if snapshot.failures:
        raise DemoFailedError(f"{snapshot.failures} requests failed: {snapshot.reasons}")
    return snapshot


def _look(story: Story) -> tuple[evidence.Process, ...]:
    return evidence.look_at(story.server.pids, story.server.port)


def _check_same_server(
    story: Story, processes: tuple[evidence.Process, ...], final: Snapshot
) -> None:
    checks = {
        "the same processes": evidence.identities(processes) == evidence.identities(story.started),
        "the same connections": evidence.connections(processes)
        == evidence.connections(story.started),
        "the same clients": final.ports == story.ports,
    }
    broken = [name for name, holds in checks.items() if not holds]
    if broken:
        raise DemoFailedError(f"Not {', not '.join(broken)} as at the start.")


def _check_status(story: Story, state: str) -> None:
    """Every process of the server says so itself."""
    document = story.naht.ask("status", "--pid", *story.pids, "--json")
    found = {
        process["key"]["pid"]: [hotpatch["state"] for hotpatch in process["hotpatches"]]
        for process in document["processes"]
    }
    if found != {pid: [state] for pid in story.server.pids}:
        raise DemoFailedError(f"Not {state} in every process: {found}")


def _hotpatch_id(story: Story) -> str:
    return str(story.naht.ask("inspect", story.hotpatch, "--json")["manifest"]["id"])


def _prepared(case: Case, work: Path) -> tuple[Case, Prepared]:
    work.mkdir(parents=True, exist_ok=True)
    return case, case.prepare(work)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--offline", action="store_true", help="take the bundled case")
    parser.add_argument(
        "--work", type=lambda text: Path(text).resolve(), default=CHECKOUT / "build/demo",
        help="where everything goes (default: build/demo)",
    )  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
