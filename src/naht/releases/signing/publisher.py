"""What a publisher does: a new repository, a hotpatch added, promoted, withdrawn.

A hotpatch enters through the first channel only, and goes on one channel at a time as the very same
bytes. Refuses another file under an id that was ever used, and a promotion that skips a channel.
Commits nothing: `Edition.commit` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from securesystemslib.signer import Key
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import DelegatedRole, Root, TargetFile

from naht.elf.file import ElfFile
from naht.errors import HostileInputError, UsageError
from naht.hotpatch.container import MAX_FILE_SIZE, HotpatchFile, unpack_hotpatch
from naht.hotpatch.image import check_image
from naht.releases.records import ObjectRecord, Offer, Withdrawal, decode_record, encode_record
from naht.releases.roles import (
    CHANNELS,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    channel_paths,
    check_hotpatch_id,
    hotpatch_path,
    object_path,
    previous_channel,
    provenance_path,
    withdrawn_path,
)
from naht.releases.signing.edition import Edition
from naht.releases.signing.folder import read_bounded
from naht.releases.signing.placement import Shelf, delegations_of

MOST_OFFERS = 500  # for one build-id; hotpatches are cumulative, so the lowest levels go
KEYED_ROLES = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP, *CHANNELS)


class Holders(msgspec.Struct, frozen=True):
    """The keys of one role, and how many of them must sign."""

    keys: Sequence[Key]
    threshold: int


def found(edition: Edition, holders: Mapping[str, Holders]) -> None:
    """The first version of every role of an empty repository."""
    with edition.edit_root() as root:
        for role in (ROOT, TARGETS, SNAPSHOT, TIMESTAMP):
            _grant(root, role, holders[role])
    with edition.edit_targets() as targets:
        delegations = delegations_of(targets)
        assert delegations.roles is not None  # noqa: S101  (made so)
        for channel in CHANNELS:
            held = holders[channel]
            delegations.roles[channel] = DelegatedRole(
                channel, [key.keyid for key in held.keys], held.threshold, terminating=True,
                paths=channel_paths(channel),
            )  # fmt: skip
            delegations.keys |= {key.keyid: key for key in held.keys}
    for channel in CHANNELS:
        with edition.edit_targets(channel) as targets:
            delegations_of(targets)


def _grant(root: Root, role: str, held: Holders) -> None:
    for key in held.keys:
        root.add_key(key, role)
    root.roles[role].threshold = held.threshold


def add(edition: Edition, product: str, raw: bytes, provenance: bytes | None = None) -> str:
    """Puts a hotpatch into the first channel; returns its id."""
    file = unpack_hotpatch(raw)
    for image in file.manifest.images:
        check_image(ElfFile(file.images[image.member]), image)
    channel, name = CHANNELS[0], check_hotpatch_id(file.manifest.id)
    _check_unused(edition, product, file)
    content = {hotpatch_path(channel, product, name): raw}
    if provenance is not None:
        content[provenance_path(channel, product, name)] = provenance
    shelf = Shelf(edition, channel, product)
    content |= _records(edition, shelf, channel, product, file)
    shelf.change({path: _store(edition, path, data) for path, data in content.items()})
    return name


def promote(edition: Edition, product: str, name: str, channel: str) -> None:
    """From the channel before; nothing is read again but to see that it is still the same."""
    source = previous_channel(channel)
    if not source:
        raise UsageError(f"Nothing is promoted to {channel}.", "`naht repo add` adds to it.")
    old = Shelf(edition, source, product)
    hotpatch = old.get(hotpatch_path(source, product, name))
    if hotpatch is None:
        raise UsageError(
            f"{name} of {product} is not in {source}, so it cannot go to {channel}.",
            f"Channels are {', '.join(CHANNELS)}, in this order: promote it to {source} first.",
        )
    shelf = Shelf(edition, channel, product)
    if shelf.get(hotpatch_path(channel, product, name)) is not None:
        raise UsageError(f"{name} of {product} is in {channel} already.", "Nothing is to be done.")
    changes = {hotpatch_path(channel, product, name): hotpatch}
    provenance = old.get(provenance_path(source, product, name))
    if provenance is not None:
        changes[provenance_path(channel, product, name)] = provenance
    moved = {path: _copy(edition, target, path) for path, target in changes.items()}
    file = unpack_hotpatch(_read_target(edition, hotpatch))
    records = _records(edition, shelf, channel, product, file)
    moved |= {path: _store(edition, path, data) for path, data in records.items()}
    shelf.change(moved)


def withdraw(edition: Edition, product: str, name: str, reason: str, now: datetime) -> list[str]:
    """Takes it out of every channel that has it; returns these."""
    done = []
    for channel in CHANNELS:
        shelf = Shelf(edition, channel, product)
        path = hotpatch_path(channel, product, name)
        target = shelf.get(path)
        if target is None:
            continue
        notice = Withdrawal(
            id=name, digest=target.hashes["sha256"], reason=reason,
            withdrawn=now.isoformat(timespec="seconds"),
        )  # fmt: skip
        gone = withdrawn_path(channel, product, name)
        shelf.change({
            path: None,
            provenance_path(channel, product, name): None,
            gone: _store(edition, gone, encode_record(notice)),
            **_without(edition, shelf, channel, product, target),
        })  # fmt: skip
        done.append(channel)
    if not done:
        raise UsageError(f"No channel has {name} of {product}.", "`naht repo status` lists them.")
    return done


def _check_unused(edition: Edition, product: str, file: HotpatchFile) -> None:
    """An id means the same bytes for ever, in every channel, also when it was withdrawn."""
    name = file.manifest.id
    for channel in CHANNELS:
        shelf = Shelf(edition, channel, product)
        if shelf.get(withdrawn_path(channel, product, name)) is not None:
            raise UsageError(
                f"{name} was withdrawn from {product}.", "Build the hotpatch with another --id."
            )
        there = shelf.get(hotpatch_path(channel, product, name))
        if there is not None:
            same = there.hashes["sha256"] == file.digest
            raise UsageError(
                f"{channel} has {'' if same else 'another '}{name} of {product} already.",
                "Promote it with `naht repo promote`."
                if same
                else "Build the hotpatch with another --id.",
            )


def _records(
    edition: Edition, shelf: Shelf, channel: str, product: str, file: HotpatchFile
) -> dict[str, bytes]:
    """The records of the hotpatch's objects, with the hotpatch in them."""
    offer = Offer(id=file.manifest.id, level=file.manifest.level, digest=file.digest)
    changed = {}
    for build_id in sorted({image.target.build_id for image in file.manifest.images}):
        path = object_path(channel, product, build_id)
        known = _read_record(edition, shelf.get(path))
        others = known.hotpatches if known else ()
        offers = sorted((*others, offer), key=lambda o: o.level)[-MOST_OFFERS:]
        record = ObjectRecord(build_id=build_id, hotpatches=tuple(offers))
        changed[path] = encode_record(record)
    return changed


def _without(
    edition: Edition, shelf: Shelf, channel: str, product: str, target: TargetFile
) -> dict[str, TargetFile | None]:
    file = unpack_hotpatch(_read_target(edition, target))
    changed: dict[str, TargetFile | None] = {}
    for build_id in {image.target.build_id for image in file.manifest.images}:
        path = object_path(channel, product, build_id)
        known = _read_record(edition, shelf.get(path))
        left = tuple(o for o in known.hotpatches if o.id != file.manifest.id) if known else ()
        record = ObjectRecord(build_id=build_id, hotpatches=left)
        changed[path] = _store(edition, path, encode_record(record)) if left else None
    return changed


def _read_record(edition: Edition, target: TargetFile | None) -> ObjectRecord | None:
    return None if target is None else decode_record(_read_target(edition, target), ObjectRecord)


def _read_target(edition: Edition, target: TargetFile) -> bytes:
    path = edition.folder.target_file(target.path, target.hashes["sha256"])
    raw = read_bounded(path, MAX_FILE_SIZE)
    try:
        target.verify_length_and_hashes(raw)
    except RepositoryError as error:
        raise HostileInputError(
            f"{path} is not what was signed.", "Bring the file back from a copy, then try again."
        ) from error
    return raw


def _store(edition: Edition, path: str, content: bytes) -> TargetFile:
    edition.folder.write_target(path, content)
    return TargetFile.from_data(path, content, ["sha256"])


def _copy(edition: Edition, target: TargetFile, path: str) -> TargetFile:
    edition.folder.copy_target(target.path, path, target.hashes["sha256"])
    return TargetFile(target.length, dict(target.hashes), path, dict(target.unrecognized_fields))
