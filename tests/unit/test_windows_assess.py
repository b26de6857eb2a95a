"""Where a Windows device stands, and whether what a scanner says of it is true."""

from __future__ import annotations

import datetime

import pytest

from naht.domain.release import HOTPATCH_TYPES, Release
from naht.errors import UsageError
from naht.releases.record import is_baseline
from naht.releases.windows.assess import Assessment, assess
from naht.releases.windows.device import WindowsFacts, product_of
from naht.releases.windows.history import windows_records
from naht.releases.windows.scanner import Claim, judge

RECORDS = windows_records()
TODAY = datetime.date(2026, 11, 22)
SERVER = "windows-server-2025"
RELEASES = [release for record in RECORDS.values() for release in record.releases]


def device(
    build: str, *kbs: str, product: str = SERVER, enrolled: bool | None = None
) -> WindowsFacts:
    return WindowsFacts(product=product, build=build, installed_kbs=kbs, enrolled=enrolled)


def seen(
    build: str, *kbs: str, product: str = SERVER, enrolled: bool | None = None, day: str = ""
) -> Assessment:
    today = datetime.date.fromisoformat(day) if day else TODAY
    return assess(device(build, *kbs, product=product, enrolled=enrolled), RECORDS, today)


def claim(kb: str, found: Assessment, *kbs: str, day: str = "") -> Claim:
    today = datetime.date.fromisoformat(day) if day else TODAY
    return judge(kb, found, RECORDS, kbs, today)


def to_install(found: Assessment) -> list[str]:
    assert found.next is not None
    return [release.kb for release in found.next.releases]


# --- every row ----------------------------------------------------------------------------------


@pytest.mark.parametrize("release", RELEASES, ids=lambda r: f"{r.product}-{r.id}")
def test_a_device_that_just_took_a_release_is_found_there_and_on_its_track(
    release: Release,
) -> None:
    baseline = RECORDS[release.product].by_id.get(release.baseline)
    build = release.build or (baseline.build if baseline else "")
    if not build:  # neither its build nor its baseline is recorded: no device can be told by it
        assert release.baseline == ""
        return
    if not release.build:  # the record lacks the build; the device shows one beyond its baseline
        build = f"{build.partition('.')[0]}.{int(build.partition('.')[2]) + 1}"
    enrolled = "hotpatch" in RECORDS[release.product].product.tracks
    found = seen(build, release.kb, product=release.product, enrolled=enrolled)
    assert found.release == release
    if not enrolled:
        assert found.train == "not-offered"
    elif is_baseline(release) or release.type in HOTPATCH_TYPES:
        assert found.train == "on"
    else:
        assert (found.train, found.off_since) == ("off", release)


@pytest.mark.parametrize("release", RELEASES, ids=lambda r: f"{r.product}-{r.id}")
def test_what_is_installed_is_never_truly_missing(release: Release) -> None:
    if release.build:
        found = seen(release.build, release.kb, product=release.product)
        assert claim(release.kb, found, release.kb).missing == "false"


@pytest.mark.parametrize("release", RELEASES, ids=lambda r: f"{r.product}-{r.id}")
def test_a_release_holds_all_older_ones_of_its_track_and_none_of_the_newer(
    release: Release,
) -> None:
    if not release.build:
        return
    found = seen(release.build, release.kb, product=release.product, enrolled=True)
    record = RECORDS[release.product]
    track = found.position.track if found.position else "standard"
    order = record.on_track(track)
    place = order.index(release)
    for other in order:
        expected = "true" if order.index(other) > place else "false"
        if other.baseline:
            assert claim(other.kb, found).missing == expected


# --- the traps ----------------------------------------------------------------------------------


def test_trap_26100_of_a_client_is_not_a_server() -> None:
    client = seen("26100.7781", "KB5077212", product="windows-11-24h2")
    assert (client.train, client.release and client.release.id) == ("on", "2026.02 H")
    server = claim("KB5075942", client)
    assert (server.missing, server.reason) == ("false", "other-product")


def test_trap_an_update_of_the_years_that_client_and_server_shared_is_not_called_foreign() -> None:
    client = seen("26100.3107", product="windows-11-24h2", enrolled=True, day="2025-02-20")
    monthly = claim("KB5051987", client, day="2025-02-20")
    assert (monthly.missing, monthly.reason) == ("false", "parity")
    out_of_band = claim("KB5059087", client)  # recorded for the server only
    assert (out_of_band.missing, out_of_band.reason) == ("unknown", "perhaps-shared")
    server = seen("26100.3981", enrolled=True)
    assert claim("KB5061258", server).missing == "unknown"  # for the client only


def test_trap_26100_alone_does_not_tell_the_product() -> None:
    with pytest.raises(UsageError, match="does not tell a client from a server"):
        product_of(WindowsFacts(build="26100.6899"))


def test_trap_the_registry_calls_windows_11_windows_10() -> None:
    facts = WindowsFacts(
        build="26200.8390", installation_type="Client", edition_id="Enterprise",
        product_name="Windows 10 Enterprise",
    )  # fmt: skip
    assert product_of(facts) == "windows-11-25h2"


@pytest.mark.parametrize(
    ("edition", "product"),
    [
        ("ServerTurbine", "windows-server-2022-azure"),
        ("ServerTurbineCor", "windows-server-2022-azure"),
        ("ServerDatacenter", "windows-server-2022"),
        ("ServerStandard", "windows-server-2022"),
    ],
)
def test_trap_server_2022_has_hotpatches_as_azure_edition_only(edition: str, product: str) -> None:
    facts = WindowsFacts(build="20348.4711", installation_type="Server", edition_id=edition)
    assert product_of(facts) == product


def test_trap_a_hotpatch_build_below_the_cumulative_update_of_its_month_lacks_nothing() -> None:
    found = seen("26100.3107", "KB5052105", day="2025-02-20")
    assert (found.train, to_install(found)) == ("on", [])
    said = claim("KB5051987", found, "KB5052105", day="2025-02-20")  # the month's LCU, 3194 > 3107
    assert (said.missing, said.reason) == ("false", "parity")


def test_trap_a_standard_device_between_two_hotpatch_builds_is_not_on_the_track() -> None:
    """3194 lies between the hotpatches 3107 and 3403, and is neither."""
    found = seen("26100.3194", "KB5051987", enrolled=True, day="2025-03-20")
    assert found.train == "off"
    assert to_install(found) == ["KB5053598"]
    march = claim("KB5053636", found, day="2025-03-20")  # the hotpatch of March
    assert (march.missing, march.install) == ("true", "KB5053598")
    february = claim("KB5052105", found, day="2025-03-20")
    assert (february.missing, february.reason) == ("false", "parity")


def test_trap_an_unrecorded_build_between_two_hotpatches_is_unknown_not_on_the_track() -> None:
    found = seen("26100.3200", day="2025-03-20")
    assert (found.train, found.release, found.next) == ("unknown", None, None)
    assert claim("KB5053636", found, day="2025-03-20").missing == "unknown"


def test_trap_same_build_kb5070881_is_off_the_track() -> None:
    found = seen("26100.6905", "KB5066835", "KB5070881", enrolled=True, day="2025-10-30")
    assert (found.train, found.basis) == ("off", "build-and-kb")
    assert found.off_since is not None
    assert found.off_since.kb == "KB5070881"
    assert to_install(found) == []
    later = seen("26100.6905", "KB5070881", enrolled=True, day="2026-01-20")
    assert to_install(later) == ["KB5073379"]  # the baseline of January brings it back


def test_trap_same_build_kb5070893_is_on_the_track() -> None:
    found = seen("26100.6905", "KB5066835", "KB5070893", enrolled=True, day="2025-11-12")
    assert (found.train, to_install(found)) == ("on", ["KB5068966"])
    said = claim("KB5070881", found, "KB5070893", day="2025-11-12")
    assert (said.missing, said.reason) == ("false", "parity")


def test_trap_same_build_with_both_updates_is_off_the_track() -> None:
    found = seen("26100.6905", "KB5070893", "KB5070881", enrolled=True, day="2025-10-30")
    assert found.train == "off"


def test_trap_same_build_without_updates_is_unknown() -> None:
    found = seen("26100.6905", enrolled=True, day="2025-10-30")
    assert (found.train, found.track, found.next) == ("unknown", None, None)
    assert "KB5070881" in found.why
    assert "KB5070893" in found.why


def test_trap_same_build_the_wrong_one_of_two_is_named_missing_but_not_to_be_installed() -> None:
    found = seen("26100.6899", "KB5066835", enrolled=True, day="2025-10-30")
    said = claim("KB5070881", found, day="2025-10-30")
    assert (said.missing, said.install) == ("true", "KB5070893")
    assert "off the hotpatch track" in said.sentence


def test_trap_both_out_of_band_on_one_day_the_build_tells() -> None:
    product = "windows-11-25h2"
    hotpatch = seen("26200.8893", product=product, enrolled=True, day="2026-07-20")
    standard = seen("26200.8894", product=product, enrolled=True, day="2026-07-20")
    assert (hotpatch.train, standard.train) == ("on", "off")
    assert claim("KB5121767", hotpatch, day="2026-07-20").reason == "parity"
    assert claim("KB5121768", standard, day="2026-07-20").reason == "parity"


@pytest.mark.parametrize(
    ("product", "before", "day", "baseline"),
    [
        ("windows-server-2022-azure", "20348.2582", "2024-08-20", "KB5041160"),
        ("windows-server-2025", "26100.32772", "2026-06-20", "KB5094125"),
        ("windows-server-2025", "26100.33222", "2026-09-10", "KB5122871"),
        ("windows-11-24h2", "26100.8390", "2026-06-20", "KB5094126"),
        ("windows-11-24h2", "26100.9106", "2026-09-10", "KB5124008"),
    ],
)
def test_trap_a_flipped_month_brings_a_baseline_with_a_restart(
    product: str, before: str, day: str, baseline: str
) -> None:
    found = seen(before, product=product, enrolled=True, day=day)
    assert found.next is not None
    assert (found.next.action, found.next.restarts) == ("baseline", 1)
    assert to_install(found) == [baseline]


def test_trap_an_out_of_band_fix_that_no_hotpatch_has_yet() -> None:
    found = seen("26100.33438", enrolled=True, day="2026-09-20")
    said = claim("KB5129235", found, day="2026-09-20")
    assert (said.missing, said.reason, said.install) == ("true", "no-hotpatch-yet", "")


def test_trap_an_update_dated_by_month_only_counts_as_late_as_it_can_be() -> None:
    """KB5059087 came some day in April 2025, perhaps after the hotpatch of another day."""
    at_baseline = seen("26100.3775", enrolled=True, day="2025-04-30")
    assert claim("KB5059087", at_baseline, day="2025-04-30").missing == "true"
    in_may = seen("26100.3981", enrolled=True, day="2025-05-20")
    assert claim("KB5059087", in_may, day="2025-05-20").reason == "parity"


def test_trap_a_month_whose_type_is_not_confirmed_is_told_as_a_doubt() -> None:
    found = seen("20348.5256", product="windows-server-2022-azure", enrolled=True)
    assert any("not confirmed" in doubt for doubt in found.doubts)


# --- enrolment, evidence, refusals --------------------------------------------------------------


def test_at_a_baseline_enrolment_decides() -> None:
    day = "2025-02-20"
    assert to_install(seen("26100.2894", enrolled=True, day=day)) == ["KB5052105"]
    assert to_install(seen("26100.2894", enrolled=False, day=day)) == ["KB5051987"]
    unknown = seen("26100.2894", day=day)
    assert (unknown.train, unknown.track) == ("at-baseline", None)
    assert unknown.otherwise is not None
    assert [r.kb for r in unknown.otherwise.releases] == ["KB5051987"]


def test_a_stated_track_decides_between_updates_of_one_build() -> None:
    facts = WindowsFacts(product=SERVER, build="26100.6905", track="hotpatch")
    found = assess(facts, RECORDS, TODAY)
    assert (found.train, found.basis) == ("on", "stated")


def test_a_statement_that_build_and_updates_contradict_is_told() -> None:
    facts = WindowsFacts(product=SERVER, build="26100.3194", track="hotpatch", enrolled=True)
    found = assess(facts, RECORDS, TODAY)
    assert found.train == "off"
    assert any("said to be on the hotpatch track" in doubt for doubt in found.doubts)


def test_an_update_whose_build_the_record_lacks_is_found_by_its_kb() -> None:
    found = seen("26100.7990", "KB5084897", product="windows-11-24h2", enrolled=True)
    assert found.release is not None
    assert (found.release.id, found.basis) == ("2026.03 H3", "kb")


def test_a_build_of_another_product_is_refused() -> None:
    with pytest.raises(UsageError, match="no build of Windows Server 2025"):
        seen("20348.4711")


def test_a_product_without_hotpatches_is_not_off_anything() -> None:
    found = seen("20348.4405", product="windows-server-2022")
    assert (found.train, to_install(found)) == ("not-offered", ["KB5129237"])


def test_an_unrecorded_kb_is_unknown() -> None:
    found = seen("26100.3107", enrolled=True)
    assert claim("KB1234567", found).reason == "not-recorded"


def test_what_is_released_later_is_not_missing_yet() -> None:
    found = seen("26100.3107", enrolled=True, day="2025-02-20")
    assert claim("KB5053636", found, day="2025-02-20").reason == "not-yet-released"
