"""Puts targets into the role that is responsible for them: a product's own, or one of its bins.

A product begins with one role, and is spread over hashed bins (TAP 15) when that role has grown;
bins that have grown are spread again. Roles that are no longer used stay in the snapshot, because
no client accepts that one disappears.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tuf.api.metadata import DelegatedRole, Delegations, SuccinctRoles, TargetFile, Targets

from naht.releases.roles import (
    MOST_TARGETS,
    TARGETS,
    bins_prefix,
    check_channel,
    more_bits,
    product_paths,
    product_role,
)
from naht.releases.signing.edition import Edition

Changes = Mapping[str, TargetFile | None]
"""Target path → what it is now; None: it goes."""


class Shelf:
    """What one channel has of one product."""

    def __init__(self, edition: Edition, channel: str, product: str) -> None:
        self._edition = edition
        self._channel = channel
        self._product = product
        self._role = product_role(channel, product)

    @property
    def is_there(self) -> bool:
        return self._edition.exists(self._role)

    def get(self, path: str) -> TargetFile | None:
        if not self.is_there:
            return None
        return self._edition.targets(self._role_for(path)).targets.get(path)

    def all(self) -> Iterator[TargetFile]:
        for role in self._roles():
            yield from self._edition.targets(role).targets.values()

    def change(self, changes: Changes) -> None:
        if not self.is_there:
            self._delegate()
        touched = set()
        for path, target in changes.items():
            role = self._role_for(path)
            with self._edition.edit_targets(role) as targets:
                if target is None:
                    targets.targets.pop(path, None)
                else:
                    targets.targets[path] = target
            touched.add(role)
        if any(len(self._edition.targets(role).targets) > MOST_TARGETS for role in touched):
            self._spread()

    def _bins(self) -> SuccinctRoles | None:
        delegations = self._edition.targets(self._role).delegations
        return delegations.succinct_roles if delegations else None

    def _role_for(self, path: str) -> str:
        bins = self._bins()
        return bins.get_role_for_target(path) if bins else self._role

    def _roles(self) -> list[str]:
        if not self.is_there:
            return []
        bins = self._bins()
        return list(bins.get_roles()) if bins else [self._role]

    def _delegate(self) -> None:
        """A product has its channel's keys and threshold until it is given others."""
        top = self._edition.targets(TARGETS)
        channel = top.get_delegated_role(self._channel)
        with self._edition.edit_targets(self._channel) as targets:
            delegations = delegations_of(targets)
            assert delegations.roles is not None  # noqa: S101  (channels have no bins)
            delegations.roles[self._role] = DelegatedRole(
                self._role, list(channel.keyids), channel.threshold, terminating=True,
                paths=product_paths(self._channel, self._product),
            )  # fmt: skip
            delegations.keys |= {keyid: top.get_key(keyid) for keyid in channel.keyids}
        self._edition.touch(self._role)

    def _spread(self) -> None:
        everything = list(self.all())
        old = self._bins()
        above = self._edition.delegator(self._role)
        responsible = above.get_delegated_role(self._role)
        bits = more_bits(old.bit_length if old else 0)
        if old and bits == old.bit_length:
            return
        bins = SuccinctRoles(
            list(responsible.keyids), responsible.threshold, bits,
            bins_prefix(self._channel, self._product, bits),
        )  # fmt: skip
        keys = {keyid: above.get_key(keyid) for keyid in responsible.keyids}
        if old:
            self._edition.forget(old.get_roles())
        with self._edition.edit_targets(self._role) as targets:
            targets.targets.clear()
            targets.delegations = Delegations(keys, succinct_roles=bins)
        for role, content in _sort_into(bins, everything).items():
            with self._edition.edit_targets(role) as targets:
                targets.targets = content


def _sort_into(
    bins: SuccinctRoles, everything: list[TargetFile]
) -> dict[str, dict[str, TargetFile]]:
    """Empty bins are roles, too: a client that looks for what is not there must see so."""
    sorted_: dict[str, dict[str, TargetFile]] = {role: {} for role in bins.get_roles()}
    for target in everything:
        sorted_[bins.get_role_for_target(target.path)][target.path] = target
    return sorted_


def delegations_of(targets: Targets) -> Delegations:
    if targets.delegations is None:
        targets.delegations = Delegations({}, roles={})
    return targets.delegations


def products_of(edition: Edition, channel: str) -> list[str]:
    delegations = edition.targets(check_channel(channel)).delegations
    roles = (delegations.roles if delegations else None) or {}
    return [role.removeprefix(f"{channel}_") for role in roles]
