"""Records on disk: the built-in ones, and those in a directory. The only I/O of the release rules.

A record file is JSON or TOML, `naht.record/1`: a product and its releases. `windows-history.json`
beside them holds rows of Windows updates that were imported. Everything read is bounded and
checked; a file that is not well-formed is an error that names it, never skipped.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from naht.domain.release import Fact, Product, Release
from naht.errors import HostileInputError, UsageError
from naht.releases.files import replace_file
from naht.releases.record import MAX_RELEASES, ReleaseRecord
from naht.releases.windows.history import windows_records
from naht.releases.windows.rows import Row, read_rows

DEFAULT_DIRECTORY = Path("/var/lib/naht/releases")
WINDOWS_ROWS = "windows-history.json"
MAX_BYTES = 64 << 20
MAX_FILES = 1000

DEBIAN_12 = Product(name="debian-12", title="Debian 12 (bookworm)")


class RecordFile(Fact, frozen=True, kw_only=True):
    product: Product
    releases: Annotated[tuple[Release, ...], msgspec.Meta(max_length=MAX_RELEASES)] = ()
    schema: Literal["naht.record/1"] = "naht.record/1"


def load_records(directory: Path) -> dict[str, ReleaseRecord]:
    """Every product by name: built in, then what the directory adds; it may not exist."""
    records = {"debian-12": ReleaseRecord(DEBIAN_12, [])}
    records |= windows_records(imported_rows(directory))
    for path in _record_files(directory):
        record = read_record(path)
        known = records.get(record.product.name)
        if known:
            record = ReleaseRecord(record.product, (known.by_id | record.by_id).values())
        records[record.product.name] = record
    return records


def imported_rows(directory: Path) -> tuple[Row, ...]:
    path = directory / WINDOWS_ROWS
    return read_rows(read_bounded(path), str(path)) if path.exists() else ()


def write_imported_rows(directory: Path, rows: Sequence[Row]) -> Path:
    """Whole or not at all: a reader sees the old file or the new one."""
    path = directory / WINDOWS_ROWS
    try:
        directory.mkdir(parents=True, exist_ok=True)
        replace_file(path, msgspec.json.format(msgspec.json.encode(list(rows)), indent=1))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}.", "Give another directory by --records."
        ) from error
    return path


def read_record(path: Path) -> ReleaseRecord:
    raw = read_bounded(path)
    try:
        if path.suffix == ".toml":
            file = msgspec.convert(tomllib.loads(raw.decode()), RecordFile)
        else:
            file = msgspec.json.decode(raw, type=RecordFile)
        return ReleaseRecord(file.product, file.releases)
    except (msgspec.DecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HostileInputError(
            f"It is no record of releases: {error}.",
            "docs/releases.md explains the file; docs/schemas/record.json is its schema.",
            where=str(path),
        ) from error
    except HostileInputError as error:
        error.where = str(path)
        raise


def read_bounded(path: Path, limit: int = MAX_BYTES) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    if len(raw) > limit:
        raise HostileInputError(
            f"It is larger than {limit >> 20} MiB.", "Give a smaller file.", where=str(path)
        )
    return raw


def _record_files(directory: Path) -> list[Path]:
    try:
        found = sorted(
            p for p in directory.iterdir()
            if p.suffix in {".json", ".toml"} and p.name != WINDOWS_ROWS
        )  # fmt: skip
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UsageError(
            f"{directory} cannot be read: {error.strerror}.", "Give another one by --records."
        ) from error
    if len(found) > MAX_FILES:
        raise UsageError(f"{directory} has more than {MAX_FILES} records.", "Give a smaller one.")
    return found
