"""`naht scan`: which live processes run which objects, what is stale, what a hotpatch fits."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from naht.cli import exit_codes
from naht.cli.documents import ScanDocument
from naht.cli.hotpatch_argument import load_for_reading, refer_to
from naht.cli.operation import add_json_argument, make_engine, parse_pid
from naht.cli.output import Cell, Table, print_document, print_table
from naht.cli.terminal import Style, clean, clean_command, paint, write
from naht.cli.units import count
from naht.domain.process import ScannedObject, ScannedProcess
from naht.errors import TargetGoneError

DESCRIPTION = """\
Shows what live processes truly run. An object is stale when the file on disk is another one, or
gone: the process still runs the old code, and only a restart or a hotpatch changes that.

Without --verbose, only what matters is listed: stale objects, objects the hotpatch fits, and
objects that are hotpatched. --json always holds everything."""

EXAMPLES = """\
  naht scan                          who runs code that is no longer on disk
  naht scan --hotpatch fix.naht      which processes it fits, and which have it
  naht scan --verbose                every object of every process
  naht scan --json | jq '.processes[] | select(any(.objects[]; .stale)) | .key.pid'"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hotpatch", type=Path, metavar="FILE", help="mark what this one fits")
    parser.add_argument(
        "--pid", type=parse_pid, nargs="+", action="extend", metavar="PID",
        help="these processes only",
    )  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="list every object")
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    hotpatch = load_for_reading(arguments.hotpatch) if arguments.hotpatch else None
    processes = chosen(make_engine().scan(hotpatch), arguments.pid)
    if not arguments.json:
        print_processes(processes, fitting_only=hotpatch is not None, verbose=arguments.verbose)
        return exit_codes.GOOD
    print_document(
        ScanDocument(
            hotpatch=refer_to(hotpatch) if hotpatch else None,
            processes=tuple(processes),
            exit_code=exit_codes.GOOD,
        )
    )
    return exit_codes.GOOD


def chosen(processes: Sequence[ScannedProcess], pids: list[int] | None) -> list[ScannedProcess]:
    found = [p for p in processes if pids is None or p.key.pid in pids]
    if missing := set(pids or ()) - {p.key.pid for p in found}:
        raise TargetGoneError(
            f"There is no process {min(missing)} to scan.", "`naht scan` lists those there are."
        )
    return found


def print_processes(
    processes: Sequence[ScannedProcess], *, fitting_only: bool, verbose: bool
) -> None:
    table = Table(("PID", "COMMAND", "STATE", "BUILD-ID", "OBJECT"), right=("PID",))
    for process in processes:
        for scanned in process.objects:
            if verbose or is_notable(scanned, fitting_only=fitting_only):
                add_row(table, process, scanned)
    if table.rows:
        print_table(table)
    print_summary(processes, fitting_only=fitting_only)


def is_notable(scanned: ScannedObject, *, fitting_only: bool) -> bool:
    """With a hotpatch the question is where it fits; without one, what is stale."""
    if fitting_only:
        return scanned.fits
    return scanned.stale or bool(scanned.applied)


def add_row(table: Table, process: ScannedProcess, scanned: ScannedObject) -> None:
    table.add(
        str(process.key.pid),
        clean_command(process.command),
        state_cell(scanned),
        Cell(scanned.object.build_id[:16], "dim"),
        scanned.object.path,
    )


def state_cell(scanned: ScannedObject) -> Cell:
    words = []
    if scanned.applied:
        words.append("hotpatched: " + ", ".join(scanned.applied))
    elif scanned.fits:
        words.append("fits")
    if scanned.stale:
        words.append("stale" if scanned.disk_build_id else "stale (no file)")
    style: Style = "good" if scanned.applied else "warn" if words else "dim"
    return Cell(", ".join(words) or "current", style)


def print_summary(processes: Sequence[ScannedProcess], *, fitting_only: bool) -> None:
    objects = [o for p in processes for o in p.objects]
    stale = sum(any(o.stale for o in p.objects) for p in processes)
    parts = [f"{count(len(processes), 'process', 'processes')} read", f"{stale} with stale code"]
    if fitting_only:
        fitting = [p for p in processes if any(o.fits for o in p.objects)]
        parts.append(f"the hotpatch fits {count(len(fitting), 'process', 'processes')}")
    applied = sum(bool(o.applied) for o in objects)
    parts.append(f"{count(applied, 'object')} hotpatched")
    write(paint(", ".join(parts), "bold"))
    unread = [p for p in processes if p.error]
    for process in unread[:10]:
        write(f"  {process.key.pid} {clean_command(process.command)}: {clean(process.error)}")
    if len(unread) > 10:
        write(f"  … and {len(unread) - 10} more that could not be read")
