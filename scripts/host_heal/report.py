"""Writes what the story found: docs/results/host-heal.md and docs/results/needrestart.md."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

from scripts.host_heal.plan import UPDATES
from scripts.host_heal.story import PROVEN, SERVICES, Look, Story, Timing

NAMES = {
    "redis": "redis-server", "box": "redis-server in a container", "packer": "python3 with liblzma",
    "memcached": "memcached",
}  # fmt: skip


def write(story: Story, folder: Path) -> None:
    (folder / "host-heal.md").write_text(host_heal(story))
    (folder / "needrestart.md").write_text(comparison(story))


def host_heal(story: Story) -> str:
    return f"""\
# A host is upgraded and healed

{date.today():%Y-%m-%d}, `make host-test ARGS=--report`, {machine()}.

A host of its own (mount, pid, network, uts and ipc namespaces over a root made by mmdebstrap) runs
the distribution's packages in the versions before their updates. apt upgrades them from the
archive; maintainer scripts are forbidden to restart anything (`policy-rc.d`). The hotpatches were
made by `naht build debian` from the distribution's sources. All clients kept their one connection.

| source | from | to |
|---|---|---|
{rows((u.source, f"`{u.old}`", f"`{u.new}`") for u in UPDATES)}

## What the processes do

Each proof is harmless, and differs between the old code and the new; a process that was started
afresh with the new packages answers as the healed ones do.

| process | with the old packages | upgraded, not healed | healed | same process |
|---|---|---|---|---|
{rows(proof_row(story, name) for name in PROVEN)}

- redis: CVE-2026-25243, upstream's own test: `RESTORE` of a hash with a length in five bytes that
  must be in one.
- python3 with liblzma: a decoder runs out of memory while it is set up ("liblzma: Clean up after a
  filter chain initialization error"). The old code keeps what is half made.
- memcached has nothing to prove: the update left its code as it was (see
  [needrestart.md](needrestart.md)); the change of libevent, which it uses, is refused by the
  builder: it needs a restart, and `scan` says so.

## What heal did

| when | process | hotpatch | outcome | functions | pause |
|---|---|---|---|---|---|
{rows(heal_rows(story))}

In the container, redis was upgraded by the container's own dpkg. On the host, apt itself ran heal:
`naht heal --install-apt-hook --unsigned-dev` wrote

```
{story.shown["hook"].rstrip()}
```

and apt's own output ended with

```
{after_mark(story.shown["apt"])}
```

The journal had the same. A second heal applied nothing.

## What scan says before and after

```
{look(story, "libevent and xz upgraded").shown.rstrip()}
```

```
{look(story, "all healed").shown.rstrip()}
```

## Checked

{checks(story)}
"""


def comparison(story: Story) -> str:
    return f"""\
# Who runs old code: naht scan and needrestart

{date.today():%Y-%m-%d}, `make host-test ARGS=--report`, {machine()}.
needrestart 3.6 of Debian 12 (`needrestart -v -v -l -r l -b`) and `naht scan`, on the same host at
the same moments ([host-heal.md](host-heal.md) tells what happened there).

*Old code* is judged by neither: each object that the process started with is compared with the
file that is now at its path, byte by byte, without build-id and sections that are never loaded
(binutils' `objcopy`). *Needs a restart* is old code that no hotpatch in memory has replaced.

| when | process | needs a restart | needrestart | scan | needrestart's reason |
|---|---|---|---|---|---|
{rows(comparison_rows(story))}

{score(story)}

- needrestart goes by inode: a package that is installed again, or rebuilt with the same code, has
  its users restarted for nothing. scan goes by build-id, and by content where only that differs.
- needrestart knows nothing of hotpatches: what is healed stays on its list.
- needrestart names the first file that it finds; scan names every object, its package, and what
  closes it.
- Processes in the container were found by both. needrestart can ask Docker, LXC and machinectl for
  the container's name, which was not tried here.
- needrestart also looks for outdated kernels and microcode, and for outdated Python, Perl, Ruby and
  Java modules. scan does none of that: of what is not an object it names replaced scripts and
  mapped data only.

## Time

Median of {len(story.timings[0].scan)} runs each, in turn, wall-clock and processor time in seconds.
The machine was busy with other builds: processor time is the fairer figure.

| processes | scan, wall | scan, processor | needrestart, wall | needrestart, processor |
|---|---|---|---|---|
{rows(timing_row(timing) for timing in story.timings)}
"""


def rows(cells: Iterable[Sequence[object]]) -> str:
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in cells)


def machine() -> str:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{os.cpu_count()} cores, {pages >> 30} GiB, kernel {platform.release()}"


def proof_row(story: Story, name: str) -> Sequence[str]:
    answers = [story.proofs[when][name] for when in ("old packages", "upgraded", "healed")]
    same = "yes" if story.same[name] else "no"
    return (NAMES[name], *(f"`{answer}`" for answer in answers), same)


def heal_rows(story: Story) -> Iterable[Sequence[object]]:
    names = {pid: NAMES[name] for name, pid in story.pids.items()}
    for when, document in story.heals.items():
        for outcome in document["processes"]:
            yield (
                when, names.get(outcome["key"]["pid"], "?"), f"`{outcome['hotpatch']}`",
                outcome["outcome"], outcome["functions"], f"{outcome['pause_ns'] / 1e6:.2f} ms",
            )  # fmt: skip


def verdicts(story: Story) -> Iterable[tuple[Look, str, bool, bool, bool]]:
    """The look, the process, and whether it needs a restart: in truth, by needrestart, by scan."""
    for seen in story.looks:
        for name in SERVICES:
            pid = story.pids[name]
            truth = seen.truly_old[name] and not seen.is_healed(pid)
            by_scan = any(f["state"] == "stale" for f in seen.of(pid))
            yield seen, name, truth, pid in seen.needrestart, by_scan


def comparison_rows(story: Story) -> Iterable[Sequence[str]]:
    for seen, name, truth, by_needrestart, by_scan in verdicts(story):
        if truth or by_needrestart or by_scan:
            why = seen.needrestart.get(story.pids[name], "")
            yield (
                seen.when, NAMES[name], "yes" if truth else "no",
                told(by_needrestart, truth), told(by_scan, truth), f"`{why}`" if why else "",
            )  # fmt: skip


def score(story: Story) -> str:
    judged = list(verdicts(story))
    missed = sum(truth and not said for _, _, truth, said, _ in judged)
    too_many = [(seen, story.pids[name]) for seen, name, truth, said, _ in judged if said > truth]
    healed = sum(seen.is_healed(pid) for seen, pid in too_many)
    by_scan = sum(truth != said for _, _, truth, _, said in judged)
    same = len(too_many) - healed
    return f"""\
Of {len(judged)} judgements scan has {by_scan} wrong. needrestart missed {missed}, and would have
restarted {len(too_many)} times for nothing: {same} times the code on disk was the same, {healed}
times a hotpatch had closed it."""


def told(said: bool, truth: bool) -> str:
    word = "yes" if said else "no"
    return word if said == truth else f"**{word}**"


def timing_row(timing: Timing) -> Sequence[object]:
    figures = [
        statistics.median(run[index] for run in runs)
        for runs in (timing.scan, timing.needrestart)
        for index in (0, 1)
    ]
    return (timing.processes, *(f"{figure:.2f}" for figure in figures))


def look(story: Story, when: str) -> Look:
    return next(seen for seen in story.looks if seen.when == when)


def after_mark(output: str) -> str:
    """apt's output from heal's first line on."""
    lines = output.splitlines()
    start = next((n for n, line in enumerate(lines) if "nobody vouches" in line), 0)
    return "\n".join(lines[start:])


def checks(story: Story) -> str:
    return "\n".join(f"- {'yes' if holds else '**no**'}: {what}" for what, holds in story.checks)
