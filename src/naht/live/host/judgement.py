"""What to make of one object in one process: is it old, and which hotpatch brings it to what is
installed. Pure: facts in, judgement out.

The build-id of the file on disk decides wherever a hotpatch names it; only where it does not, the
version of the package that owns the file does. Nothing here ever chooses a hotpatch that brings the
code beyond what is installed, unless that was asked for: else a restart would quietly undo it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cmp_to_key
from typing import Literal
from urllib.parse import unquote

import msgspec

from naht.domain.host import FindingReason, FindingState, Remedy
from naht.domain.package import Package, ShippedVersion, compare_versions
from naht.domain.process import HotpatchInProcess, ScannedObject
from naht.hotpatch.library import Listed

Standing = Literal["installed", "newer", "older", "other-build", "unstated", "unrelated"]
"""Where a hotpatch would bring the code, as against what is installed."""

_PURL = re.compile(r"pkg:deb/[^/@?#]+/([^/@?#]+)([@?#].*)?")
RESTART = "Restart it."


class Installed(msgspec.Struct, frozen=True):
    """What is on disk in the object's place."""

    build_id: str
    package: Package | None

    @property
    def version(self) -> str:
        return self.package.source_version if self.package else ""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    state: FindingState | None  # None: nothing to say of it
    remedy: Remedy = "none"
    chosen: Listed | None = None
    reason: FindingReason = ""
    cause: str = ""
    next_step: str = ""
    advisories: tuple[str, ...] = ()


def judge(
    scanned: ScannedObject, package: Package | None, offers: Sequence[Listed], *, beyond: bool
) -> Judgement:
    """`offers`: the library's hotpatches for the object's build-id. `beyond`: those that bring it
    further than what is installed may be chosen, too."""
    installed = Installed(scanned.disk_build_id, package)
    if altered := next((h for h in scanned.hotpatches if h.state == "altered"), None):
        return _altered(altered)
    active = max(
        (h for h in scanned.hotpatches if h.state == "active"), key=lambda h: h.level, default=None
    )
    chosen = choose(offers, installed, beyond=beyond) if installed.build_id else None
    if chosen and active and active.digest == chosen.digest:
        chosen = None  # it is in
    if active:
        return _judge_active(scanned, installed, active, chosen, offers)
    if scanned.stale:
        return _judge_stale(scanned, installed, chosen, offers)
    return _judge_current(installed, chosen, offers)


def standing(brings_to: Sequence[ShippedVersion], component: str, installed: Installed) -> Standing:
    """`component`: the purl of the hotpatch's component."""
    if not brings_to:
        return "unstated"
    if any(v.build_id and v.build_id == installed.build_id for v in brings_to):
        return "installed"
    if installed.package is None or not _is_of(component, installed.package):
        return "unrelated"
    same = [v for v in brings_to if compare_versions(v.version, installed.version) == 0]
    if same:
        return "other-build" if all(v.build_id for v in same) else "installed"
    newest = max((v.version for v in brings_to), key=cmp_to_key(compare_versions))
    return "newer" if compare_versions(newest, installed.version) > 0 else "older"


def standing_of(listed: Listed, installed: Installed) -> Standing:
    manifest = listed.manifest
    return standing(manifest.brings_to, manifest.component.purl, installed)


def choose(offers: Sequence[Listed], installed: Installed, *, beyond: bool) -> Listed | None:
    """The hotpatch of the highest level that brings the code to what is installed."""
    wanted: set[Standing] = {"installed", "newer"} if beyond else {"installed"}
    fitting = [o for o in offers if standing_of(o, installed) in wanted]
    return max(fitting, key=lambda o: (o.manifest.level, o.manifest.id, o.digest), default=None)


def _is_of(component: str, package: Package) -> bool:
    """A component that is no Debian package is not contradicted by one."""
    match = _PURL.fullmatch(component)
    return not match or unquote(match[1]) in (package.name, package.source)


def _judge_active(
    scanned: ScannedObject, installed: Installed, active: HotpatchInProcess,
    chosen: Listed | None, offers: Sequence[Listed],
) -> Judgement:  # fmt: skip
    now = _standing_of_active(active, offers, installed)
    state: FindingState = "hotpatched"
    if now == "installed":
        state = "healed"
    elif now == "newer" or (now == "unstated" and not scanned.stale):
        state = "ahead"
    if chosen and chosen.manifest.level > active.level:
        reason: FindingReason = "higher-level" if state == "healed" else ""
        return _heal(state, installed, chosen, reason)
    if state == "healed" or (not scanned.stale and state == "hotpatched"):
        return Judgement(state=state, advisories=active.advisories)
    if state == "ahead":
        return _ahead(installed, active)
    if chosen:
        return _newer_active(active, chosen)
    left = _why_not(scanned, installed, offers)
    held = f"{active.id} is active, and does not bring it there. "
    return msgspec.structs.replace(left, state=state, cause=held + left.cause)


def _standing_of_active(
    active: HotpatchInProcess, offers: Sequence[Listed], installed: Installed
) -> Standing:
    """A record names no component; where the library lacks the file, the versions have to do."""
    file = next((o for o in offers if o.digest == active.digest), None)
    return standing_of(file, installed) if file else standing(active.brings_to, "", installed)


def _judge_stale(
    scanned: ScannedObject, installed: Installed, chosen: Listed | None, offers: Sequence[Listed]
) -> Judgement:
    if chosen:
        return _heal("stale", installed, chosen)
    return _why_not(scanned, installed, offers)


def _judge_current(
    installed: Installed, chosen: Listed | None, offers: Sequence[Listed]
) -> Judgement:
    """Memory is as disk is. The library may hold more than either."""
    if chosen and standing_of(chosen, installed) == "newer":
        return _heal("exposed", installed, chosen)
    newer = [o for o in offers if standing_of(o, installed) == "newer"]
    if not newer:
        return Judgement(state=None)
    best = max(newer, key=lambda o: o.manifest.level)
    return Judgement(
        state="exposed", remedy="upgrade", reason="beyond-installed",
        cause=f"{best.manifest.id} brings it to {_versions([best])}; installed is "
        f"{installed.version}.",
        next_step="Upgrade the package, then `naht heal`; or `naht heal --beyond` before that.",
        advisories=best.manifest.advisories,
    )  # fmt: skip


def _heal(
    state: FindingState, installed: Installed, chosen: Listed, reason: FindingReason = ""
) -> Judgement:
    beyond = standing_of(chosen, installed) == "newer"
    return Judgement(
        state=state,
        remedy="hotpatch",
        chosen=chosen,
        reason="beyond-installed" if beyond else reason,
        advisories=chosen.manifest.advisories,
    )


def _why_not(scanned: ScannedObject, installed: Installed, offers: Sequence[Listed]) -> Judgement:
    """Old code, and no hotpatch that brings it to what is installed."""
    by: dict[Standing, list[Listed]] = {}
    for offer in offers:
        by.setdefault(standing_of(offer, installed), []).append(offer)
    build_id = scanned.object.build_id
    if not build_id:
        return _restart("no-build-id", "Without a build-id no hotpatch can be for it.")
    if not offers:
        return _restart("no-hotpatch", f"The hotpatch library has none for {build_id}.")
    if not installed.build_id:
        return _restart("nothing-installed", "Nothing is installed in its place.")
    return _misfit(installed, by)


def _misfit(installed: Installed, by: dict[Standing, list[Listed]]) -> Judgement:
    if others := by.get("newer", []) + by.get("older", []):
        return _restart(
            "wrong-version",
            f"{_ids(others)} would bring it to {_versions(others)}; installed is "
            f"{installed.version}.",
            f"Get the hotpatch for {installed.version}, or restart it.",
        )
    if others := by.get("other-build", []):
        return _restart(
            "other-build",
            f"{_ids(others)} is for {installed.version}, but not for the build of it on disk "
            f"({installed.build_id}).",
        )
    if others := by.get("unstated", []):
        return _restart(
            "version-unstated", f"{_ids(others)} fits, but does not say to which version it brings."
        )
    others = by["unrelated"]
    owner = installed.package.name if installed.package else "no package"
    return _restart(
        "other-component",
        f"{_ids(others)} is for {others[0].manifest.component.purl}, and the file on disk belongs "
        f"to {owner}.",
    )


def _restart(reason: FindingReason, cause: str, next_step: str = RESTART) -> Judgement:
    return Judgement(
        state="stale", remedy="restart", reason=reason, cause=cause, next_step=next_step
    )


def _newer_active(active: HotpatchInProcess, chosen: Listed) -> Judgement:
    return Judgement(
        state="hotpatched", remedy="restart", reason="newer-active",
        cause=f"{active.id} (level {active.level}) is active; {chosen.manifest.id}, which brings "
        f"it to what is installed, has level {chosen.manifest.level}.",
        next_step=f"Revert {active.id} first, or restart it.",
    )  # fmt: skip


def _ahead(installed: Installed, active: HotpatchInProcess) -> Judgement:
    reopened = ", ".join(active.advisories) or "what it closes"
    return Judgement(
        state="ahead", remedy="upgrade", reason="beyond-installed",
        cause=f"{active.id} is in memory only: a restart now would reopen {reopened}.",
        next_step="Upgrade the package on disk." if installed.package else "Fix its file on disk.",
        advisories=active.advisories,
    )  # fmt: skip


def _altered(hotpatch: HotpatchInProcess) -> Judgement:
    return Judgement(
        state="altered", remedy="restart", reason="altered",
        cause=f"{hotpatch.id or 'A hotpatch'} is not what was written. {hotpatch.detail}",
        next_step=RESTART,
    )  # fmt: skip


def _ids(offers: Sequence[Listed]) -> str:
    shown = sorted(o.manifest.id for o in offers)
    return ", ".join(shown[:3]) + (" …" if len(shown) > 3 else "")


def _versions(offers: Sequence[Listed]) -> str:
    found = {v.version for o in offers for v in o.manifest.brings_to}
    shown = sorted(found, key=cmp_to_key(compare_versions))
    return ", ".join(shown[-3:])
