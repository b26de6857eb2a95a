"""Which hotpatch brings an object to what is installed, and what is said when none does."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from naht.domain.build_id import BuildId
from naht.domain.package import Package, ShippedVersion, compare_versions
from naht.domain.process import HotpatchInProcess, HotpatchState, LoadedObject, ScannedObject
from naht.hotpatch.container import encode_manifest
from naht.hotpatch.library import Listed
from naht.hotpatch.manifest import Component, Image, Manifest, Provenance, Target
from naht.live.host.judgement import Installed, Judgement, choose, judge, standing

OLD, NEW, NEWER, FOREIGN = ("aa" * 20, "bb" * 20, "cc" * 20, "dd" * 20)
V_OLD, V_NEW, V_NEWER = "1:1.0-1", "1:1.0-1+deb12u1", "1:1.0-1+deb12u2"
PURL = "pkg:deb/debian/door@1%3A1.0-1?arch=source"


def package(version: str = V_NEW, source: str = "door") -> Package:
    return Package(
        name="libdoor1", version=version + "+b1", architecture="amd64", source=source,
        source_version=version,
    )  # fmt: skip


def offer(
    *brings_to: tuple[str, str], level: int = 1, name: str = "", purl: str = PURL
) -> Listed:  # fmt: skip
    """`brings_to`: versions, each with a build-id or an empty text."""
    name = name or f"H{level}"
    image = Image(
        architecture="x86_64", member="x86_64.o", digest="0" * 64, functions=(), bindings=(),
        target=Target(build_id=OLD, name="libdoor.so.1", kind="library"),
    )  # fmt: skip
    manifest = Manifest(
        schema=1, id=name, title="", advisories=("CVE-2026-0001",), severity="important",
        component=Component(purl=purl, name="door"), level=level, supersedes=(),
        brings_to=tuple(ShippedVersion(version=v, build_id=b) for v, b in brings_to),
        minimum_engine="0.1.0", consistency="quiescent", images=(image,),
        provenance=Provenance(builder="", compilers=(), command="", sources=()),
    )  # fmt: skip
    return Listed(Path(f"{name}.naht"), sha256(encode_manifest(manifest)).hexdigest(), manifest)


def active(listed: Listed, state: HotpatchState = "active") -> HotpatchInProcess:
    manifest = listed.manifest
    return HotpatchInProcess(
        id=manifest.id, state=state, detail="A detail.", digest=listed.digest,
        level=manifest.level, build_id=OLD, object_path="/l", advisories=manifest.advisories,
        functions=("f",), record_address=4096, memory_bytes=4096, brings_to=manifest.brings_to,
    )  # fmt: skip


def seen(disk: str, *hotpatches: HotpatchInProcess, build_id: str = OLD) -> ScannedObject:
    loaded = LoadedObject(BuildId(build_id), 0, 0, 4096, "/l", "08:01", 3)
    ids = tuple(h.id for h in hotpatches if h.state == "active")
    return ScannedObject(loaded, disk, disk != build_id, False, ids, "/l", tuple(hotpatches))


def judged(
    scanned: ScannedObject, offers: Sequence[Listed] = (), owner: Package | None = None, *,
    beyond: bool = False,
) -> Judgement:  # fmt: skip
    return judge(scanned, owner or package(), offers, beyond=beyond)


TO_NEW = offer((V_NEW, NEW))
TO_NEWER = offer((V_NEWER, NEWER), level=2)


# --- where a hotpatch would bring the code -----------------------------------------------------


@pytest.mark.parametrize(
    ("brings_to", "installed", "expected"),
    [
        ([(V_NEW, NEW)], Installed(NEW, package()), "installed"),
        ([(V_NEW, NEW)], Installed(NEW, None), "installed"),  # the build-id alone is enough
        ([(V_NEW, NEW)], Installed(NEW, package("9-9")), "installed"),  # and wins
        ([(V_NEW, "")], Installed(NEW, package()), "installed"),
        ([(V_NEW, FOREIGN), (V_NEW, NEW)], Installed(NEW, package()), "installed"),
        ([(V_NEW, FOREIGN)], Installed(NEW, package()), "other-build"),
        ([(V_NEW, FOREIGN), (V_NEW, "")], Installed(NEW, package()), "installed"),
        ([(V_NEW, "")], Installed(NEW, None), "unrelated"),
        ([(V_NEW, "")], Installed(NEW, package(source="window")), "unrelated"),
        ([], Installed(NEW, package()), "unstated"),
        ([(V_OLD, ""), (V_NEW, "")], Installed(NEW, package(V_NEWER)), "older"),
        ([(V_NEWER, NEWER)], Installed(NEW, package()), "newer"),
        ([(V_OLD, ""), (V_NEWER, "")], Installed(NEW, package()), "newer"),
    ],
)
def test_standing(
    brings_to: list[tuple[str, str]], installed: Installed, expected: str
) -> None:  # fmt: skip
    listed = offer(*brings_to)
    assert standing(listed.manifest.brings_to, PURL, installed) == expected


@pytest.mark.parametrize("purl", ["pkg:deb/debian/libdoor1", "pkg:generic/libdoor", "odd"])
def test_the_component_may_be_the_binary_package_or_none(purl: str) -> None:
    listed = offer((V_NEW, ""), purl=purl)
    assert standing(listed.manifest.brings_to, purl, Installed(NEW, package())) == "installed"


# --- nothing is in memory yet ------------------------------------------------------------------


def test_current_code_is_not_mentioned() -> None:
    assert judged(seen(OLD)).state is None
    assert judged(seen(OLD), [offer((V_OLD, OLD))], package(V_OLD)).state is None


def test_old_code_is_brought_to_what_is_installed() -> None:
    found = judged(seen(NEW), [TO_NEWER, TO_NEW])
    assert (found.state, found.remedy, found.chosen) == ("stale", "hotpatch", TO_NEW)
    assert found.advisories == ("CVE-2026-0001",)


@pytest.mark.parametrize(
    ("scanned", "offers", "owner", "reason"),
    [
        (seen(NEW), [], package(), "no-hotpatch"),
        (seen(NEW), [TO_NEWER], package(), "wrong-version"),
        (seen(NEWER), [TO_NEW], package(V_NEWER), "wrong-version"),
        (seen(FOREIGN), [TO_NEW], package(), "other-build"),
        (seen(NEW), [offer()], package(), "version-unstated"),
        (seen(NEW), [offer((V_NEW, ""), purl="pkg:deb/debian/window")], package(),
         "other-component"),
        (seen(""), [TO_NEW], package(), "nothing-installed"),
        (seen(""), [offer((V_NEW, ""))], package(), "nothing-installed"),
        (seen("", build_id=""), [], package(), "no-build-id"),
    ],
)  # fmt: skip
def test_why_not(scanned: ScannedObject, offers: list[Listed], owner: Package, reason: str) -> None:
    if not scanned.object.build_id:
        scanned = replace(scanned, stale=True)
    found = judged(scanned, offers, owner)
    assert (found.state, found.remedy, found.chosen) == ("stale", "restart", None)
    assert found.reason == reason
    assert found.cause and found.next_step


def test_disk_and_memory_may_both_be_exposed() -> None:
    found = judged(seen(OLD), [TO_NEW], package(V_OLD))
    assert (found.state, found.remedy, found.chosen) == ("exposed", "upgrade", None)
    asked = judged(seen(OLD), [TO_NEW, TO_NEWER], package(V_OLD), beyond=True)
    assert (asked.state, asked.remedy, asked.chosen) == ("exposed", "hotpatch", TO_NEWER)
    assert asked.reason == "beyond-installed"


# --- a hotpatch is in memory -------------------------------------------------------------------


def test_healed_whatever_the_library_holds() -> None:
    for offers in ([], [TO_NEW], [TO_NEW, TO_NEWER]):
        found = judged(seen(NEW, active(TO_NEW)), offers)
        assert (found.state, found.remedy) == ("healed", "none")


def test_a_higher_level_replaces_and_a_lower_never_does() -> None:
    again = offer((V_NEW, NEW), level=5)
    found = judged(seen(NEW, active(TO_NEW)), [again])
    assert (found.state, found.remedy, found.chosen) == ("healed", "hotpatch", again)
    assert judged(seen(NEW, active(again)), [TO_NEW]).remedy == "none"
    wrong = offer((V_OLD, ""), level=9, name="W")
    held = judged(seen(NEW, active(wrong)), [TO_NEW])
    assert (held.state, held.remedy, held.reason) == ("hotpatched", "restart", "newer-active")


def test_ahead_of_the_disk() -> None:
    for scanned in (seen(NEW, active(TO_NEWER)), seen(OLD, active(TO_NEWER))):
        found = judged(scanned, [TO_NEWER], package(V_NEW if scanned.stale else V_OLD))
        assert (found.state, found.remedy) == ("ahead", "upgrade")
        assert "CVE-2026-0001" in found.cause


def test_a_hotpatch_that_says_nothing_of_versions() -> None:
    mute = offer(name="MUTE")
    assert judged(seen(OLD, active(mute)), [mute]).state == "ahead"
    found = judged(seen(NEW, active(mute)), [mute])
    assert (found.state, found.remedy) == ("hotpatched", "restart")
    assert "MUTE is active" in found.cause
    better = offer((V_NEW, NEW), level=2)
    assert judged(seen(NEW, active(mute)), [mute, better]).chosen == better


def test_altered_is_never_called_healed() -> None:
    found = judged(seen(NEW, active(TO_NEW, "altered")), [TO_NEW])
    assert (found.state, found.remedy, found.chosen) == ("altered", "restart", None)


@pytest.mark.parametrize("state", ["pending", "inactive", "unloaded"])
def test_what_does_not_run_does_not_count(state: HotpatchState) -> None:
    found = judged(seen(NEW, active(TO_NEW, state)), [TO_NEW])
    assert (found.state, found.remedy, found.chosen) == ("stale", "hotpatch", TO_NEW)


# --- for all of them ---------------------------------------------------------------------------

BUILDS = st.sampled_from([OLD, NEW, NEWER, FOREIGN])
KNOWN = BUILDS | st.just("")
VERSIONS = st.sampled_from([V_OLD, V_NEW, V_NEWER, "2"])
OFFERS = st.builds(
    lambda pairs, level, name: offer(*pairs, level=level, name=name),
    st.lists(st.tuples(VERSIONS, KNOWN), max_size=3), st.integers(1, 4),
    st.sampled_from(["A", "B", "C"]),
)  # fmt: skip
OWNERS = st.builds(package, VERSIONS, st.sampled_from(["door", "window"])) | st.none()
ACTIVE = st.lists(st.builds(active, OFFERS, st.sampled_from(["active", "pending", "altered"])),
                  max_size=2)  # fmt: skip


@given(KNOWN, OWNERS, st.lists(OFFERS, max_size=5), ACTIVE, st.booleans())
def test_what_always_holds(
    disk: str, owner: Package | None, offers: list[Listed], hotpatches: list[HotpatchInProcess],
    beyond: bool,
) -> None:  # fmt: skip
    scanned = seen(disk, *hotpatches)
    found = judge(scanned, owner, offers, beyond=beyond)
    assert (found.chosen is not None) == (found.remedy == "hotpatch")
    assert found.remedy != "restart" or (found.cause and found.next_step and found.reason)
    if scanned.stale:
        assert found.state is not None  # old code is never passed over in silence
    if any(h.state == "altered" for h in hotpatches):
        assert found.chosen is None
    if found.chosen:
        assert_right_to_choose(found.chosen, scanned, owner, beyond=beyond)


def assert_right_to_choose(
    chosen: Listed, scanned: ScannedObject, owner: Package | None, *, beyond: bool
) -> None:
    assert scanned.disk_build_id
    levels = [h.level for h in scanned.hotpatches if h.state == "active"]
    assert all(chosen.manifest.level > level for level in levels)
    same_build = [v for v in chosen.manifest.brings_to if v.build_id == scanned.disk_build_id]
    if same_build:
        return
    assert owner is not None and owner.source == "door"
    brings_to = chosen.manifest.brings_to
    same = [v for v in brings_to if compare_versions(v.version, owner.source_version) == 0]
    if same:
        assert any(not v.build_id for v in same)  # else another build of it would be on disk
    else:
        assert beyond
        assert any(compare_versions(v.version, owner.source_version) > 0 for v in brings_to)


@given(BUILDS, OWNERS, st.lists(OFFERS, max_size=5), st.randoms())
def test_the_order_of_the_library_does_not_matter(
    disk: str, owner: Package | None, offers: list[Listed], random: object
) -> None:
    installed = Installed(disk, owner)
    shuffled = sorted(offers, key=lambda _: random.random())  # type: ignore[attr-defined]
    one, other = (choose(o, installed, beyond=True) for o in (offers, shuffled))
    assert (one and one.digest, one and one.manifest.level) == (
        other and other.digest, other and other.manifest.level,
    )  # fmt: skip
