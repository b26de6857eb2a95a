"""Where a device stands after a release or a feature upgrade. Pure.

Refuses a hotpatch on anything but exactly its baseline and track.
"""

from __future__ import annotations

from naht.domain.release import HOTPATCH_TYPES, Position, Product, Release
from naht.errors import RefusedError
from naht.releases.record import is_baseline


def after(position: Position, release: Release, product: Product) -> Position:
    """The position once `release` is installed."""
    if release.product != position.product:
        raise _refused("other-product", f"{release.id} is for {release.product}.")
    if is_baseline(release):
        return _at_baseline(release, product, enrolled=position.enrolled)
    if release.type in HOTPATCH_TYPES:
        return _with_hotpatch(position, release)
    return Position(product.name, "standard", release.baseline, release.level, position.enrolled)


def after_upgrade(position: Position, landed: Release, product: Product) -> Position:
    """After a feature upgrade to `product`, whose image stood at `landed`.

    An image of a hotpatch month is of the standard track, so the hotpatch track begins only with
    the next baseline."""
    if is_baseline(landed):
        return _at_baseline(landed, product, enrolled=position.enrolled)
    return Position(product.name, "standard", landed.baseline, landed.level, position.enrolled)


def _at_baseline(release: Release, product: Product, *, enrolled: bool) -> Position:
    """Here both tracks are the same, so an enrolled device is on the hotpatch track (again)."""
    joins = enrolled and "hotpatch" in product.tracks
    return Position(product.name, "hotpatch" if joins else "standard", release.id, 0, enrolled)


def _with_hotpatch(position: Position, release: Release) -> Position:
    if not release.baseline or position.baseline != release.baseline:
        raise _refused(
            "other-baseline",
            f"{release.id} stands on {release.baseline or 'an unrecorded baseline'}, the device on "
            f"{position.baseline or 'an unknown one'}.",
        )
    if position.track == "standard" and position.level:
        raise _refused("off-track", f"{release.id} is no hotpatch for the standard track.")
    if position.level > release.level:
        raise _refused("lower-level", f"The device is beyond {release.id} already.")
    return Position(
        position.product, "hotpatch", release.baseline, release.level, position.enrolled
    )


def _refused(reason: str, cause: str) -> RefusedError:
    return RefusedError(
        reason, cause, "`naht next --device FACTS.json` says what the device takes."
    )
