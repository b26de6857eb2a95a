"""`naht calendar`: what is planned, what was released, which restarts are owed."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Sequence
from pathlib import Path

from naht.cli import exit_codes
from naht.cli.operation import add_json_argument
from naht.cli.output import Cell, Table, print_document, print_table
from naht.cli.prose import write_sentence
from naht.cli.records_argument import add_records_argument, chosen_day, one_record, open_records
from naht.cli.release_documents import CalendarDocument
from naht.cli.terminal import Style, clean, paint, write
from naht.cli.units import count
from naht.domain.release import ReleaseType
from naht.errors import UsageError
from naht.releases.year import Entry, Year, year_of

DESCRIPTION = """\
Shows the releases of a year: what is planned, what is recorded, and which restarts that means. The
plan (a baseline in January, April, July and October, hotpatches in between) only plans; what is
recorded of a release decides. Products are built in, or records of yours (docs/releases.md).

in the overview:
  B baseline, with a restart    H hotpatch, without    S standard update, with a restart
  * not what was planned    + something out of band, too    small letters: planned, to come
  ? its day is past, and nothing is recorded

below it: restarts so far, unplanned ones among them, those to come this year, planned ones whose
day is past and of which nothing is recorded, and the day of the next planned one"""

EXAMPLES = """\
  naht calendar                                    this year, all products
  naht calendar --product windows-server-2025      release by release
  naht calendar --year 2025 --product windows-11-24h2 --both-tracks
  naht calendar --product debian-12 --ical -o restarts.ics
  naht calendar --json | jq '.products[] | {product, restarts, restarts_to_come}'"""

TYPE_WORDS: dict[ReleaseType, str] = {
    "planned-baseline": "baseline", "unplanned-baseline": "unplanned baseline",
    "hotpatch": "hotpatch", "out-of-band-hotpatch": "OOB hotpatch",
    "standard-cumulative": "standard", "out-of-band-standard": "OOB standard",
}  # fmt: skip
FIRST_YEAR, LAST_YEAR = 2000, 2200


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--year", type=parse_year, help="default: the current one")
    parser.add_argument(
        "--product", nargs="+", action="extend", metavar="NAME", help="these only (default: all)"
    )
    parser.add_argument(
        "--both-tracks", action="store_true", help="the standard track's monthly updates, too"
    )
    parser.add_argument(
        "--ical", action="store_true", help="an iCalendar, for people's calendars (naht[calendar])"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="with --ical: write it there"
    )
    add_records_argument(parser)
    add_json_argument(parser)


def parse_year(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not FIRST_YEAR <= int(text) <= LAST_YEAR:
        raise argparse.ArgumentTypeError(f"{text!r} is no year")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    check_usage(arguments)
    today = chosen_day(arguments)
    years = chosen_years(arguments, today)
    if arguments.ical:
        return write_ical(years, today, arguments.output)
    if arguments.json:
        print_document(CalendarDocument(year=years[0].year, on=today, products=tuple(years)))
    elif arguments.product:
        for year in years:
            print_year(year)
    else:
        print_overview(years)
    return exit_codes.GOOD


def check_usage(arguments: argparse.Namespace) -> None:
    if arguments.output and not arguments.ical:
        raise UsageError("-o goes with --ical only.", "Add --ical, or redirect the output.")
    if arguments.ical and arguments.json:
        raise UsageError("--ical and --json exclude each other.", "Give one of them.")


def chosen_years(arguments: argparse.Namespace, today: datetime.date) -> list[Year]:
    records = open_records(arguments)
    chosen = [one_record(records, name) for name in arguments.product or records]
    year = arguments.year or today.year
    return [year_of(r, year, today, both_tracks=arguments.both_tracks) for r in chosen]


def write_ical(years: Sequence[Year], today: datetime.date, output: Path | None) -> int:
    from naht.cli.ical import calendar_of  # noqa: PLC0415  (an extra, and slow to import)

    content = calendar_of(years, today)
    if output is None:
        write(content.decode().rstrip("\r\n"))
        return exit_codes.GOOD
    try:
        output.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}.", "Check it.") from error
    return exit_codes.GOOD


# --- one line for each product ------------------------------------------------------------------


def print_overview(years: Sequence[Year]) -> None:
    """Narrower than a drawn table, so that twelve months fit into 80 columns."""
    names = max(len(year.product) for year in years)
    head = "  ".join(f"{month:02}" for month in range(1, 13))
    write(paint(f"{years[0].year:<{names}}  {head}", "bold"))
    for year in years:
        cells = (month_cell(year, month) for month in range(1, 13))
        months = "  ".join(paint(f"{cell.text:<2}", cell.style) for cell in cells)
        write(f"{paint(f'{clean(year.product):<{names}}', 'name')}  {months.rstrip()}")
    write("")
    print_restarts(years)
    write(f"{paint('next:', 'bold')} naht calendar --product NAME shows one, release by release")


def print_restarts(years: Sequence[Year]) -> None:
    columns = ("RESTARTS", "SO FAR", "UNPLANNED", "TO COME", "UNKNOWN", "NEXT")
    table = Table(columns, right=columns[1:5])
    for year in years:
        table.add(
            Cell(year.product, "name"),
            str(year.restarts),
            Cell(str(year.restarts_unplanned), "warn" if year.restarts_unplanned else None),
            str(year.restarts_to_come),
            Cell(str(len(year.baselines_not_recorded)), "dim"),
            str(year.next_planned_restart),
        )
    print_table(table)


def month_cell(year: Year, month: int) -> Cell:
    """`H+`: a hotpatch, and something out of band; `*`: not what was planned."""
    entries = [e for e in year.entries if month_of(e) == month]
    monthly = next((e for e in entries if e.planned), None)
    if monthly is None:
        return Cell("", None)
    if monthly.release is None:
        letter = monthly.planned[0] if monthly.planned else ""
        return Cell("?", "warn") if monthly.state == "not-recorded" else Cell(letter, "dim")
    mark = "*" if monthly.deviates else "+" if len(entries) > 1 else ""
    letter = monthly.release.id.partition(" ")[2][0]
    return Cell(letter + mark, entry_style(monthly))


def month_of(entry: Entry) -> int:
    return int(entry.release.id[5:7]) if entry.release else entry.date.month


def restarts_text(year: Year) -> str:
    text = f"{count(year.restarts, 'restart')} so far"
    if year.restarts_unplanned:
        text += f" ({year.restarts_unplanned} unplanned)"
    text += f", {year.restarts_to_come} to come"
    if year.baselines_not_recorded:
        days = " and ".join(map(str, year.baselines_not_recorded))
        text += f"; not recorded: the baseline planned for {days}"
    return f"{text}; the next one planned is on {year.next_planned_restart}."


# --- one line for each release ------------------------------------------------------------------


def print_year(year: Year) -> None:
    write(paint(f"{clean(year.title)} ({clean(year.product)}), {year.year}", "bold"))
    with_kb = any(e.release and e.release.kb for e in year.entries)
    columns = ("DATE", "RELEASE", "TYPE", *(("KB", "BUILD") if with_kb else ()), "RESTART")
    table = Table(columns)
    for entry in year.entries:
        table.add(*cells(entry, with_kb=with_kb))
    print_table(table)
    for line in remarks(year):
        write_sentence(line)
    write_sentence(restarts_text(year))


def cells(entry: Entry, *, with_kb: bool) -> list[Cell]:
    release = entry.release
    if release is None:
        state = "planned" if entry.state == "planned" else "unrecorded"
        words = [str(entry.date), state, f"{entry.planned}", *([""] * 2 if with_kb else ())]
    else:
        day = f"{entry.date:%Y-%m}" if release.month_only else str(entry.date)
        kind = TYPE_WORDS[release.type] + (" (withdrawn)" if release.withdrawn else "")
        words = [day, release.id, kind, *((release.kb, release.build) if with_kb else ())]
    return [Cell(word, entry_style(entry)) for word in [*words, entry.restart]]


def entry_style(entry: Entry) -> Style | None:
    if entry.state in {"planned", "withdrawn"}:
        return "dim"
    if entry.state == "not-recorded" or entry.restart == "needed":
        return "warn"
    return None


def remarks(year: Year) -> list[str]:
    lines = []
    if any(e.takes_off_track for e in year.entries):
        lines.append(
            "OOB is out of band; a standard update (S) takes a device off the hotpatch track."
        )
    for entry in year.entries:
        release = entry.release
        if release is None:
            continue
        if entry.deviates:
            lines.append(f"{release.id}: a {entry.planned} was planned for this month.")
        if release.withdrawn:
            lines.append(f"{release.id} is withdrawn: {release.withdrawn.reason}")
        if release.restart_note:
            lines.append(f"{release.id} restarts {release.restart_note}.")
        if release.confidence in {"low", "medium"}:
            lines.append(f"{release.id}: the source is of {release.confidence} confidence.")
    return lines
