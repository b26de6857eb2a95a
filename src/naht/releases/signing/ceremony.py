"""Signing what is there: staged changes, what will expire, and who may sign at all.

Owns the order: a staged change is completed first, then everything that is due and that the keys at
hand can sign is signed anew. A key that is taken from a role takes all its signatures with it: the
roles that it signed are signed anew by the others. Refuses a threshold that the keys cannot meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from securesystemslib.signer import Key
from tuf.api.metadata import Root, Targets

from naht.errors import UsageError
from naht.releases.roles import CHANNELS, ONLINE, ROOT, SEPARATOR, TARGETS, TIMESTAMP, parent_of
from naht.releases.signing.edition import Committed, Edition
from naht.releases.signing.folder import RepositoryFolder
from naht.releases.signing.keys import Keyring

KEPT_FRESH = 3  # a role is due when less than one in so many parts of its period remains


class Signed(msgspec.Struct, frozen=True):
    staged: Committed | None  # None: nothing was staged
    renewed: Committed | None  # None: nothing was due that the keys could sign


def sign(folder: RepositoryFolder, keyring: Keyring, now: datetime) -> Signed:
    """What a timer runs daily with the online keys, and a person with the others when asked to."""
    staged = None
    if folder.staged_roles():
        edition = Edition(folder, keyring, now)
        edition.resume()
        staged = edition.commit()
    return Signed(staged, _renew(folder, keyring, now))


def _renew(folder: RepositoryFolder, keyring: Keyring, now: datetime) -> Committed | None:
    edition = Edition(folder, keyring, now)
    if not all(_can_sign(edition, role) for role in ONLINE):
        return None
    staged = folder.staged_roles()
    for role in edition.published.versions:
        due = role == TIMESTAMP or (role not in staged and _is_due(edition, role, now))
        if due and _can_sign(edition, role):
            edition.touch(role)
    return edition.commit()


def _is_due(edition: Edition, role: str, now: datetime) -> bool:
    if role not in (ROOT, *ONLINE) and not is_in_use(edition, role):
        return False
    left: timedelta = edition.published.load(role).signed.expires - now
    return left < timedelta(days=edition.periods.of(role)) / KEPT_FRESH


def is_in_use(edition: Edition, role: str) -> bool:
    """Bins that were spread again are still named by the snapshot, and by nobody else."""
    try:
        edition.delegator(role).get_delegated_role(role)
    except ValueError:
        return False
    return True


def _can_sign(edition: Edition, role: str) -> bool:
    wanted = edition.delegator(role).get_delegated_role(role)
    return sum(map(edition.keyring.can_sign, wanted.keyids)) >= wanted.threshold


def change_keys(
    edition: Edition, role: str, *, add: Sequence[Key], remove: Sequence[str],
    threshold: int | None,
) -> None:  # fmt: skip
    """`remove`: key ids. All that the role's keys vouch for is signed anew by who is left."""
    if role not in (ROOT, TARGETS, *ONLINE, *CHANNELS):
        raise UsageError(
            f"{role} has no keys of its own.", f"Name one of root, targets, {', '.join(CHANNELS)}."
        )
    for delegating, delegated in _delegations(edition, role):
        with edition.edit(delegating) as signed:
            assert isinstance(signed, Root | Targets)  # noqa: S101  (only these delegate)
            _exchange(signed, delegated, add, remove, threshold)
    for below in _vouched_for(edition, role):
        edition.touch(below)


def _delegations(edition: Edition, role: str) -> list[tuple[str, str]]:
    """(who delegates, to whom), wherever the role's keys are named: a channel's products and their
    bins have the channel's keys, and all bins of a product are one delegation."""
    if role not in CHANNELS:
        return [(parent_of(role) or ROOT, role)]
    chosen: dict[tuple[bool, str], str] = {}
    for below in _vouched_for(edition, role):
        is_bin = below.count(SEPARATOR) > 1
        chosen.setdefault((is_bin, parent_of(below) if is_bin else below), below)
    return [(parent_of(delegated), delegated) for delegated in chosen.values()]


def _vouched_for(edition: Edition, role: str) -> list[str]:
    if role not in CHANNELS:
        return [role] if role != ROOT else []
    below = [r for r in edition.published.versions if r.startswith(role + SEPARATOR)]
    return [role, *(r for r in below if is_in_use(edition, r))]


def _exchange(
    delegator: Root | Targets, role: str, add: Sequence[Key], remove: Sequence[str],
    threshold: int | None,
) -> None:  # fmt: skip
    for key in add:
        delegator.add_key(key, role)
    for keyid in remove:
        if keyid not in delegator.get_delegated_role(role).keyids:
            raise UsageError(f"{role} has no key {keyid}.", "`naht repo status` lists its keys.")
        delegator.revoke_key(keyid, role)
    delegated = delegator.get_delegated_role(role)
    if threshold is not None:
        delegated.threshold = threshold
    if len(delegated.keyids) < delegated.threshold:
        raise UsageError(
            f"{role} would have {len(delegated.keyids)} keys and need {delegated.threshold}.",
            "Add another key, or lower the threshold.",
        )
