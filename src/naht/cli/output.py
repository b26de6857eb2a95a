"""Tables and JSON documents on standard output.

A table is drawn with rich on a terminal and as aligned columns when piped; rich is imported only
when it draws. Callers give cleaned or trusted text: see `terminal.clean`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from naht.cli.terminal import Style, clean, colours, is_terminal, write

if TYPE_CHECKING:
    from naht.cli.documents import Document


class Cell(NamedTuple):
    text: str
    style: Style | None = None


class Table:
    """`right` names the columns to align right."""

    def __init__(self, columns: Sequence[str], right: Sequence[str] = ()) -> None:
        self.columns = columns
        self.right = right
        self.rows: list[list[Cell]] = []

    def add(self, *cells: Cell | str) -> None:
        self.rows.append([c if isinstance(c, Cell) else Cell(c) for c in cells])


def print_document(document: Document) -> None:
    from naht.cli.documents import encode  # noqa: PLC0415  (msgspec types only when needed)

    write(encode(document))


def print_table(table: Table, *, indent: int = 0) -> None:
    if is_terminal() and colours():
        _print_rich(table, indent)
    else:
        _print_plain(table, indent)


def _print_plain(table: Table, indent: int) -> None:
    rows = [list(table.columns), *([clean(cell.text) for cell in row] for row in table.rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    for row in rows:
        cells = [
            text.rjust(width) if name in table.right else text.ljust(width)
            for text, width, name in zip(row, widths, table.columns, strict=True)
        ]
        write(" " * indent + "  ".join(cells).rstrip())


_RICH_STYLES: dict[Style | None, str] = {
    None: "", "good": "green", "bad": "bold red", "warn": "yellow", "dim": "dim", "bold": "bold",
    "name": "cyan", "added": "green", "removed": "red",
}  # fmt: skip


def _print_rich(table: Table, indent: int) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415  (50 ms of import)
    from rich.console import Console  # noqa: PLC0415
    from rich.padding import Padding  # noqa: PLC0415
    from rich.table import Table as RichTable  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = RichTable(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for name in table.columns:
        drawn.add_column(name, justify="right" if name in table.right else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(clean(cell.text), style=_RICH_STYLES[cell.style]) for cell in row))
    console = Console(highlight=False, markup=False)
    console.print(Padding(drawn, (0, 0, 0, indent)))
