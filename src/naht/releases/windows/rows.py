"""The history as it was gathered: one row for each update. Pure.

A row is written by others: a bounded type, and a refusal that names the row. `SOURCE_PRODUCTS` says
which products a row is about; build 26100 alone does not, for a client and a server share it.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

from naht.domain.release import Confidence, Text
from naht.errors import HostileInputError

MAX_ROWS = 20_000
MAX_BYTES = 16 << 20

RowType = Literal["baseline", "unplanned-baseline", "hotpatch", "oob", "lcu"]


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """lcu: of the standard track; `note` begins with `oob` when it came out of band."""

    date: Annotated[
        str,
        msgspec.Meta(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])(-[0-9]{2})?$(?!\n)"),
    ]
    type: RowType
    kb: Annotated[str, msgspec.Meta(pattern=r"^KB[0-9]{6,9}$(?!\n)")]
    product: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    build: (
        Annotated[
            str,
            msgspec.Meta(
                max_length=64, pattern=r"^[0-9]{5}\.[0-9]{1,6}( / [0-9]{5}\.[0-9]{1,6})*$(?!\n)"
            ),
        ]
        | None
    ) = None
    source: Text = ""
    confidence: Confidence = "unstated"
    note: Text = ""
    on_hotpatch_train: bool | None = None  # of an `oob`: false takes a device off the track

    @property
    def builds(self) -> tuple[str, ...]:
        return tuple(self.build.split(" / ")) if self.build else ()

    @property
    def first_day(self) -> datetime.date:
        """The day, or the first of the month when the source gives no day."""
        return datetime.date.fromisoformat(self.date if len(self.date) > 7 else f"{self.date}-01")

    @property
    def month_only(self) -> bool:
        return len(self.date) == 7


_CLIENT = ("windows-11-24h2", "windows-11-25h2")
_SERVER_2022 = ("windows-server-2022-azure", "windows-server-2022")
SOURCE_PRODUCTS: dict[str, tuple[str, ...]] = {
    "Windows 11 Enterprise 24H2/25H2": _CLIENT,
    "Windows 11 24H2/25H2": _CLIENT,
    "Windows Server 2025 (Datacenter: Azure Edition / Arc hotpatch)": ("windows-server-2025",),
    "Windows Server 2025": ("windows-server-2025",),
    "Windows Server 2022 Datacenter: Azure Edition": _SERVER_2022,
    "Windows Server 2022": _SERVER_2022,
}


def read_rows(raw: bytes, where: str) -> tuple[Row, ...]:
    """A JSON list of rows. Raises HostileInputError for what is malformed, too long or unknown."""
    if len(raw) > MAX_BYTES:
        raise _malformed(f"It is larger than {MAX_BYTES >> 20} MiB.", where)
    try:
        rows = msgspec.json.decode(
            raw, type=Annotated[list[Row], msgspec.Meta(max_length=MAX_ROWS)]
        )
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(f"It is no list of Windows updates: {error}.", where) from error
    for number, row in enumerate(rows, 1):
        _check(row, number, where)
    return tuple(rows)


def products_of(row: Row) -> tuple[str, ...]:
    return SOURCE_PRODUCTS.get(row.product, (row.product,))


def merge(known: Iterable[Row], new: Iterable[Row]) -> Merged:
    """`new` over `known`: the surer row stays, of two equally sure ones the later one.

    A row is about the same update when products and KB are the same."""
    merged = Merged()
    for row in known:
        merged.take(row)
    merged.added, merged.changed, merged.kept = [], [], []  # only what `new` did counts
    for row in new:
        merged.take(row)
    return merged


class Merged:
    """Rows after a merge, and what the merge did."""

    def __init__(self) -> None:
        self._rows: dict[tuple[tuple[str, ...], str], Row] = {}
        self.added: list[Row] = []
        self.changed: list[tuple[Row, Row]] = []
        self.kept: list[tuple[Row, Row]] = []  # the surer one that was there, the one not taken

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(self._rows.values())

    def take(self, row: Row) -> None:
        identity = (products_of(row), row.kb)
        old = self._rows.get(identity)
        if old == row:
            return
        if old is None:
            self.added.append(row)
        elif SURENESS[row.confidence] < SURENESS[old.confidence]:
            self.kept.append((old, row))
            return
        else:
            self.changed.append((old, row))
        self._rows[identity] = row


SURENESS: dict[Confidence, int] = {"unstated": 0, "low": 1, "medium": 2, "high": 3}


def _check(row: Row, number: int, where: str) -> None:
    label = f"Row {number} ({row.kb})"
    try:
        _ = row.first_day
    except ValueError as error:
        raise _malformed(f"{label}: there is no day {row.date}.", where) from error
    if row.type == "oob" and row.on_hotpatch_train is None:
        raise _malformed(
            f"{label}: `on_hotpatch_train` must say whether this out-of-band update stays on the "
            "hotpatch track.",
            where,
        )


def _malformed(cause: str, where: str) -> HostileInputError:
    return HostileInputError(cause, "docs/releases.md explains the fields of a row.", where=where)
