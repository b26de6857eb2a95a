"""`naht scan`: which live processes run which objects, what is stale, what closes it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from naht.cli import exit_codes
from naht.cli.documents import ScanDocument
from naht.cli.findings import print_findings, print_old_files, print_reasons, tally_text
from naht.cli.hotpatch_argument import load_for_reading, refer_to
from naht.cli.library_argument import (
    DEFAULT,
    add_library_argument,
    load_from_library,
    open_library,
    refer_to_library,
)
from naht.cli.operation import add_json_argument, make_engine, parse_pid
from naht.cli.output import Cell, Table, print_document, print_table
from naht.cli.terminal import Style, clean, clean_command, is_terminal, paint, write
from naht.cli.units import count, duration
from naht.domain.host import Finding, OldFile
from naht.domain.process import ScannedObject, ScannedProcess
from naht.errors import TargetGoneError
from naht.hotpatch.library import Library
from naht.hotpatch.verified import VerifiedHotpatch
from naht.live.host.survey import Survey, Surveyor
from naht.live.host.trial import try_hotpatches

DESCRIPTION = """\
Shows which live processes, in containers too, run code that is not what is installed, and what
brings both together: a hotpatch of the hotpatch library, or a restart, and then why. An object is
stale when the file that took its place on disk has other code, or is gone. Changes nothing.

states:
  stale       old code runs; the disk holds other code
  healed      a hotpatch in memory brings the old code to what is installed
  hotpatched  a hotpatch is active, but not known to bring it to what is installed
  ahead       a hotpatch in memory brings it beyond what is installed: a restart undoes it
  exposed     memory and disk are the same, and the hotpatch library has more than both
  altered     the code or record of a hotpatch is not what was written

With --verbose or --hotpatch, the objects themselves are listed. --json always holds everything."""

EXAMPLES = """\
  naht scan                          who runs old code, and what closes it
  naht scan --hotpatches ./built     the same with the hotpatches of that directory
  naht scan --hotpatch fix.naht      which processes that one fits, and which have it
  naht scan --verbose                every object of every process
  naht scan --json | jq '.findings[] | select(.remedy == "restart") | .key.pid'"""


class Seen(Survey, frozen=True):
    """A survey, and the scripts and data that are old."""

    old_files: tuple[OldFile, ...] = ()


def configure(parser: argparse.ArgumentParser) -> None:
    add_library_argument(parser)
    parser.add_argument("--hotpatch", type=Path, metavar="FILE", help="mark what this one fits")
    parser.add_argument(
        "--pid", type=parse_pid, nargs="+", action="extend", metavar="PID",
        help="these processes only",
    )  # fmt: skip
    parser.add_argument(
        "--no-trial", action="store_true",
        help="do not ask the engine whether the hotpatches could truly be applied",
    )  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="list every object and PID")
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    started = time.monotonic_ns()
    hotpatch = load_for_reading(arguments.hotpatch) if arguments.hotpatch else None
    library = open_library(arguments.hotpatches)
    seen = look(arguments, hotpatch, library)
    elapsed = time.monotonic_ns() - started
    if arguments.json:
        print_document(document(hotpatch, library, seen, elapsed))
        return exit_codes.GOOD
    if hotpatch or arguments.verbose:
        print_objects(seen.processes, fitting_only=hotpatch is not None, verbose=arguments.verbose)
    if not hotpatch:  # with one, the question is where it fits
        print_host(seen, library, verbose=arguments.verbose)
    print_summary(seen, elapsed)
    print_next(seen.findings, library)
    return exit_codes.GOOD


def look(
    arguments: argparse.Namespace, hotpatch: VerifiedHotpatch | None, library: Library
) -> Seen:
    surveyor = Surveyor(make_engine(), library, fitting=hotpatch)
    progress = Progress(silent=arguments.json)
    survey = surveyor.survey(arguments.pid, progress)
    progress.close()
    check_chosen(survey.processes, arguments.pid)
    findings: Sequence[Finding] = survey.findings
    if not arguments.no_trial:
        findings = try_hotpatches(surveyor, findings, load_from_library)
    old_files = tuple(surveyor.old_files(survey.processes))
    return Seen(survey.processes, tuple(findings), old_files)


def check_chosen(processes: Sequence[ScannedProcess], pids: list[int] | None) -> None:
    if missing := set(pids or ()) - {p.key.pid for p in processes}:
        raise TargetGoneError(
            f"There is no process {min(missing)} to scan.", "`naht scan` lists those there are."
        )


def document(
    hotpatch: VerifiedHotpatch | None, library: Library, seen: Seen, elapsed_ns: int
) -> ScanDocument:
    return ScanDocument(
        hotpatch=refer_to(hotpatch) if hotpatch else None,
        processes=seen.processes,
        exit_code=exit_codes.GOOD,
        library=refer_to_library(library),
        findings=seen.findings,
        old_files=seen.old_files,
        elapsed_ns=elapsed_ns,
    )


class Progress:
    """How far the scan is, on a terminal only."""

    STEP = 25  # processes between two lines

    def __init__(self, *, silent: bool) -> None:
        self._live = not silent and is_terminal(sys.stdout) and is_terminal(sys.stderr)

    def __call__(self, done: int, total: int) -> None:
        if self._live and done % self.STEP == 0:
            self._draw("\r\x1b[K" + paint(f"{done} of {total} processes …", "dim", sys.stderr))

    def close(self) -> None:
        if self._live:
            self._draw("\r\x1b[K")

    @staticmethod
    def _draw(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


# --- what is not what is installed -------------------------------------------------------------


def print_host(seen: Seen, library: Library, *, verbose: bool) -> None:
    print_findings(seen.findings, verbose=verbose)
    print_reasons(seen.findings)
    print_old_files(seen.old_files)


def print_summary(seen: Seen, elapsed_ns: int) -> None:
    read = f"{count(len(seen.processes), 'process', 'processes')} read in {duration(elapsed_ns)}"
    write(paint(read, "bold") + "; " + ", ".join(tally_text(seen.findings)))
    unread = [p for p in seen.processes if p.error]
    for process in unread[:10]:
        write(f"  {process.key.pid} {clean_command(process.command)}: {clean(process.error)}")
    if len(unread) > 10:
        write(f"  … and {len(unread) - 10} more that could not be read")


def print_next(findings: Sequence[Finding], library: Library) -> None:
    if any(f.remedy == "hotpatch" for f in findings):
        chosen = "" if library.directory == DEFAULT else f" --hotpatches {library.directory}"
        write(f"{paint('next:', 'bold')} naht heal --dry-run{clean(chosen)}")
    elif not library.hotpatches and any(f.state == "stale" for f in findings):
        write(f"There are no hotpatches in {clean(str(library.directory))}.")


# --- objects as they are -----------------------------------------------------------------------


def print_objects(
    processes: Sequence[ScannedProcess], *, fitting_only: bool, verbose: bool
) -> None:
    table = Table(("PID", "COMMAND", "STATE", "BUILD-ID", "OBJECT"), right=("PID",))
    for process in processes:
        for scanned in process.objects:
            if verbose or (fitting_only and scanned.fits):
                add_row(table, process, scanned)
    if table.rows:
        print_table(table)
    if fitting_only:
        fitting = [p for p in processes if any(o.fits for o in p.objects)]
        write(f"The hotpatch fits {count(len(fitting), 'process', 'processes')}.")


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
    if scanned.rebuilt:
        words.append("current (rebuilt on disk with the same code)")
    style: Style = "good" if scanned.applied else "warn" if words else "dim"
    return Cell(", ".join(words) or "current", style)
