"""`naht windows assess`: where a Windows device stands, and whether what a scanner says is true."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

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
from naht.cli.release_documents import WindowsAssessDocument, WindowsStep
from naht.cli.terminal import Style, clean, paint, symbols, write
from naht.domain.release import Release
from naht.errors import UsageError
from naht.releases.explain import doubts, explain, named
from naht.releases.next_step import NextStep
from naht.releases.record import ReleaseRecord
from naht.releases.store import read_bounded
from naht.releases.windows import exports
from naht.releases.windows.assess import Assessment, Train, assess
from naht.releases.windows.device import WindowsFacts, product_of
from naht.releases.windows.scanner import Claim, Verdict, judge

DESCRIPTION = """\
Says of a Windows device: product, track, level, whether it is on the hotpatch track, what is
missing, and whether each "missing KB" of a scanner is true. Nothing runs on the device: give its
facts, or what its own tools export. What neither tells is unknown, and the answer says what would.

  --registry  reg export "HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion" cv.reg
  --hotfixes  Get-HotFix | Export-Csv hotfixes.csv
  --packages  DISM /English /Online /Get-Packages > packages.txt

Exit code 4: where it stands is unknown."""

EXAMPLES = """\
  naht windows assess --facts device.json
  naht windows assess --registry cv.reg --hotfixes hotfixes.csv --enrolled yes
  naht windows assess --facts device.json --missing KB5070881 KB5068861
  naht windows assess --facts device.json --json | jq '.claims[] | select(.missing == "true")'"""

_TRAIN: dict[Train, Style] = {
    "on": "good", "off": "warn", "at-baseline": "good", "not-enrolled": "bold",
    "not-offered": "bold", "unknown": "bad",
}  # fmt: skip
_CLAIM: dict[Verdict, tuple[str, Style]] = {
    "true": ("missing", "bad"), "false": ("not missing", "good"), "unknown": ("unknown", "warn"),
}  # fmt: skip


MAX_HELD = 6  # named in the printed form


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--facts", type=Path, metavar="FILE", help="facts of the device, JSON")
    parser.add_argument("--registry", type=Path, metavar="FILE", help="an export or `reg query`")
    parser.add_argument("--hotfixes", type=Path, metavar="FILE", help="Get-HotFix: CSV, JSON, text")
    parser.add_argument("--packages", type=Path, metavar="FILE", help="DISM's list of packages")
    parser.add_argument("--product", metavar="NAME", help="when the facts don't tell")
    parser.add_argument("--enrolled", choices=("yes", "no"), help="whether it is in hotpatching")
    parser.add_argument(
        "--missing", nargs="+", action="extend", default=[], type=parse_kb, metavar="KB",
        help="judge these, which a scanner calls missing",
    )  # fmt: skip
    add_records_argument(parser)
    add_json_argument(parser)


def parse_kb(text: str) -> str:
    number = text.upper().removeprefix("KB")
    if not (number.isascii() and number.isdigit() and 6 <= len(number) <= 9):
        raise argparse.ArgumentTypeError(f"{text!r} is no KB; write it as KB5070881")
    return f"KB{number}"


def run(arguments: argparse.Namespace) -> int:
    today = chosen_day(arguments)
    records = open_records(arguments)
    facts = gathered_facts(arguments, records)
    seen = assess(facts, records, today)
    kbs = dict.fromkeys([*facts.scanner_missing, *arguments.missing])
    claims = [judge(kb, seen, records, facts.installed_kbs, today) for kb in kbs]
    code = exit_codes.REFUSED if seen.release is None else exit_codes.GOOD
    if arguments.json:
        print_document(document(facts, seen, claims, records, today, code))
    else:
        print_assessment(facts, seen, records[seen.product], today)
        print_claims(claims)
    return code


# --- facts --------------------------------------------------------------------------------------


def gathered_facts(
    arguments: argparse.Namespace, records: Mapping[str, ReleaseRecord]
) -> WindowsFacts:
    """The facts file, then what the device's tools exported, then what was typed."""
    sources = (arguments.facts, arguments.registry, arguments.hotfixes, arguments.packages)
    if not any(sources):
        raise UsageError(
            "There are no facts of a device.", "Give --facts, or --registry and --hotfixes."
        )
    facts = read_facts(arguments.facts, WindowsFacts) if arguments.facts else WindowsFacts()
    if arguments.registry:
        found = exports.from_registry(text_of(arguments.registry), str(arguments.registry))
        facts = msgspec.structs.replace(facts, **found)
    if arguments.product:
        facts = msgspec.structs.replace(facts, product=arguments.product)
    if arguments.enrolled:
        facts = msgspec.structs.replace(facts, enrolled=arguments.enrolled == "yes")
    kbs = set(facts.installed_kbs)
    if arguments.hotfixes:
        kbs |= set(exports.from_hotfixes(text_of(arguments.hotfixes)))
    if arguments.packages:
        record = one_record(dict(records), product_of(facts))
        kbs |= set(exports.from_packages(text_of(arguments.packages), record))
    return msgspec.structs.replace(facts, installed_kbs=tuple(sorted(kbs)))


def text_of(path: Path) -> str:
    return exports.decode(read_bounded(path, exports.MAX_BYTES), str(path))


# --- the answer ---------------------------------------------------------------------------------


def document(
    facts: WindowsFacts,
    seen: Assessment,
    claims: Sequence[Claim],
    records: Mapping[str, ReleaseRecord],
    today: datetime.date,
    code: int,
) -> WindowsAssessDocument:
    record = records[seen.product]
    return WindowsAssessDocument(
        on=today,
        name=facts.name,
        product=seen.product,
        build=seen.build,
        train=seen.train,
        basis=seen.basis,
        track=seen.track,
        release=seen.release,
        off_since=seen.off_since,
        next=step_of(seen, seen.next, record, today),
        if_not_enrolled=step_of(seen, seen.otherwise, record, today),
        missing=seen.missing,
        claims=tuple(claims),
        why=seen.why,
        doubts=seen.doubts,
        exit_code=code,
    )


def step_of(
    seen: Assessment, step: NextStep | None, record: ReleaseRecord, today: datetime.date
) -> WindowsStep | None:
    if step is None:
        return None
    return WindowsStep(
        action=step.action,
        reason=step.reason,
        releases=step.releases,
        restarts=step.restarts,
        sentence=sentence_of(seen, step, record, today),
    )


def sentence_of(
    seen: Assessment, step: NextStep, record: ReleaseRecord, today: datetime.date
) -> str:
    assert seen.position is not None  # noqa: S101  (a step has a position)
    position = seen.position
    if step is seen.otherwise:
        position = position._replace(enrolled=False)
    return explain(step, position, record.product, today)


def print_assessment(
    facts: WindowsFacts, seen: Assessment, record: ReleaseRecord, today: datetime.date
) -> None:
    name = f"{clean(facts.name)}: " if facts.name else ""
    write(f"{name}{paint(record.product.title, 'bold')} ({seen.product}), build {seen.build}")
    write_sentence(seen.why, style=_TRAIN[seen.train])
    if seen.off_since and seen.off_since != seen.release:
        write(f"off since: {clean(named(seen.off_since))}, {seen.off_since.date}")
    for label, step in (("next:", seen.next), ("if not enrolled:", seen.otherwise)):
        if step and (step is seen.next or step != seen.next):
            write_sentence(sentence_of(seen, step, record, today), label=label, style="bold")
    print_held(seen, record)
    of_next = [doubt for r in (seen.next.releases if seen.next else ()) for doubt in doubts(r)]
    for doubt in (*seen.doubts, *of_next):
        write_sentence(doubt, label="note:", style="warn")


def print_held(seen: Assessment, record: ReleaseRecord) -> None:
    """What it need not take by itself, because the next step holds it."""
    if held := [named(r) for r in held_in_next(seen, record)]:
        more = f" and {len(held) - MAX_HELD} more" if len(held) > MAX_HELD else ""
        write_sentence(f"{', '.join(held[:MAX_HELD])}{more}", label="held in that:", style="dim")


def held_in_next(seen: Assessment, record: ReleaseRecord) -> list[Release]:
    if seen.next is None or not seen.next.releases:
        return []
    taken = seen.next.releases
    last = place(taken[-1], record)
    return [r for r in seen.missing if r not in taken and place(r, record) <= last]


def place(release: Release, record: ReleaseRecord) -> tuple[int, int]:
    return record.rank.get(release.baseline, -1), release.level


def print_claims(claims: Sequence[Claim]) -> None:
    marks = symbols()
    for claim in claims:
        words, style = _CLAIM[claim.missing]
        mark = {"true": marks["bad"], "false": marks["good"], "unknown": marks["neutral"]}
        write_sentence(claim.sentence, label=f"{mark[claim.missing]} {words}:", style=style)
