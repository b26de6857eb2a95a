"""`naht next`: what a device takes next, whether it restarts for that, and why."""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path

from naht.cli import exit_codes
from naht.cli.operation import add_json_argument
from naht.cli.output import print_document
from naht.cli.prose import write_sentence
from naht.cli.records_argument import (
    add_records_argument,
    chosen_day,
    one_record,
    open_records,
    read_facts,
)
from naht.cli.release_documents import NextDocument
from naht.cli.terminal import Style, clean, paint, write
from naht.domain.release import Position, Release
from naht.errors import UsageError
from naht.releases.explain import doubts, explain, named
from naht.releases.facts import DeviceFacts, position_of
from naht.releases.next_step import Action, NextStep, decide
from naht.releases.record import ReleaseRecord
from naht.releases.transitions import after_upgrade

DESCRIPTION = """\
Says what a device takes next, in which order, and how often it restarts for that. A hotpatch goes
on exactly its baseline, and only the newest one is taken; who missed a baseline takes that first;
who left the hotpatch track comes back with the next baseline. Nothing is done to the device.

The facts are a JSON file: product, and the newest release that it has; or track, baseline and
level; or, of a Windows device, its build and installed updates (docs/releases.md shows each).

Exit code 4: nothing can be said, or nothing may be done now."""

EXAMPLES = """\
  naht next --device facts.json
  naht next --device facts.json --on 2026-07-20             as if it were that day
  naht next --device facts.json --upgrade-to windows-11-25h2
  naht next --device facts.json --json | jq .restarts"""

_STYLE: dict[Action, Style] = {
    "none": "good", "hotpatch": "good", "baseline": "warn", "standard": "warn", "go-back": "bad",
    "hold": "bad", "unknown": "bad",
}  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", type=Path, required=True, metavar="FACTS", help="facts of the device, JSON"
    )
    parser.add_argument(
        "--upgrade-to", metavar="PRODUCT", help="what follows if it is upgraded to this now"
    )
    add_records_argument(parser)
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    today = chosen_day(arguments)
    records = open_records(arguments)
    position, _ = position_of(read_facts(arguments.device, DeviceFacts), records, today)
    record = one_record(records, position.product)
    landed = None
    if arguments.upgrade_to:
        record = upgrade_target(record, arguments.upgrade_to, records)
        landed = newest_image(record, today)
        position = after_upgrade(position, landed, record.product)
    step = decide(position, record.frontier(today))
    sentence = explain(step, position, record.product, today)
    if arguments.json:
        print_document(document(step, position, sentence, today, landed))
    else:
        print_step(step, position, sentence, landed)
    return exit_code(step)


def exit_code(step: NextStep) -> int:
    """Held or unknown is no good answer for a script."""
    return exit_codes.REFUSED if step.action in {"hold", "unknown"} else exit_codes.GOOD


def upgrade_target(
    old: ReleaseRecord, name: str, records: dict[str, ReleaseRecord]
) -> ReleaseRecord:
    target = one_record(records, name)
    if name not in old.product.upgrades_to:
        known = ", ".join(old.product.upgrades_to) or "nothing"
        raise UsageError(
            f"{old.product.name} is not upgraded to {name}.", f"It is upgraded to: {known}."
        )
    return target


def newest_image(record: ReleaseRecord, today: datetime.date) -> Release:
    """Images are of the standard track; a baseline is one only until the next standard update."""
    frontier = record.frontier(today)
    landed = frontier.standards[-1] if frontier.standards else frontier.baseline
    if landed is None:
        raise UsageError(
            f"Nothing of {record.product.name} is recorded for this day.", "Add it to the record."
        )
    return landed


def document(
    step: NextStep,
    position: Position,
    sentence: str,
    today: datetime.date,
    landed: Release | None,
) -> NextDocument:
    return NextDocument(
        on=today,
        product=position.product,
        track=position.track,
        baseline=position.baseline,
        level=position.level,
        enrolled=position.enrolled,
        action=step.action,
        reason=step.reason,
        releases=step.releases,
        missed=step.missed,
        restarts=step.restarts,
        may_restart=step.may_restart,
        sentence=sentence,
        exit_code=exit_code(step),
        upgraded_to=landed.id if landed else "",
    )


def print_step(step: NextStep, position: Position, sentence: str, landed: Release | None) -> None:
    if landed:
        write(f"after the upgrade: {clean(named(landed))}, {landed.type}")
    write(f"{clean(position.product)}: {paint(standing(position), 'name')}")
    write_sentence(sentence, label=f"{step.action}:", style=_STYLE[step.action])
    for number, release in enumerate(step.releases, 1):
        write(f"  {number}. {release_text(release)}")
    for release in step.releases:
        for doubt in doubts(release):
            write_sentence(doubt, label="note:", style="warn")


def standing(position: Position) -> str:
    place = f"level {position.level} on {position.baseline or 'an unknown baseline'}"
    return f"{position.track} track, {place}" + ("" if position.enrolled else ", not enrolled")


def release_text(release: Release) -> str:
    restart = {"needed": "restart", "none": "no restart", "conditional": release.restart_note}
    return f"{named(release)}, {release.type}, {release.date}, {clean(restart[release.restart])}"
