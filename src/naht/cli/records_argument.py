"""`--records`, `--on`, and reading a device's facts: what the commands about releases share."""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from naht.errors import HostileInputError, UsageError
from naht.releases.record import ReleaseRecord
from naht.releases.store import DEFAULT_DIRECTORY, load_records, read_bounded

MAX_FACTS_BYTES = 4 << 20

Facts = TypeVar("Facts")


def add_records_argument(parser: argparse.ArgumentParser, *, with_day: bool = True) -> None:
    parser.add_argument(
        "--records", type=Path, metavar="DIR", default=None,
        help=f"records of releases, besides the built-in ones (default {DEFAULT_DIRECTORY})",
    )  # fmt: skip
    if with_day:
        parser.add_argument(
            "--on", type=parse_day, metavar="DATE", default=None,
            help="as of that day, YYYY-MM-DD (default: today)",
        )  # fmt: skip


def parse_day(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; write it as 2026-11-22") from error


def chosen_day(arguments: argparse.Namespace) -> datetime.date:
    day: datetime.date = arguments.on or datetime.datetime.now().astimezone().date()
    return day


def open_records(arguments: argparse.Namespace) -> dict[str, ReleaseRecord]:
    """A directory that was chosen must be there; the default one need not."""
    chosen: Path | None = arguments.records
    if chosen and not chosen.is_dir():
        raise UsageError(f"{chosen} is no directory.", "Give the directory of the records.")
    return load_records(chosen or DEFAULT_DIRECTORY)


def one_record(records: dict[str, ReleaseRecord], product: str) -> ReleaseRecord:
    if product in records:
        return records[product]
    from difflib import get_close_matches  # noqa: PLC0415  (only after a mistake)

    near = get_close_matches(product, records, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise UsageError(f"There is no product {product!r}.", f"{hint}There are: {', '.join(records)}.")


def read_facts(path: Path, type_: type[Facts]) -> Facts:
    raw = read_bounded(path, MAX_FACTS_BYTES)
    try:
        return msgspec.json.decode(raw, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HostileInputError(
            f"These are no facts of a device: {error}.", "docs/releases.md shows them.",
            where=str(path),
        ) from error  # fmt: skip
