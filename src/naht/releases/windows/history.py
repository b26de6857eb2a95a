"""Rows of the Windows history → releases of our products. Pure, but for reading the built-in data.

What a source leaves open stays open: a build that it gives for a sister version only is marked
`build_inferred`, a day that it does not give `month_only`; its confidence stays with the release.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from itertools import groupby

import msgspec

from naht.domain.release import (
    Advisory,
    Classification,
    Product,
    Release,
    ReleaseType,
    Restart,
)
from naht.errors import HostileInputError
from naht.releases.compare import build_number
from naht.releases.record import ReleaseRecord
from naht.releases.windows.rows import SURENESS, Row, merge, products_of, read_rows

PRODUCTS = (
    Product(
        name="windows-11-24h2", title="Windows 11 Enterprise 24H2", platform="windows",
        windows_build=26100, upgrades_to=("windows-11-25h2",),
    ),
    Product(
        name="windows-11-25h2", title="Windows 11 Enterprise 25H2", platform="windows",
        windows_build=26200,
    ),
    Product(
        name="windows-server-2025", title="Windows Server 2025", platform="windows",
        windows_build=26100,
    ),
    Product(
        name="windows-server-2022-azure", title="Windows Server 2022 Datacenter: Azure Edition",
        platform="windows", windows_build=20348, upgrades_to=("windows-server-2025",),
    ),
    Product(
        name="windows-server-2022", title="Windows Server 2022", platform="windows",
        windows_build=20348, tracks=("standard",), upgrades_to=("windows-server-2025",),
    ),
)  # fmt: skip
BUILT_IN = ("windows_release_history.json", "windows_lcu_history.json")

# 25H2 was first served with this baseline (its row: "25H2 joins"). An enablement package turns 24H2
# into 25H2, so both have the same revision in every row that gives both.
_SERVED_SINCE = {"windows-11-25h2": datetime.date(2025, 10, 14)}
_SISTERS = {26100: 26200, 26200: 26100}

# Through 2025 the 26100 client and Server 2025 had the same monthly updates under the same KBs (so
# their rows say, and each that both have agrees); from January 2026 on they have KBs of their own.
SHARED_UNTIL = datetime.date(2025, 12, 31)
SHARING = frozenset({"windows-11-24h2", "windows-11-25h2", "windows-server-2025"})

_RESTART_ONLY = re.compile(r"restart only (if [^;]+)")
_CVES = re.compile(r"CVE-(\d{4})-(\d{4,7})((?:/-\d{4,7})*)")


@cache
def built_in_rows() -> tuple[Row, ...]:
    folder = files("naht.releases.windows") / "data"
    return tuple(row for name in BUILT_IN for row in read_rows((folder / name).read_bytes(), name))


def windows_records(extra: Iterable[Row] = ()) -> dict[str, ReleaseRecord]:
    """The record of every Windows product: the built-in rows, and `extra` over them."""
    rows = merge(built_in_rows(), extra).rows
    unknown = {name for row in rows for name in products_of(row)} - {p.name for p in PRODUCTS}
    if unknown:
        raise _wrong(f"There is no Windows product {min(unknown)!r}.")
    rows = (*rows, *_shared_with_clients(rows))
    return {p.name: _record(p, [r for r in rows if p.name in products_of(r)]) for p in PRODUCTS}


def _shared_with_clients(rows: Iterable[Row]) -> Iterator[Row]:
    """Monthly cumulative updates that are recorded for the server only. Of those out of band it is
    not known whether clients had them, too."""
    for row in rows:
        if (
            products_of(row) == ("windows-server-2025",)
            and _type(row) == "standard-cumulative"
            and row.first_day <= SHARED_UNTIL
        ):
            note = "Recorded for Windows Server 2025, with which clients shared it."
            yield msgspec.structs.replace(
                row, product="Windows 11 24H2/25H2", confidence="low", note=note
            )


def _record(product: Product, rows: Sequence[Row]) -> ReleaseRecord:
    drafts = [_draft(product, row) for row in _served(product, _one_for_each_kb(rows))]
    dated = _date_by_builds(drafts)
    return ReleaseRecord(product, _with_levels(_with_ids(_on_baselines(dated))))


def _served(product: Product, rows: Iterable[Row]) -> list[Row]:
    since = _SERVED_SINCE.get(product.name, datetime.date.min)
    wanted = [row for row in rows if row.first_day >= since]
    if "hotpatch" in product.tracks:
        return wanted
    return [row for row in wanted if _type(row) not in {"hotpatch", "out-of-band-hotpatch"}]


def _one_for_each_kb(rows: Iterable[Row]) -> list[Row]:
    """A row may be about two products and another about one of them: the surer, else the later."""
    found: dict[str, Row] = {}
    for row in rows:
        other = found.get(row.kb)
        if not other or SURENESS[row.confidence] >= SURENESS[other.confidence]:
            found[row.kb] = row
    return list(found.values())


def _type(row: Row) -> ReleaseType:
    if row.type == "oob":
        return "out-of-band-hotpatch" if row.on_hotpatch_train else "out-of-band-standard"
    if row.type == "lcu":
        out_of_band = row.note.partition(";")[0].strip() == "oob"
        return "out-of-band-standard" if out_of_band else "standard-cumulative"
    types: dict[str, ReleaseType] = {
        "baseline": "planned-baseline", "unplanned-baseline": "unplanned-baseline",
        "hotpatch": "hotpatch",
    }  # fmt: skip
    return types[row.type]


def _draft(product: Product, row: Row) -> Release:
    """Without id, baseline and level, which only the whole history gives."""
    build, inferred = _build(product, row)
    type_ = _type(row)
    restart, restart_note = _restart(type_, row.note)
    cves = _cves(row.note)
    return Release(
        id="", product=product.name, type=type_, date=row.first_day, baseline="", level=0,
        restart=restart, restart_note=restart_note, classification=_classification(type_, cves),
        advisories=(Advisory(id=row.kb, cves=cves),) if cves else (), notes=row.note, kb=row.kb,
        build=build, build_inferred=inferred, month_only=row.month_only,
        confidence=row.confidence, source=row.source,
    )  # fmt: skip


def _build(product: Product, row: Row) -> tuple[str, bool]:
    """The build that this product shows, and whether only its sister's is given."""
    by_major = {build_number(build)[0]: build for build in row.builds}
    if not by_major or product.windows_build in by_major:
        return by_major.get(product.windows_build, ""), False
    sister = by_major.get(_SISTERS.get(product.windows_build, 0))
    if sister is None or product.name not in {"windows-11-24h2", "windows-11-25h2"}:
        raise _wrong(f"{row.kb}: {row.build} is no build of {product.name}.")
    return f"{product.windows_build}.{build_number(sister)[1]}", True


def _restart(type_: ReleaseType, note: str) -> tuple[Restart, str]:
    if type_ not in {"hotpatch", "out-of-band-hotpatch"}:
        return "needed", ""
    condition = _RESTART_ONLY.search(note)
    return ("conditional", f"only {condition[1]}") if condition else ("none", "")


def _classification(type_: ReleaseType, cves: Sequence[str]) -> Classification:
    """The monthly ones are security updates; what came in between need not be."""
    return "security" if cves or not type_.startswith("out-of-band") else "unstated"


def _cves(note: str) -> tuple[str, ...]:
    """`CVE-2026-1111/-2222` is short for two."""
    return tuple(
        f"CVE-{year}-{number}"
        for year, first, more in _CVES.findall(note)
        for number in (first, *(n for n in more.split("/-") if n))
    )


def _revision(release: Release) -> int:
    return build_number(release.build)[1] if release.build else -1


def _date_by_builds(drafts: Sequence[Release]) -> list[Release]:
    """A release without a day is dated as early as it can be: in its month, and not before what its
    own track (and baselines) had with a lower build."""
    cumulative = [d for d in drafts if d.restart == "needed" and not d.month_only and d.build]
    return [_dated(d, cumulative) if d.month_only else d for d in drafts]


def _dated(draft: Release, cumulative: Sequence[Release]) -> Release:
    earlier = [d.date for d in cumulative if _revision(d) < _revision(draft)]
    return msgspec.structs.replace(draft, date=max([draft.date, *earlier]))


def _on_baselines(drafts: Sequence[Release]) -> list[Release]:
    """Each stands on the newest baseline of its day; `baseline` is its KB until ids are given."""
    newest = ""
    found = []
    for draft in sorted(drafts, key=_by_day):
        if draft.type in {"planned-baseline", "unplanned-baseline"}:
            newest = draft.kb
        found.append(msgspec.structs.replace(draft, baseline=newest))
    return found


def _by_day(release: Release) -> tuple[datetime.date, bool, bool, int, str]:
    """On one day: the baseline, the planned ones, then out of band by build."""
    is_baseline = release.type in {"planned-baseline", "unplanned-baseline"}
    out_of_band = release.type.startswith("out-of-band")
    return release.date, not is_baseline, out_of_band, _revision(release), release.kb


_LETTERS: dict[ReleaseType, str] = {
    "planned-baseline": "B", "unplanned-baseline": "B*", "hotpatch": "H",
    "out-of-band-hotpatch": "H", "standard-cumulative": "S", "out-of-band-standard": "S",
}  # fmt: skip


def _with_ids(drafts: Sequence[Release]) -> list[Release]:
    """Out-of-band releases are numbered from 2 in each month."""
    numbers: dict[str, int] = {}
    named = []
    for draft in drafts:
        stem = f"{draft.date:%Y.%m} {_LETTERS[draft.type]}"
        out_of_band = draft.type.startswith("out-of-band")
        number = numbers.get(stem, 1 if out_of_band else 0) + 1
        numbers[stem] = number
        named.append(msgspec.structs.replace(draft, id=f"{stem}{number if number > 1 else ''}"))
    id_of = {draft.kb: draft.id for draft in named} | {"": ""}
    return [msgspec.structs.replace(d, baseline=id_of[d.baseline]) for d in named]


def _with_levels(releases: Sequence[Release]) -> list[Release]:
    def track(release: Release) -> tuple[str, str]:
        return release.baseline, _LETTERS[release.type][0]

    found = []
    for (_, letter), group in groupby(sorted(releases, key=track), key=track):
        first = 0 if letter == "B" else 1
        found += [msgspec.structs.replace(r, level=n) for n, r in enumerate(group, first)]
    return found


def _wrong(cause: str) -> HostileInputError:
    return HostileInputError(cause, "Correct the row; docs/releases.md explains the fields.")
