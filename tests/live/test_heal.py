"""Survey and heal on real processes: which are old, which hotpatch is theirs, and what becomes of
them. Packages are upgraded as dpkg does it, on hosts, in containers and in chroots.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from naht.domain.host import Finding
from naht.domain.process import ProcessOutcome
from naht.hotpatch.library import Library, Listed, load_listed, read_library
from naht.hotpatch.verified import VerifiedHotpatch, accept_unsigned
from naht.live.engine import RetryPolicy
from naht.live.host.healing import Healer
from naht.live.host.survey import Surveyor
from naht.live.host.trial import try_hotpatches
from naht.live.native.engine import NativeEngine
from tests.builders.live_programs import running
from tests.builders.small_hosts import (
    NEW_VERSION,
    NEWER_VERSION,
    Builds,
    SmallHost,
    build_hotpatch,
    make_builds,
)
from tests.programs import cases

pytestmark = [pytest.mark.live, pytest.mark.compiler]

TRACER = Path(cases.__file__).with_name("tracer.py")
ENGINE = NativeEngine()
PATIENT = RetryPolicy(attempts=60)


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Builds:
    return make_builds(tmp_path_factory.mktemp("builds"))


@pytest.fixture(scope="module")
def library_folder(builds: Builds, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    build_hotpatch(builds, folder / "door.naht", f"{NEW_VERSION}={builds.build_id('new')}")
    return folder


@pytest.fixture
def library(library_folder: Path) -> Library:
    return read_library(library_folder)


@pytest.fixture
def host(tmp_path: Path, builds: Builds) -> SmallHost:
    return SmallHost(tmp_path / "root", builds)


def load(listed: Listed) -> VerifiedHotpatch:
    return accept_unsigned(load_listed(listed))


def findings_of(pid: int, library: Library, *, beyond: bool = False) -> tuple[Finding, ...]:
    surveyor = Surveyor(ENGINE, library, beyond=beyond)
    return try_hotpatches(surveyor, surveyor.survey([pid]).findings, load)


def the_library(pid: int, library: Library, *, beyond: bool = False) -> Finding:
    (found,) = [
        f for f in findings_of(pid, library, beyond=beyond) if "libdoor" in f.object.path
    ]  # fmt: skip
    return found


def heal(
    pids: Sequence[int], library: Library, *, dry_run: bool = False, beyond: bool = False
) -> list[ProcessOutcome]:
    """Only what the test itself started is ever touched."""
    surveyor = Surveyor(ENGINE, library, beyond=beyond)
    healer = Healer(
        surveyor, load, lambda finding: finding.key.pid in pids, PATIENT, dry_run=dry_run
    )
    return list(healer.run(surveyor.survey(), threading.Event()))


@pytest.mark.parametrize("kind", ["container", "chroot"])
def test_an_upgrade_is_healed_in_memory(host: SmallHost, library: Library, kind: str) -> None:
    with host.running_door(kind) as door:
        assert door.ask("s") == "welcome"
        before = the_library(door.pid, library)  # nothing is upgraded yet
        assert (before.state, before.remedy) == ("exposed", "upgrade")
        host.install("new", NEW_VERSION)
        assert door.ask("s") == "welcome"  # the upgrade alone closed nothing

        found = the_library(door.pid, library)
        assert (found.state, found.remedy, found.hotpatch) == ("stale", "hotpatch", "DOOR-1")
        assert found.package is not None
        assert (found.package.name, found.package.source) == ("libdoor1", "door")
        assert found.package.source_version == NEW_VERSION
        assert found.disk_build_id == host.builds.build_id("new")
        assert found.advisories == ("CVE-2026-0001",)
        assert (kind == "chroot") == (str(host.root) in found.where)

        (dry,) = heal([door.pid], library, dry_run=True)
        assert dry.outcome == "would-apply"
        assert door.ask("s") == "welcome"

        (done,) = heal([door.pid], library)
        assert (done.outcome, done.hotpatch, done.key.pid) == ("applied", "DOOR-1", door.pid)
        assert [door.ask("s"), door.ask("sesame")] == ["go away", "welcome"]
        healed = the_library(door.pid, library)
        assert (healed.state, healed.remedy, healed.active) == ("healed", "none", ("DOOR-1",))
        assert heal([door.pid], library) == []  # again: there is nothing left to do


def test_the_truth_is_in_the_process(host: SmallHost, library: Library, tmp_path: Path) -> None:
    """That it is healed is known without the file that healed it."""
    with host.running_door() as door:
        host.install("new", NEW_VERSION)
        heal([door.pid], library)
        assert the_library(door.pid, Library(tmp_path)).state == "healed"


def test_a_daemon_that_locked_itself_in(host: SmallHost, library: Library) -> None:
    """Its files are the container's, although it sees none of them any more."""
    with host.running_jailed() as daemon:
        assert the_library(daemon.pid, library).state == "exposed"
        host.install("new", NEW_VERSION)
        found = the_library(daemon.pid, library)
        assert (found.state, found.disk_build_id) == ("stale", host.builds.build_id("new"))
        assert found.package is not None and found.package.version == NEW_VERSION
        daemon.send("s\n")
        assert daemon.number() == 1
        assert [o.outcome for o in heal([daemon.pid], library)] == ["applied"]
        daemon.send("s\n")
        assert daemon.number() == 0


def test_two_roots_are_judged_by_their_own_packages(
    tmp_path: Path, builds: Builds, library: Library
) -> None:
    upgraded = SmallHost(tmp_path / "one", builds)
    not_upgraded = SmallHost(tmp_path / "two", builds)
    with upgraded.running_door() as one, not_upgraded.running_door() as two:
        upgraded.install("new", NEW_VERSION)
        assert [o.key.pid for o in heal([one.pid, two.pid], library)] == [one.pid]
        assert [one.ask("s"), two.ask("s")] == ["go away", "welcome"]
        exposed = the_library(two.pid, library)
        assert (exposed.state, exposed.remedy) == ("exposed", "upgrade")


def test_beyond_what_is_installed_only_when_asked_for(host: SmallHost, library: Library) -> None:
    with host.running_door() as door:
        assert heal([door.pid], library) == []
        assert door.ask("s") == "welcome"
        (done,) = heal([door.pid], library, beyond=True)
        assert done.outcome == "applied"
        assert door.ask("s") == "go away"
        ahead = the_library(door.pid, library)
        assert (ahead.state, ahead.remedy) == ("ahead", "upgrade")
        assert "CVE-2026-0001" in ahead.cause
        host.install("new", NEW_VERSION)
        assert the_library(door.pid, library).state == "healed"


def test_another_version_than_the_hotpatch_is_for(host: SmallHost, library: Library) -> None:
    with host.running_door() as door:
        host.install("new", NEWER_VERSION)
        # The very build that the hotpatch names is on disk, whatever its package calls itself.
        assert the_library(door.pid, library).remedy == "hotpatch"
        host.replace(host.builds.old / "doord", "libdoor.so.1")  # some other build
        found = the_library(door.pid, library)
        assert (found.remedy, found.reason) == ("restart", "wrong-version")
        assert NEW_VERSION in found.cause and NEWER_VERSION in found.cause
        assert heal([door.pid], library) == []
        host.register(NEW_VERSION)
        assert the_library(door.pid, library).reason == "other-build"
        (host.root / "opt/door/libdoor.so.1").unlink()
        assert the_library(door.pid, library).reason == "nothing-installed"
        assert heal([door.pid], library) == []
        assert door.ask("s") == "welcome"


def test_without_a_hotpatch_it_needs_a_restart(host: SmallHost, tmp_path: Path) -> None:
    with host.running_door() as door:
        host.install("new", NEW_VERSION)
        found = {Path(f.object.path).name: f for f in findings_of(door.pid, Library(tmp_path))}
        library = found["libdoor.so.1 (deleted)"]
        assert (library.state, library.remedy, library.reason) == (
            "stale",
            "restart",
            "no-hotpatch",
        )
        # The program was installed anew as well, but is the same: its build-id says so.
        assert "doord" not in found and "doord (deleted)" not in found


def test_children_born_meanwhile_are_healed(host: SmallHost, library: Library) -> None:
    """A hotpatch is in the children of what was healed; those of others are found by a new look."""
    with host.running_door() as first, host.running_door() as second:
        host.install("new", NEW_VERSION)
        surveyor = Surveyor(ENGINE, library)
        early = surveyor.survey([first.pid])
        wanted = {first.pid, second.pid}
        healer = Healer(surveyor, load, lambda f: f.key.pid in wanted, PATIENT, dry_run=False)
        outcomes = list(healer.run(early, threading.Event()))
        assert {o.key.pid: o.outcome for o in outcomes} == dict.fromkeys(wanted, "applied")
        assert {f.state for f in healer.findings} == {"healed"}


def test_a_higher_level_replaces_a_lower_one(
    host: SmallHost, builds: Builds, library: Library, tmp_path: Path
) -> None:
    better = tmp_path / "better"
    better.mkdir()
    build_hotpatch(
        builds, better / "two.naht", f"{NEW_VERSION}={builds.build_id('new')}", name="DOOR-2",
        level=2,
    )  # fmt: skip
    with host.running_door() as door:
        host.install("new", NEW_VERSION)
        heal([door.pid], library)
        (done,) = heal([door.pid], read_library(better))
        assert (done.outcome, done.hotpatch, done.replaced) == ("applied", "DOOR-2", ("DOOR-1",))
        assert the_library(door.pid, library).state == "healed"
        assert heal([door.pid], library) == []  # and the lower one never comes back
        assert door.ask("s") == "go away"


def test_what_the_engine_refuses_needs_a_restart(host: SmallHost, library: Library) -> None:
    with host.running_door() as door:
        host.install("new", NEW_VERSION)
        with running([sys.executable, TRACER, str(door.pid)]) as tracer:
            assert tracer.line() == "attached"
            found = the_library(door.pid, library)
            assert (found.remedy, found.reason) == ("restart", "traced")
            assert found.hotpatch == "DOOR-1" and found.next_step
            assert [o.outcome for o in heal([door.pid], library)] == ["refused"]
        assert [o.outcome for o in heal([door.pid], library)] == ["applied"]
