"""Every row of the built-in Windows history becomes the release that it is about, and no other."""

from __future__ import annotations

import datetime
import json
from importlib.resources import files
from typing import Any

import pytest

from naht.domain.release import Release
from naht.errors import HostileInputError
from naht.releases.record import ReleaseRecord, is_baseline, tracks_of
from naht.releases.windows.history import BUILT_IN, built_in_rows, windows_records
from naht.releases.windows.rows import SOURCE_PRODUCTS, Row, merge, read_rows

RECORDS = windows_records()
DATA = {
    name: json.loads((files("naht.releases.windows") / "data" / name).read_bytes())
    for name in BUILT_IN
}
ROWS: list[dict[str, Any]] = [row for rows in DATA.values() for row in rows]
RELEASES = [release for record in RECORDS.values() for release in record.releases]


def label(row: dict[str, Any]) -> str:
    return f"{row['kb']}-{row['product'][:19]}"


def found(row: dict[str, Any]) -> list[Release]:
    return [
        release
        for name in SOURCE_PRODUCTS[row["product"]]
        for release in RECORDS[name].releases
        if release.kb == row["kb"]
    ]


def test_the_files_hold_what_was_gathered() -> None:
    assert [len(rows) for rows in DATA.values()] == [96, 41]


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_every_row_is_a_release_of_its_products(row: dict[str, Any]) -> None:
    releases = found(row)
    assert releases
    for release in releases:
        if release.source == row["source"]:  # else a surer row of the same update
            assert release.notes == row["note"]
        assert release.date.isoformat().startswith(row["date"][:7])
        if len(row["date"]) == 10:
            assert release.date.isoformat() == row["date"]
            assert not release.month_only
        else:
            assert release.month_only


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_every_row_keeps_its_build_or_says_where_it_is_inferred(row: dict[str, Any]) -> None:
    given = set((row["build"] or "").split(" / ")) - {""}
    for release in found(row):
        if release.build_inferred:
            assert release.product in {"windows-11-24h2", "windows-11-25h2"}
            assert release.build.partition(".")[2] in {b.partition(".")[2] for b in given}
        else:
            assert release.build in (given or {""})
        if release.build:
            major = RECORDS[release.product].product.windows_build
            assert release.build.startswith(f"{major}.")


@pytest.mark.parametrize("row", DATA["windows_release_history.json"], ids=label)
def test_every_row_keeps_its_type_and_confidence(row: dict[str, Any]) -> None:
    types = {
        "baseline": "planned-baseline", "unplanned-baseline": "unplanned-baseline",
        "hotpatch": "hotpatch",
        "oob": "out-of-band-hotpatch" if row["on_hotpatch_train"] else "out-of-band-standard",
    }  # fmt: skip
    for release in found(row):
        assert release.type == types[row["type"]]
        assert release.confidence == row["confidence"]
        assert release.source == row["source"]
        assert (release.restart == "none") <= (release.type.endswith("hotpatch"))


@pytest.mark.parametrize("row", DATA["windows_lcu_history.json"], ids=label)
def test_every_cumulative_update_is_of_the_standard_track(row: dict[str, Any]) -> None:
    out_of_band = row["note"].startswith("oob")
    for release in found(row):
        assert release.type == ("out-of-band-standard" if out_of_band else "standard-cumulative")
        assert release.restart == "needed"


@pytest.mark.parametrize("release", RELEASES, ids=lambda r: f"{r.product}-{r.id}")
def test_every_release_stands_on_the_newest_baseline_before_it(release: Release) -> None:
    record = RECORDS[release.product]
    before = [b for b in record.baselines if b.date <= release.date]
    assert release.baseline == (before[-1].id if before else "")
    assert (release.level == 0) == is_baseline(release)


@pytest.mark.parametrize("record", RECORDS.values(), ids=lambda r: r.product.name)
def test_builds_rise_within_each_track(record: ReleaseRecord) -> None:
    for track in record.product.tracks:
        revisions = [int(r.build.partition(".")[2]) for r in record.on_track(track) if r.build]
        assert revisions == sorted(set(revisions))


def test_both_client_versions_share_the_revision_wherever_both_are_given() -> None:
    """What `build_inferred` rests on."""
    given = [row["build"].split(" / ") for row in ROWS if row["build"] and "/" in row["build"]]
    assert len(given) == 13
    for builds in given:
        assert len({build.partition(".")[2] for build in builds}) == 1


def test_client_and_server_2025_shared_their_updates_through_2025_and_no_longer() -> None:
    """What the cumulative updates of the server in the client's record rest on."""
    client, server = (RECORDS[name].by_id for name in ("windows-11-24h2", "windows-server-2025"))
    both = [id_ for id_ in client if id_ in server and id_[-1] in "BH"]
    shared = [id_ for id_ in both if client[id_].kb == server[id_].kb]
    assert shared == [id_ for id_ in both if id_ < "2026"]
    assert len(shared) == 14


def test_a_cumulative_update_of_the_server_stands_in_the_clients_record_with_low_confidence() -> (
    None
):
    client = [r for r in RECORDS["windows-11-24h2"].releases if r.kb == "KB5051987"]
    assert [(r.build, r.type, r.confidence) for r in client] == [
        ("26100.3194", "standard-cumulative", "low")
    ]
    newer = [r for r in RECORDS["windows-11-25h2"].releases if r.kb == "KB5068861"]
    assert [(r.build, r.build_inferred) for r in newer] == [("26200.7171", True)]


def test_a_version_has_no_releases_from_before_its_time() -> None:
    assert RECORDS["windows-11-25h2"].releases[0].id == "2025.10 B"


def test_hotpatches_whose_baseline_is_not_recorded_stand_on_none() -> None:
    unproved = [r for r in RELEASES if not r.baseline]
    assert [(r.product, r.id) for r in unproved] == [
        ("windows-server-2025", "2024.11 H"),
        ("windows-server-2025", "2024.12 H"),
        ("windows-server-2022-azure", "2022.02 H"),
        ("windows-server-2022-azure", "2022.03 H"),
    ]


def test_an_update_of_both_files_keeps_the_surer_row() -> None:
    (release,) = [r for r in RELEASES if r.kb == "KB5070881"]
    assert (release.type, release.confidence) == ("out-of-band-standard", "high")


def test_a_conditional_restart_says_on_what() -> None:
    (release,) = [r for r in RELEASES if r.kb == "KB5070893"]
    assert (release.restart, release.restart_note) == (
        "conditional", "only if WSUS role installed",
    )  # fmt: skip
    assert release.advisories[0].cves == ("CVE-2025-59287",)


def test_short_lists_of_cves_are_read_in_full() -> None:
    (release,) = [r for r in RECORDS["windows-11-25h2"].releases if r.kb == "KB5084597"]
    assert release.advisories[0].cves == ("CVE-2026-25172", "CVE-2026-25173", "CVE-2026-26111")


# --- months that were flipped to an unplanned baseline ------------------------------------------


@pytest.mark.parametrize(
    ("product", "id_", "kb"),
    [
        ("windows-server-2022-azure", "2024.08 B*", "KB5041160"),
        ("windows-server-2025", "2026.06 B*", "KB5094125"),
        ("windows-server-2025", "2026.09 B*", "KB5122871"),
        ("windows-11-24h2", "2026.06 B*", "KB5094126"),
        ("windows-11-25h2", "2026.09 B*", "KB5124008"),
        ("windows-server-2022-azure", "2026.09 B*", "KB5122882"),
    ],
)
def test_trap_a_hotpatch_month_that_was_flipped_to_an_unplanned_baseline(
    product: str, id_: str, kb: str
) -> None:
    release = RECORDS[product].by_id[id_]
    assert (release.kb, release.type, release.restart) == (kb, "unplanned-baseline", "needed")
    assert release.date.month not in RECORDS[product].product.baseline_months


def test_trap_what_follows_an_unplanned_baseline_stands_on_it() -> None:
    record = RECORDS["windows-server-2022-azure"]
    assert record.by_id["2024.09 H"].baseline == "2024.08 B*"
    assert record.by_id["2024.07 B"].date < record.by_id["2024.08 B*"].date


# --- traps that are in the record ---------------------------------------------------------------


def same_month_pairs() -> list[tuple[Release, Release]]:
    return [
        (hotpatch, standard)
        for record in RECORDS.values()
        for hotpatch in record.releases
        for standard in record.releases
        if (hotpatch.type, standard.type) == ("hotpatch", "standard-cumulative")
        and hotpatch.date == standard.date
    ]


def test_trap_a_hotpatch_has_a_lower_build_than_the_cumulative_update_of_its_month() -> None:
    pairs = same_month_pairs()
    assert len(pairs) == 42
    for hotpatch, standard in pairs:
        assert hotpatch.kb != standard.kb
        assert int(hotpatch.build.partition(".")[2]) < int(standard.build.partition(".")[2])


def test_trap_26100_is_a_client_and_a_server() -> None:
    client, server = RECORDS["windows-11-24h2"], RECORDS["windows-server-2025"]
    assert client.product.windows_build == server.product.windows_build == 26100
    same_month = client.by_id["2026.01 B"], server.by_id["2026.01 B"]
    assert [r.build for r in same_month] == ["26100.7623", "26100.32230"]
    assert same_month[0].kb != same_month[1].kb


def test_trap_one_build_is_two_updates_of_different_tracks() -> None:
    both = [r for r in RECORDS["windows-server-2025"].releases if r.build == "26100.6905"]
    assert {r.kb: tracks_of(r) for r in both} == {
        "KB5070881": ("standard",),
        "KB5070893": ("hotpatch",),
    }


@pytest.mark.parametrize("day", [datetime.date(2026, 7, 18), datetime.date(2026, 9, 14)])
def test_trap_hotpatch_and_standard_out_of_band_on_one_day(day: datetime.date) -> None:
    same = [r for r in RECORDS["windows-11-25h2"].releases if r.date == day]
    assert {r.type for r in same} == {"out-of-band-hotpatch", "out-of-band-standard"}
    assert {r.id[-2:] for r in same} == {"H2", "S2"}


# --- reading and merging rows -------------------------------------------------------------------


def row(**changes: object) -> Row:
    fields = {
        "date": "2026-10-13", "type": "baseline", "kb": "KB5139999", "build": "26100.34000",
        "product": "windows-server-2025", "confidence": "high",
    }  # fmt: skip
    return read_rows(json.dumps([fields | changes]).encode(), "test")[0]


def test_an_imported_row_extends_the_record() -> None:
    record = windows_records([row()])["windows-server-2025"]
    assert record.releases[-1].id == "2026.10 B"
    assert len(record.releases) == len(RECORDS["windows-server-2025"].releases) + 1


def test_a_surer_row_stays_and_an_equally_sure_one_is_replaced() -> None:
    known = row(confidence="high")
    less = merge([known], [row(build="26100.34001", confidence="low")])
    assert (less.rows, len(less.kept), less.changed) == ((known,), 1, [])
    equal = merge([known], [row(build="26100.34001")])
    assert equal.rows[0].build == "26100.34001"
    assert merge([known], [known]).added == []


def test_merging_the_built_in_rows_with_themselves_changes_nothing() -> None:
    sure = merge((), built_in_rows()).rows
    again = merge(sure, sure)
    assert (again.added, again.changed, again.kept) == ([], [], [])


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "preview"},
        {"kb": "5139999"},
        {"build": "26100"},
        {"date": "2026-13-01"},
        {"date": "2026-02-30"},
        {"type": "oob"},
        {"extra": 1},
        {"confidence": "certain"},
    ],
)
def test_a_malformed_row_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(HostileInputError):
        row(**changes)


@pytest.mark.parametrize(
    "changes", [{"product": "windows-vista"}, {"build": "20348.1", "kb": "KB5139998"}]
)
def test_a_row_that_fits_no_product_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(HostileInputError):
        windows_records([row(**changes)])
