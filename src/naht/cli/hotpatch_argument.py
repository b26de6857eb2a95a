"""Loads the hotpatch named on the command line, and says loudly when nobody vouches for it."""

from __future__ import annotations

from pathlib import Path

from naht.cli.documents import HotpatchReference
from naht.cli.terminal import clean, warn
from naht.errors import UsageError
from naht.hotpatch.container import read_hotpatch
from naht.hotpatch.verified import VerifiedHotpatch, accept_unsigned


def load_hotpatch(path: Path, *, unsigned_dev: bool) -> VerifiedHotpatch:
    file = read_hotpatch(path)
    if not unsigned_dev:
        raise UsageError(
            f"{path} does not come from a signed repository: nobody vouches for it.",
            "For development, add --unsigned-dev. On hosts that matter, wait for a signed release.",
        )
    warn(f"--unsigned-dev: nobody vouches for {clean(str(path))}; its code will run as it is.")
    return accept_unsigned(file)


def load_for_reading(path: Path) -> VerifiedHotpatch:
    """For commands that run nothing of it: looking needs no vouching."""
    return accept_unsigned(read_hotpatch(path))


def refer_to(hotpatch: VerifiedHotpatch) -> HotpatchReference:
    manifest = hotpatch.manifest
    return HotpatchReference(
        id=manifest.id,
        title=manifest.title,
        digest=hotpatch.digest,
        origin=hotpatch.origin,
        level=manifest.level,
        severity=manifest.severity,
        advisories=manifest.advisories,
        build_ids=tuple(image.target.build_id for image in manifest.images),
        consistency=manifest.consistency,
    )
