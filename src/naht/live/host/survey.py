"""Looks at every process of the host and finds what is not what is installed.

Owns the join: what an engine sees in processes, what packages put on disk in each process's own
root, and what the library of hotpatches offers. It changes nothing, and leaves the judging to
`judgement`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from naht.domain.host import Finding, OldFile
from naht.domain.process import ScannedObject, ScannedProcess
from naht.errors import NahtError
from naht.hotpatch.library import Library, Listed
from naht.hotpatch.verified import VerifiedHotpatch
from naht.live.engine import Engine, Progress
from naht.live.host.judgement import Judgement, judge
from naht.live.host.old_files import find_old_files
from naht.live.host.places import NOWHERE, Location, Packages, locate


class Survey(msgspec.Struct, frozen=True):
    processes: tuple[ScannedProcess, ...]
    findings: tuple[Finding, ...]


class Surveyor:
    """May look several times; what it learnt about the disk it keeps."""

    def __init__(
        self, engine: Engine, library: Library, *, beyond: bool = False,
        fitting: VerifiedHotpatch | None = None,
    ) -> None:  # fmt: skip
        """`fitting`: the hotpatch whose fit is asked, if any."""
        self.engine = engine
        self._fitting = fitting
        self.packages = Packages()
        self._offers = library.by_build_id()
        self._listed = {listed.digest: listed for listed in library.hotpatches}
        self._beyond = beyond

    def survey(
        self,
        pids: Iterable[int] | None = None,
        progress: Progress = lambda _done, _total: None,
    ) -> Survey:
        processes = tuple(self.engine.scan(self._fitting, pids=pids, progress=progress))
        found = [finding for process in processes for finding in self._look_at(process)]
        return Survey(processes, tuple(found))

    def listed(self, digest: str) -> Listed:
        """The hotpatch that a finding names."""
        return self._listed[digest]

    def old_files(self, processes: Sequence[ScannedProcess]) -> Iterator[OldFile]:
        """Scripts and mapped data that were replaced; no hotpatch is for such."""
        for process in processes:
            if not process.error:
                yield from find_old_files(process, self.packages)

    def _look_at(self, process: ScannedProcess) -> Iterator[Finding]:
        notable = [o for o in process.objects if self._may_matter(o)]
        if not notable:
            return
        try:
            location = locate(process.key.pid)
        except NahtError:
            location = NOWHERE
        for scanned in notable:
            if finding := self._find(process, scanned, location):
                yield finding

    def _may_matter(self, scanned: ScannedObject) -> bool:
        return scanned.stale or bool(scanned.hotpatches) or scanned.object.build_id in self._offers

    def _find(
        self, process: ScannedProcess, scanned: ScannedObject, location: Location
    ) -> Finding | None:
        owned = self.packages.owner(location.places, scanned.installed_path)
        offers = self._offers.get(scanned.object.build_id, ())
        judgement = judge(scanned, owned.package, offers, beyond=self._beyond)
        if judgement.state is None:
            return None
        return _describe(scanned, judgement, Finding(
            key=process.key, command=process.command, object=scanned.object,
            state=judgement.state, remedy=judgement.remedy,
            where=owned.where, unit=location.unit, package=owned.package,
        ))  # fmt: skip


def _describe(scanned: ScannedObject, judgement: Judgement, finding: Finding) -> Finding:
    chosen = judgement.chosen
    return msgspec.structs.replace(
        finding,
        installed_path=scanned.installed_path,
        disk_build_id=scanned.disk_build_id,
        active=scanned.applied,
        hotpatch=chosen.manifest.id if chosen else "",
        digest=chosen.digest if chosen else "",
        advisories=judgement.advisories,
        reason=judgement.reason,
        cause=judgement.cause,
        next_step=_how(judgement, finding.unit),
    )


def _how(judgement: Judgement, unit: str) -> str:
    """Names the unit wherever the way out is to restart the process."""
    text = judgement.next_step
    return text.replace("estart it.", f"estart it: systemctl restart {unit}") if unit else text
