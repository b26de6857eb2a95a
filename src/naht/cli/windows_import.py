"""`naht windows import`: adds updates to the record of Windows releases, from a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from naht.cli import exit_codes
from naht.cli.operation import add_json_argument
from naht.cli.output import Cell, Table, print_document, print_table
from naht.cli.records_argument import add_records_argument
from naht.cli.release_documents import RowChange, WindowsImportDocument
from naht.cli.terminal import Style, clean, write
from naht.cli.units import count
from naht.releases.store import (
    DEFAULT_DIRECTORY,
    imported_rows,
    read_bounded,
    write_imported_rows,
)
from naht.releases.windows.history import built_in_rows, windows_records
from naht.releases.windows.rows import MAX_BYTES, Merged, Row, merge, read_rows

DESCRIPTION = """\
Adds Windows updates to the record: a JSON list of rows with date, type, kb, build, product, source,
confidence and note, the form of the built-in history (docs/releases.md). A row replaces one for the
same update unless that is of higher confidence. All rows are checked, and that the record as a
whole still makes sense, before anything is written. Exit code 9: nothing in it is new."""

EXAMPLES = """\
  naht windows import october.json --dry-run       what would change
  naht windows import october.json
  naht windows import october.json --records ./records"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the rows, JSON")
    parser.add_argument("--dry-run", action="store_true", help="show it, write nothing")
    add_records_argument(parser, with_day=False)
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    directory = arguments.records or DEFAULT_DIRECTORY
    before = imported_rows(directory)
    new = read_rows(read_bounded(arguments.file, MAX_BYTES), str(arguments.file))
    merged = merge((*built_in_rows(), *before), new)
    taken = [*merged.added, *(now for _, now in merged.changed)]
    imported = merge(before, taken).rows
    windows_records(imported)  # refuses what would contradict itself
    path = ""
    if taken and not arguments.dry_run:
        path = str(write_imported_rows(directory, imported))
    report(arguments, merged, path)
    return exit_code(merged)


def exit_code(merged: Merged) -> int:
    return exit_codes.GOOD if merged.added or merged.changed else exit_codes.NOTHING_TO_DO


def report(arguments: argparse.Namespace, merged: Merged, path: str) -> None:
    if arguments.json:
        print_document(document(merged, path, dry_run=arguments.dry_run))
        return
    print_rows(merged)
    numbers = (
        f"{count(len(merged.added), 'row')} added, {len(merged.changed)} changed, "
        f"{len(merged.kept)} not taken"
    )
    where = clean(path) if path else "nothing written"
    write(f"{numbers}; {where}")


def document(merged: Merged, path: str, *, dry_run: bool) -> WindowsImportDocument:
    return WindowsImportDocument(
        path=path,
        dry_run=dry_run,
        added=tuple(merged.added),
        changed=tuple(RowChange(was=was, now=now) for was, now in merged.changed),
        kept=tuple(RowChange(was=was, now=now) for was, now in merged.kept),
        exit_code=exit_code(merged),
    )


def print_rows(merged: Merged) -> None:
    table = Table(("ROW", "DATE", "TYPE", "KB", "BUILD", "PRODUCT"))
    for row in merged.added:
        add(table, "new", "good", row)
    for was, now in merged.changed:
        add(table, "was", "dim", was)
        add(table, "now", "warn", now)
    for was, now in merged.kept:
        add(table, f"stays ({was.confidence})", "dim", was)
        add(table, f"not taken ({now.confidence})", "bad", now)
    if table.rows:
        print_table(table)


def add(table: Table, word: str, style: Style, row: Row) -> None:
    table.add(Cell(word, style), row.date, row.type, row.kb, row.build or "", row.product)
