"""Loads the hotpatch named on the command line: by its id out of the host's repository, or, loudly,
out of a file that nobody vouches for. Refuses the latter where the host's policy forbids it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from naht.cli.documents import HotpatchReference
from naht.cli.terminal import clean, warn
from naht.errors import UsageError
from naht.hotpatch.container import read_hotpatch
from naht.hotpatch.library import SUFFIX
from naht.hotpatch.verified import VerifiedHotpatch, accept_unsigned
from naht.releases.client.settings import RepositorySettings, forbid_unsigned, read_settings

if TYPE_CHECKING:
    from naht.releases.client.repository import Repository


def load_hotpatch(
    name: str, *, unsigned_dev: bool, repository: Path | None = None
) -> VerifiedHotpatch:
    """`repository`: other settings than the host's own."""
    if unsigned_dev:
        return load_unsigned(Path(name))
    if name.endswith(SUFFIX) or Path(name).exists():
        raise UsageError(
            f"{name} does not come from a signed repository: nobody vouches for it.",
            "Name a hotpatch of the host's repository by its id. For development, add "
            "--unsigned-dev.",
        )
    with open_signed_repository(read_settings(repository)) as opened:
        return opened.hotpatch(name)


def load_unsigned(path: Path) -> VerifiedHotpatch:
    forbid_unsigned()
    file = read_hotpatch(path)
    warn(f"--unsigned-dev: nobody vouches for {clean(str(path))}; its code will run as it is.")
    return accept_unsigned(file)


def open_signed_repository(settings: RepositorySettings) -> AbstractContextManager[Repository]:
    try:  # only when a repository is asked: python-tuf takes its time
        from naht.releases.client.repository import open_repository  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise UsageError(
            f"Repositories need a library that is not here: {error.name}.",
            "pip install 'naht[repository]'",
        ) from error
    return open_repository(settings)


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
