"""Source change → hotpatch file: the three stages of the native builder, in order.

Refuses what its stages refuse, and a switch that it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable

from naht.build.native.description import Description
from naht.build.native.emit import emit
from naht.build.native.judge import JudgeOptions, judge
from naht.build.native.pairing import build_pair
from naht.build.native.refusals import ALLOWED_KINDS
from naht.build.native.request import BuildRequest, Progress
from naht.errors import UsageError
from naht.hotpatch.container import pack_hotpatch

__all__ = ["BuildRequest", "allowances", "build_native"]


def build_native(request: BuildRequest, progress: Progress) -> bytes:
    """The bytes of the hotpatch file."""
    options = JudgeOptions(**allowances(request.allow))
    with build_pair(request, progress) as pair:
        progress("judging the change…")
        changes = judge(pair, options)
        for note in changes.notes:
            progress(f"note: {note}")
        progress(f"writing {len(changes.functions)} functions…")
        manifest, images = emit(pair, changes, _description(request))
    return pack_hotpatch(manifest, images)


def allowances(allow: Iterable[str]) -> dict[str, frozenset[str]]:
    """The fields of `JudgeOptions` from switches "kind:name", such as "data:limit"."""
    named: dict[str, set[str]] = {kind: set() for kind in ALLOWED_KINDS}
    for switch in allow:
        kind, _, name = switch.partition(":")
        if kind not in named or not name:
            raise UsageError(
                f"{switch!r} names nothing that can be allowed.",
                f"Use KIND:NAME with one of {', '.join(named)}.",
            )
        named[kind].add(name)
    return {f"allow_{kind}": frozenset(names) for kind, names in named.items()}


def _description(request: BuildRequest) -> Description:
    return Description(
        id=request.id,
        title=request.title,
        advisories=request.advisories,
        severity=request.severity,
        purl=request.purl,
        level=request.level,
        supersedes=request.supersedes,
        brings_to=request.brings_to,
        consistency=request.consistency,
    )
