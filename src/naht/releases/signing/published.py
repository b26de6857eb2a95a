"""What the repository's folder says now, believed only as far as it is signed.

The timestamp names the snapshot, the snapshot names the version of every role: files that are not
named so do not exist for us, whoever put them there. Refuses (UntrustedError) a role whose
signatures its delegator does not accept, so that nothing forged is ever signed anew. It judges no
expiry: what has expired is there to be signed again.
"""

from __future__ import annotations

from typing import Any, cast

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from naht.errors import UntrustedError
from naht.releases.roles import ROOT, SNAPSHOT, TIMESTAMP, parent_of
from naht.releases.signing.folder import RepositoryFolder


class Published:
    """Each call gives a copy of its own, so that it may be edited."""

    def __init__(self, folder: RepositoryFolder) -> None:
        self.folder = folder
        self._raw: dict[str, bytes] = {}
        self._delegators: dict[str, Root | Targets] = {}
        self._versions: dict[str, int] | None = None

    @property
    def root(self) -> Root:
        return cast("Root", self.load(ROOT).signed)

    @property
    def versions(self) -> dict[str, int]:
        """Of every role that the snapshot names, root, snapshot and timestamp included."""
        if self._versions is None:
            self._versions = self._read_versions()
        return self._versions

    def _read_versions(self) -> dict[str, int]:
        root = self.folder.newest_root()
        if not root:
            return {}
        versions = {ROOT: root}
        timestamp = self._load(TIMESTAMP, None).signed
        assert isinstance(timestamp, Timestamp)  # noqa: S101  (for mypy: `_load` has checked)
        versions |= {TIMESTAMP: timestamp.version, SNAPSHOT: timestamp.snapshot_meta.version}
        snapshot = self._load(SNAPSHOT, timestamp.snapshot_meta.version).signed
        assert isinstance(snapshot, Snapshot)  # noqa: S101
        named = {n.removesuffix(".json"): meta.version for n, meta in snapshot.meta.items()}
        return versions | named

    def has(self, role: str) -> bool:
        return role in self.versions

    def load(self, role: str) -> Metadata[Any]:
        if role == ROOT:
            return self._load(ROOT, self.folder.newest_root())
        return self._load(role, None if role == TIMESTAMP else self.versions[role])

    def targets(self, role: str) -> Targets:
        return cast("Targets", self.load(role).signed)

    def delegator(self, role: str) -> Root | Targets:
        """Who vouches for the role. Not to be edited: it is kept."""
        above = parent_of(role) or ROOT
        if above not in self._delegators:
            self._delegators[above] = cast("Root | Targets", self.load(above).signed)
        return self._delegators[above]

    def raw(self, role: str) -> bytes:
        self.load(role)
        return self._raw[role]

    def _load(self, role: str, version: int | None) -> Metadata[Any]:
        known = self._raw.get(role)
        raw = self.folder.read_metadata(role, version) if known is None else known
        metadata = parse_role(role, raw)
        if known is None:
            vouching = metadata.signed if role == ROOT else self.delegator(role)
            self._check(role, version, metadata, vouching)
            self._raw[role] = raw
        return metadata

    def _check(
        self, role: str, version: int | None, metadata: Metadata[Any], delegator: Root | Targets
    ) -> None:
        try:
            delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        except (RepositoryError, ValueError) as error:
            raise UntrustedError(
                "bad-signature",
                f"The published role {role} is not signed as it must be: {error}.",
                "Somebody altered the folder: bring it back from a copy that `naht repo verify` "
                "accepts.",
            ) from error
        if version is not None and metadata.signed.version != version:
            raise UntrustedError(
                "rollback",
                f"The published role {role} has version {metadata.signed.version}, not {version}.",
                "Bring the folder back from a copy that `naht repo verify` accepts.",
            )


_KINDS = {ROOT: Root, SNAPSHOT: Snapshot, TIMESTAMP: Timestamp}


def parse_role(role: str, raw: bytes) -> Metadata[Any]:
    kind = _KINDS.get(role, Targets)
    try:
        metadata = Metadata[Any].from_bytes(raw)
    except DeserializationError as error:
        raise UntrustedError(
            "malformed", f"The role {role} is not TUF metadata.", "Bring it back from a copy."
        ) from error
    if not isinstance(metadata.signed, kind):
        raise UntrustedError(
            "malformed", f"The role {role} is of another kind.", "Bring it back from a copy."
        )
    return metadata
