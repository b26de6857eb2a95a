"""`naht heal`: brings what runs to what is installed, after an upgrade."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

from naht.cli import apt_hook, exit_codes
from naht.cli.documents import HealDocument, OperationSummary
from naht.cli.findings import print_findings, print_reasons, runs_old_code
from naht.cli.library_argument import (
    add_library_argument,
    load_from_library,
    open_library,
    open_signed_library,
    refer_to_library,
    require_vouching,
)
from naht.cli.operation import (
    Progress,
    add_json_argument,
    add_patience_arguments,
    make_engine,
    retry_policy,
    stop_on_signal,
    summarise,
    summary_line,
)
from naht.cli.output import print_document
from naht.cli.terminal import clean, paint, write
from naht.cli.units import count
from naht.domain.host import Finding
from naht.domain.process import ProcessOutcome
from naht.errors import UsageError
from naht.hotpatch.library import Library
from naht.live.engine import Engine
from naht.live.host.healing import Healer, Load
from naht.live.host.survey import Surveyor
from naht.releases.client.settings import has_repository

DESCRIPTION = """\
An upgrade changes the disk and leaves processes on the old code. This brings every process that
runs old code of an upgraded package to the code of the version that is installed: with the hotpatch
of the host's signed repository (or of a hotpatch library) that says so, or it says why not. It
never restarts anything, and it never brings a process beyond what is installed, because a restart
would undo that.

May be run at any time, again and again: what is healed is left alone."""

EXAMPLES = """\
  naht heal --dry-run                      what would happen
  naht heal                                every process, every package
  naht heal libexpat1 nginx                old code of these packages only
  naht heal --install-apt-hook             from now on after every apt run
  naht heal --unsigned-dev --hotpatches .  with hotpatches that nobody vouches for"""


class Healed:
    """What it came to."""

    def __init__(
        self, outcomes: Sequence[ProcessOutcome], healer: Healer, summary: OperationSummary, *,
        interrupted: bool,
    ) -> None:  # fmt: skip
        self.outcomes = tuple(outcomes)
        self.findings = healer.findings
        self.unreadable = sum(bool(process.error) for process in healer.survey.processes)
        self.summary = summary
        self.interrupted = interrupted
        self.remaining = tuple(
            f for f in self.findings if runs_old_code(f) and not healer.has_told(f)
        )
        self.exit_code = exit_codes.of_healing(
            outcomes, remaining=bool(self.remaining), interrupted=interrupted
        )


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "packages", nargs="*", metavar="PACKAGE",
        help="binary or source packages (default: all)",
    )  # fmt: skip
    add_library_argument(parser)
    parser.add_argument("--dry-run", action="store_true", help="plan and check, but write nothing")
    parser.add_argument(
        "--beyond", action="store_true",
        help="also hotpatches that bring a process beyond what is installed",
    )  # fmt: skip
    parser.add_argument(
        "--unsigned-dev", action="store_true",
        help="development only: run code that nobody vouches for",
    )  # fmt: skip
    add_patience_arguments(parser)
    hook = parser.add_mutually_exclusive_group()
    hook.add_argument(
        "--install-apt-hook", action="store_true",
        help=f"run it after every apt run, with the options given here ({apt_hook.PATH})",
    )  # fmt: skip
    hook.add_argument("--remove-apt-hook", action="store_true", help="no longer do that")
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.install_apt_hook or arguments.remove_apt_hook:
        return apt_hook.change(arguments)
    library, healed = heal(arguments)
    if arguments.json:
        print_document(document(arguments, library, healed))
    else:
        print_healed(healed, dry_run=arguments.dry_run)
    return healed.exit_code


def takes_from_repository(arguments: argparse.Namespace) -> bool:
    return not (arguments.unsigned_dev or arguments.hotpatches) and has_repository()


def choose_library(arguments: argparse.Namespace, engine: Engine) -> tuple[Library, Load]:
    if takes_from_repository(arguments):
        return open_signed_library(engine)
    library = open_library(arguments.hotpatches)
    if not arguments.dry_run:  # looking needs no vouching
        require_vouching(library, unsigned_dev=arguments.unsigned_dev)
    return library, load_from_library


def heal(arguments: argparse.Namespace) -> tuple[Library, Healed]:
    started = time.monotonic_ns()
    engine = make_engine()
    library, load = choose_library(arguments, engine)
    surveyor = Surveyor(engine, library, beyond=arguments.beyond)
    first = surveyor.survey()
    wanted = chooser(surveyor, arguments.packages)
    healer = Healer(surveyor, load, wanted, retry_policy(arguments), dry_run=arguments.dry_run)
    outcomes: list[ProcessOutcome] = []
    progress = Progress(silent=arguments.json)
    with stop_on_signal() as stop:
        for outcome in healer.run(first, stop):
            outcomes.append(outcome)
            progress.show(outcomes)
    progress.close()
    summary = summarise(outcomes, time.monotonic_ns() - started)
    return library, Healed(outcomes, healer, summary, interrupted=stop.is_set())


def chooser(surveyor: Surveyor, packages: Sequence[str]) -> Callable[[Finding], bool]:
    """Which findings are meant. Raises UsageError for a package that is nowhere."""
    chosen = frozenset(packages)
    if unknown := sorted(chosen - surveyor.packages.names()):
        raise UsageError(
            f"There is no package {unknown[0]!r} here.", "`dpkg --list` shows those there are."
        )

    def is_meant(finding: Finding) -> bool:
        if finding.package is None:
            return not chosen and bool(finding.hotpatch or finding.active)
        return not chosen or not chosen.isdisjoint((finding.package.name, finding.package.source))

    return is_meant


def document(arguments: argparse.Namespace, library: Library, healed: Healed) -> HealDocument:
    return HealDocument(
        library=refer_to_library(library),
        packages=tuple(arguments.packages),
        dry_run=arguments.dry_run,
        processes=healed.outcomes,
        findings=healed.findings,
        remaining=len(healed.remaining),
        unreadable=healed.unreadable,
        summary=healed.summary,
        exit_code=healed.exit_code,
        interrupted=healed.interrupted,
    )


def print_healed(healed: Healed, *, dry_run: bool) -> None:
    if healed.interrupted:
        write(paint("interrupted: what had begun was finished, the rest was left alone", "warn"))
    notable = [*healed.remaining, *(f for f in healed.findings if f.state == "ahead")]
    print_findings(notable, verbose=False)
    print_reasons(notable)
    if healed.outcomes:
        write(summary_line(healed.summary))
    if exposed := {f.key for f in healed.findings if f.state == "exposed"}:
        those = count(len(exposed), "process runs", "processes run")
        write(f"{those} code that is as old on disk: `naht scan` names what closes it.")
    if healed.unreadable:
        those = count(healed.unreadable, "process", "processes")
        write(paint(f"{those} could not be read; `naht scan` says why.", "warn"))
    write(verdict(healed, dry_run=dry_run))


def verdict(healed: Healed, *, dry_run: bool) -> str:
    """The one line that matters to whoever reads only one."""
    old = {f.key for f in healed.findings if runs_old_code(f)}
    process = "process that could be read" if healed.unreadable else "process"
    if healed.interrupted:
        return paint("Not everything was looked at.", "warn")
    if old and not dry_run:
        names = sorted({f.package.name for f in healed.findings if runs_old_code(f) and f.package})
        of = f" of {clean(', '.join(names[:5]))}" if names else ""
        many = len(old) > 1
        runs = "processes still run" if many else "process still runs"
        return paint(f"{len(old)} {runs} old code{of}.", "bad")
    if not healed.findings:
        return paint(f"Nothing to heal: no {process} runs old code of a package.", "good")
    if dry_run:
        tried = count(len(healed.outcomes), "hotpatch would", "hotpatches would")
        return f"{tried} be applied; {len(healed.remaining)} findings have none."
    return paint(f"No {process} runs old code of a package any more.", "good")
