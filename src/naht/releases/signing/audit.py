"""Verifies a whole repository as its most suspicious host would: every role, every file.

The roles go through python-tuf's client from a pinned root, in a fresh state; then each target file
must be there with the signed length and hash. Changes nothing in the repository.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import TargetFile

from naht.errors import NahtError
from naht.hotpatch.container import MAX_FILE_SIZE
from naht.releases.client.trust import TrustedView, make_mirrors, open_view
from naht.releases.roles import ROOT, SEPARATOR, TARGETS
from naht.releases.signing.ceremony import is_in_use
from naht.releases.signing.edition import Edition
from naht.releases.signing.folder import RepositoryFolder, read_bounded


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    roles: int
    targets: int
    bytes: int
    problems: tuple[str, ...]


def audit(folder: RepositoryFolder, edition: Edition, root: bytes | None) -> Audit:
    """`root`: as hosts have pinned it; None: the repository's first one. Raises the refusal that a
    host would come to before it sees any target."""
    pinned = folder.read_metadata(ROOT, 1) if root is None else root
    mirrors = make_mirrors([str(folder.published.absolute())])
    with tempfile.TemporaryDirectory() as state:
        view = open_view(mirrors, Path(state), pinned)
        roles = [r for r in edition.published.versions if _holds_targets(edition, r)]
        checked = [list(_check_role(folder, edition, view, role)) for role in roles]
    results = [result for one in checked for result in one]
    return Audit(
        roles=len(edition.published.versions),
        targets=len(results),
        bytes=sum(size for size, _ in results),
        problems=tuple(problem for _, problem in results if problem),
    )


def _holds_targets(edition: Edition, role: str) -> bool:
    return (role == TARGETS or SEPARATOR in role) and is_in_use(edition, role)


def _check_role(
    folder: RepositoryFolder, edition: Edition, view: TrustedView, role: str
) -> Iterator[tuple[int, str]]:
    """(bytes, problem or "") of each target."""
    for path, target in edition.published.targets(role).targets.items():
        yield target.length, _problem(folder, view, path, target)


def _problem(folder: RepositoryFolder, view: TrustedView, path: str, target: TargetFile) -> str:
    try:
        if view.find(path) != target:
            return f"{path}: hosts see another file"
        file = folder.target_file(path, target.hashes.get("sha256", ""))
        target.verify_length_and_hashes(read_bounded(file, MAX_FILE_SIZE))
    except LengthOrHashMismatchError:
        return f"{path}: the file is not what was signed"
    except NahtError as error:
        return f"{path}: {error.cause}"
    return ""
