"""`make bench`: naht and its peers side by side, judged against the aims, into docs/results/.

Peers that cannot be had here are said to be missing; nothing is made up for them. Only processes
that the bench started are touched.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from naht import __version__
from scripts.bench import measure
from scripts.bench.aims import judge
from scripts.bench.report import Run, render
from scripts.bench.target import TargetError, Trees, build_trees
from scripts.bench.tools import Frida, GdbScript, Naht, Tool, ToolFailedError

CHECKOUT = Path(__file__).parents[2]
THREADS = (1, 16, 100, 200, 1000)
PEER_THREADS = (1, 16, 200, 1000)
SAMPLES, PEER_SAMPLES = 15, 3
COST_SAMPLES = 5
PROCESSES = 500
HOT_CYCLES = 1000


def main() -> int:
    options = _options()
    began = time.monotonic()
    busy = others_at_work()
    options.work.mkdir(parents=True, exist_ok=True)
    trees = build_trees(options.work)
    naht = Naht(trees, options.work)
    say("building the hotpatch")
    naht.build()
    peers, versions = find_peers(trees, options.work)
    versions += busy
    try:
        run = measure_all(options, trees, naht, peers, versions, began)
    except (ToolFailedError, TargetError) as error:
        say(f"stopped: {error}")
        return 1
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(render(run))
    print(render(run))
    say(f"written to {options.output}")
    return 0


def measure_all(
    options: argparse.Namespace, trees: Trees, naht: Naht, peers: list[Tool],
    versions: list[str], began: float,
) -> Run:  # fmt: skip
    switching, noise = {}, {}
    for threads in THREADS:
        say(f"pause and apply time, {threads} threads")
        tools: list[tuple[Tool, int]] = [(naht, options.samples)]
        if threads in PEER_THREADS:
            tools += [(peer, min(PEER_SAMPLES, options.samples)) for peer in peers]
        switching[threads] = measure.measure_switching(trees, tools, threads)
        noise[threads] = measure.measure_noise(trees, naht, threads, options.samples)
    say("cost of a call")
    costs = measure.measure_cost(trees, [naht, *peers], COST_SAMPLES)
    start_up = measure.measure_start_up(naht, options.samples)
    say(f"{PROCESSES} processes of one library")
    many = measure.measure_many(trees, naht, PROCESSES)
    say("4 threads spinning in the patched function")
    hot = measure.measure_hot(trees, naht, options.cycles)
    own = {threads: results[0] for threads, results in switching.items()}
    return Run(
        options.date, "make bench", machine(), [f"naht {__version__}", *versions], switching,
        noise, costs, start_up, many, hot, judge(own, costs[0], hot, many, naht.own_size()),
        time.monotonic() - began,
    )  # fmt: skip


def find_peers(trees: Trees, work: Path) -> tuple[list[Tool], list[str]]:
    peers: list[Tool] = []
    versions = []
    if shutil.which("gdb"):
        peers.append(GdbScript(trees, work))
        versions.append(_first_line("gdb", "--version"))
    else:
        versions.append("gdb is not installed: `apt-get install gdb`")
    say("installing Frida from PyPI into an environment of its own")
    frida = Frida(trees, work)
    try:
        frida.install()
    except ToolFailedError as error:
        versions.append(f"Frida cannot be installed here: {str(error)[-200:]}")
    else:
        peers.append(frida)
        versions.append(f"Frida {frida.version}")
    return peers, versions


def machine() -> list[str]:
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    release = platform.freedesktop_os_release()["PRETTY_NAME"]
    return [
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {cpu[1] if cpu else platform.machine()}",
        f"{release}, kernel {platform.release()}",
    ]


def others_at_work() -> list[str]:
    """Asked before anything is started: what else the machine does makes figures worse."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load < cores / 4:
        return []
    return [
        f"**the machine was not idle**: load {load:.1f} on {cores} cores before the run began; "
        "every time is an upper bound, run it again when all is quiet"
    ]


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _first_line(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[0]


def _options(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--cycles", type=int, default=HOT_CYCLES)
    parser.add_argument("--date", default=datetime.datetime.now(datetime.UTC).date().isoformat())
    parser.add_argument("--work", type=Path, default=CHECKOUT / "build/bench")
    parser.add_argument("--output", type=Path, default=CHECKOUT / "docs/results/bench-native.md")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
