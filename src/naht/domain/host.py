"""What is found on a host: objects in live processes that are not what is installed. Facts only."""

from __future__ import annotations

from typing import Literal

import msgspec

from naht.domain.package import Package
from naht.domain.process import LoadedObject, ProcessKey

FindingState = Literal["stale", "hotpatched", "healed", "ahead", "exposed", "altered"]
"""stale: the process runs old code, the disk holds other code.
hotpatched: a hotpatch is active; that it brings the code to what is installed is not known.
healed: a hotpatch is active that brings the code to what is installed.
ahead: a hotpatch is active that brings the code beyond what is installed: a restart undoes it.
exposed: memory and disk are the same, and the library holds a hotpatch beyond both.
altered: the code or the record of a hotpatch is not what was written."""

Remedy = Literal["none", "hotpatch", "restart", "upgrade"]
"""What brings memory and disk together: nothing is needed, a hotpatch of the library, a restart, or
the newer package on disk."""

FindingReason = Literal[
    "", "no-hotpatch", "wrong-version", "other-build", "version-unstated", "other-component",
    "nothing-installed", "no-build-id", "newer-active", "altered", "beyond-installed",
    "higher-level",
]  # fmt: skip
"""Why the remedy is no hotpatch, or what to know of it. A refusal of the engine brings its own."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One object of one process."""

    key: ProcessKey
    command: str
    object: LoadedObject
    state: FindingState
    remedy: Remedy
    where: str = ""  # "": the host itself; else the container or chroot
    unit: str = ""  # the systemd unit that runs the process
    installed_path: str = ""
    disk_build_id: str = ""
    package: Package | None = None  # that owns the file on disk
    active: tuple[str, ...] = ()  # ids of hotpatches active on the object
    hotpatch: str = ""  # id of the library's hotpatch that is the remedy
    digest: str = ""  # of that file
    advisories: tuple[str, ...] = ()  # what that one closes, or what the active ones keep closed
    reason: str = ""
    cause: str = ""
    next_step: str = ""


OtherKind = Literal["script", "data"]


class OldFile(msgspec.Struct, frozen=True, kw_only=True):
    """Something old in a process that no hotpatch is for: a script, or data that it has mapped."""

    key: ProcessKey
    command: str
    kind: OtherKind
    path: str
    where: str = ""
    unit: str = ""
    package: Package | None = None
