"""How the repository stands: what expires when, whose signatures are there, what waits.

Reads public files only; needs no keys. Judges early: a role is `soon` while there is time left to
do something about it, and only once `sign` would have renewed it long ago.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from naht.releases.roles import CHANNELS, ONLINE, ROOT, SEPARATOR, TARGETS
from naht.releases.signing.edition import Edition
from naht.releases.signing.folder import RepositoryFolder
from naht.releases.signing.keys import Keyring

State = Literal["fresh", "soon", "expired"]

# The timer renews the timestamp daily: one that has lost half of its time was not renewed for days.
_WARN = {"timestamp": 2}
_WARN_OTHERS = (
    4  # `sign` renews at a third; a quarter left means that it was not run with these keys
)


class RoleHealth(msgspec.Struct, frozen=True, kw_only=True):
    """`bins`: how many roles like this one are told of together; the first to expire is shown."""

    role: str
    version: int
    expires: datetime
    state: State
    keys: int
    threshold: int
    bins: int = 0
    targets: int = 0


class Health(msgspec.Struct, frozen=True, kw_only=True):
    roles: tuple[RoleHealth, ...]
    staged: tuple[str, ...]


def examine(folder: RepositoryFolder, now: datetime) -> Health:
    edition = Edition(folder, Keyring((), lambda _name: ""), now)
    roles = [ROOT, *ONLINE, TARGETS, *CHANNELS]
    roles += sorted(r for r in edition.published.versions if r.count(SEPARATOR) == 1)
    found = tuple(_examine_role(edition, role, now) for role in roles)
    return Health(roles=found, staged=tuple(folder.staged_roles()))


def _examine_role(edition: Edition, role: str, now: datetime) -> RoleHealth:
    """A product speaks for its bins."""
    together = [role, *_bins_of(edition, role)]
    first = min(together, key=lambda r: edition.published.load(r).signed.expires)
    signed = edition.published.load(first).signed
    delegated = edition.published.delegator(role).get_delegated_role(role)
    is_product = SEPARATOR in role
    return RoleHealth(
        role=role, version=edition.published.versions[role], expires=signed.expires,
        state=judge(role, signed.expires - now, edition.periods.of(role)),
        keys=len(delegated.keyids), threshold=delegated.threshold, bins=len(together) - 1,
        targets=sum(len(edition.published.targets(r).targets) for r in together)
        if is_product else 0,
    )  # fmt: skip


def judge(role: str, left: timedelta, period: int) -> State:
    if left <= timedelta(0):
        return "expired"
    part = timedelta(days=period) / _WARN.get(role, _WARN_OTHERS)
    return "soon" if left < part else "fresh"


def _bins_of(edition: Edition, role: str) -> Iterator[str]:
    if SEPARATOR not in role:
        return
    delegations = edition.published.targets(role).delegations
    if delegations and delegations.succinct_roles:
        yield from delegations.succinct_roles.get_roles()
