"""One change of the repository: roles are edited in memory, signed, then published as a whole.

What lacks signatures is staged, and published by whoever adds the last one. Refuses to begin
another change meanwhile. The order of writing makes a crash harmless: nothing that is written
refers to what is not yet there, and the timestamp comes last.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, cast

import msgspec
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer
from tuf.repository import Repository

from naht.errors import UsageError
from naht.releases.roles import ONLINE, ROOT, SNAPSHOT, TIMESTAMP, parent_of
from naht.releases.signing.folder import RepositoryFolder
from naht.releases.signing.keys import Keyring
from naht.releases.signing.published import Published, parse_role

_NEW: dict[str, type[Root | Snapshot | Timestamp]] = {
    ROOT: Root, SNAPSHOT: Snapshot, TIMESTAMP: Timestamp,
}  # fmt: skip


class Committed(msgspec.Struct, frozen=True):
    """`published`: role → version. `waiting`: role → how many signatures it lacks; when something
    waits, nothing was published. `online_keys`: whether those were at hand."""

    published: dict[str, int]
    waiting: dict[str, int]
    online_keys: bool = True


class Edition(Repository):
    """`edit_targets` and its likes change roles; `commit` ends it. `now` is the time of signing."""

    def __init__(self, folder: RepositoryFolder, keyring: Keyring, now: datetime) -> None:
        self.folder = folder
        self.keyring = keyring
        self.now = now
        self.published = Published(folder)
        self.periods = folder.settings().periods
        self._pending: dict[str, Metadata[Any]] = {}

    # --- what python-tuf's Repository asks for ---

    def open(self, role: str) -> Metadata[Any]:
        if role in self._pending:
            return self._pending[role]
        if self.published.has(role):
            return self.published.load(role)
        made: Metadata[Any] = Metadata(_NEW.get(role, Targets)())
        made.signed.version = 0
        if role == SNAPSHOT:
            made.signed.meta.clear()  # python-tuf begins with an entry without a length
        if role == TIMESTAMP:
            made.signed.snapshot_meta = self.snapshot_info
        return made

    def close(self, role: str, md: Metadata[Any]) -> None:
        if role not in self._pending:
            md.signed.version += 1
        # TUF's dates have no fractions of seconds.
        md.signed.expires = (self.now + timedelta(days=self.periods.of(role))).replace(
            microsecond=0
        )
        md.signatures.clear()
        self._pending[role] = md

    @property
    def targets_infos(self) -> dict[str, MetaFile]:
        return {
            f"{role}.json": MetaFile(md.signed.version, len(serialise(md)))
            for role, md in self._pending.items()
            if isinstance(md.signed, Targets)
        }

    @property
    def snapshot_info(self) -> MetaFile:
        snapshot = self._pending.get(SNAPSHOT)
        raw = serialise(snapshot) if snapshot else self.published.raw(SNAPSHOT)
        version = snapshot.signed.version if snapshot else self.published.versions[SNAPSHOT]
        return MetaFile.from_data(version, raw, ["sha256"])

    # --- beginning and ending a change ---

    def exists(self, role: str) -> bool:
        return role in self._pending or self.published.has(role)

    def touch(self, role: str) -> None:
        """Signs it anew, with nothing changed but version and expiry."""
        with self.edit(role):
            pass

    def forget(self, roles: Iterable[str]) -> None:
        """These are as they were published, or not there."""
        for role in roles:
            self._pending.pop(role, None)

    def begin(self) -> None:
        if self.folder.staged_roles():
            raise UsageError(
                "An earlier change waits for signatures.",
                "Finish it with `naht repo sign`, or drop it with `naht repo sign --discard`.",
            )

    def resume(self) -> None:
        """Takes up the staged change, unless what it was made from has changed since."""
        for role, raw in self.folder.staged_roles().items():
            metadata = parse_role(role, raw)
            if metadata.signed.version != self.published.versions.get(role, 0) + 1:
                raise UsageError(
                    f"The staged {role} no longer follows what is published.",
                    "Drop it with `naht repo sign --discard`, then make the change again.",
                )
            self._pending[role] = metadata

    @property
    def changes(self) -> tuple[str, ...]:
        return tuple(self._pending)

    def commit(self) -> Committed:
        for role in self._pending:
            self._sign(role)
        waiting = {role: lacking for role in self._pending if (lacking := self._lacking(role))}
        online = all(self._can_sign(role) for role in ONLINE)
        if waiting or not online:
            offline = {r: md for r, md in self._pending.items() if r not in ONLINE}
            self.folder.stage({role: serialise(md) for role, md in offline.items()})
            return Committed({}, waiting, online)
        self._publish()
        self.folder.clear_staged(self._pending)
        return Committed({role: md.signed.version for role, md in self._pending.items()}, {})

    # --- signatures ---

    def delegator(self, role: str) -> Root | Targets:
        above = self._pending.get(parent_of(role) or ROOT)
        return cast("Root | Targets", above.signed) if above else self.published.delegator(role)

    def _delegators(self, role: str) -> list[Root | Targets]:
        """A new root must be signed as the new and as the old one demand."""
        if role == ROOT and self.published.has(ROOT):
            return [self.delegator(role), self.published.root]
        return [self.delegator(role)]

    def _sign(self, role: str) -> None:
        metadata = self._pending[role]
        for delegator in self._delegators(role):
            keyids = delegator.get_delegated_role(role).keyids
            wanted = [keyid for keyid in keyids if keyid not in metadata.signatures]
            for signer in self.keyring.signers(wanted):
                metadata.sign(signer, append=True)

    def _lacking(self, role: str) -> int:
        metadata = self._pending[role]
        return max(
            delegator.get_verification_result(
                role, metadata.signed_bytes, metadata.signatures
            ).missing
            for delegator in self._delegators(role)
        )

    def _can_sign(self, role: str) -> bool:
        wanted = self.delegator(role).get_delegated_role(role)
        return sum(map(self.keyring.can_sign, wanted.keyids)) >= wanted.threshold

    # --- writing ---

    def _publish(self) -> None:
        ahead = [ROOT] if ROOT in self._pending else []
        for role in (*ahead, *(r for r in self._pending if r not in (ROOT, *ONLINE))):
            self._write(role)
        if self.do_snapshot(force=SNAPSHOT in self._pending)[0]:
            self._sign(SNAPSHOT)
            self._write(SNAPSHOT)
        self.do_timestamp(force=TIMESTAMP in self._pending)
        if TIMESTAMP in self._pending:
            self._sign(TIMESTAMP)
            self._write(TIMESTAMP)

    def _write(self, role: str) -> None:
        metadata = self._pending[role]
        version = None if role == TIMESTAMP else metadata.signed.version
        self.folder.write_metadata(role, version, serialise(metadata))


def serialise(metadata: Metadata[Any]) -> bytes:
    return metadata.to_bytes(JSONSerializer(compact=True))
