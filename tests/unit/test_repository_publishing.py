"""Publishers: what may be published, by whom, and that it is whole or not there at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Snapshot, Targets, Timestamp

from naht.errors import BusyError, HostileInputError, UntrustedError, UsageError
from naht.releases.client.repository import open_repository
from naht.releases.roles import CHANNELS, MOST_TARGETS, check_product, parent_of
from naht.releases.signing import publisher
from naht.releases.signing.ceremony import sign
from naht.releases.signing.folder import RepositoryFolder
from naht.releases.signing.keys import Keyring, make_key, open_signer
from naht.releases.signing.published import Published
from tests.builders.small_hotpatch import SmallHotpatch
from tests.builders.small_repository import PASSPHRASE, PRODUCT, SmallRepository, variant


@pytest.fixture
def repository(tmp_path: Path, founded_repository: SmallRepository) -> SmallRepository:
    return founded_repository.copy(tmp_path)


def fetch(repository: SmallRepository, name: str, channel: str = "broad") -> str:
    with open_repository(repository.settings(channel=channel)) as opened:
        return opened.hotpatch(name).digest


def test_a_hotpatch_goes_through_the_channels_bit_for_bit(
    repository: SmallRepository, small_hotpatch: SmallHotpatch
) -> None:
    repository.release(variant(small_hotpatch, "A-1"), "A-1")
    assert len({fetch(repository, "A-1", channel) for channel in CHANNELS}) == 1
    files = [f for f in repository.folder.targets.rglob("*.A-1.naht") if f.is_file()]
    assert len(files) == len(CHANNELS)
    assert len({os.stat(f).st_ino for f in files}) == 1  # noqa: PTH116


def test_no_channel_is_skipped(repository: SmallRepository, small_hotpatch: SmallHotpatch) -> None:
    repository.add(variant(small_hotpatch, "A-1"))
    with pytest.raises(UsageError, match="not in pilot"):
        repository.promote("A-1", "broad")
    with pytest.raises(UsageError, match="Nothing is promoted"):
        repository.promote("A-1", "candidate")
    repository.promote("A-1", "pilot")
    with pytest.raises(UsageError, match="already"):
        repository.promote("A-1", "pilot")


def test_a_file_that_changed_on_the_server_is_not_promoted(
    repository: SmallRepository, small_hotpatch: SmallHotpatch
) -> None:
    repository.add(variant(small_hotpatch, "A-1"))
    (file,) = repository.folder.targets.rglob("*.A-1.naht")
    file.write_bytes(variant(small_hotpatch, "A-1", title="another"))
    with pytest.raises(HostileInputError, match="not what was signed"):
        repository.promote("A-1", "pilot")


def test_an_id_means_the_same_bytes_for_ever(
    repository: SmallRepository, small_hotpatch: SmallHotpatch
) -> None:
    repository.add(variant(small_hotpatch, "A-1"))
    with pytest.raises(UsageError, match="has another A-1"):
        repository.add(variant(small_hotpatch, "A-1", title="another"))
    with pytest.raises(UsageError, match="has A-1"):
        repository.add(variant(small_hotpatch, "A-1"))
    repository.withdraw("A-1")
    with pytest.raises(UsageError, match="was withdrawn"):
        repository.add(variant(small_hotpatch, "A-1"))
    repository.add(variant(small_hotpatch, "A-1"), product="debian-13")  # another name


def test_what_no_host_would_take_is_not_published(repository: SmallRepository) -> None:
    with pytest.raises(HostileInputError):
        repository.add(b"PK\x03\x04 nothing")
    assert not list(repository.folder.targets.rglob("*.naht"))


@pytest.mark.parametrize("name", ["", "Debian", "a/b", "a_b", "..", "a*", "a\n", "a" * 65, "-a"])
def test_a_product_s_name_can_be_nothing_else(name: str) -> None:
    with pytest.raises(UsageError):
        check_product(name)


@pytest.mark.parametrize(
    ("role", "above"),
    [
        ("root", ""), ("targets", "root"), ("timestamp", "root"), ("pilot", "targets"),
        ("pilot_a-1", "pilot"), ("pilot_a-1_3-0", "pilot_a-1"),
    ],
)  # fmt: skip
def test_who_delegates_to_whom(role: str, above: str) -> None:
    assert parent_of(role) == above


def test_a_product_that_grows_is_spread_over_bins(
    repository: SmallRepository, small_hotpatch: SmallHotpatch
) -> None:
    """Everything is still found, in roles that stay small, and what is not there is not found."""
    count = MOST_TARGETS + 3
    repository.add(*(variant(small_hotpatch, f"A-{n}") for n in range(count)))
    published = Published(repository.folder)
    product = published.targets("candidate_debian-12")
    assert not product.targets
    assert product.delegations is not None
    bins = product.delegations.succinct_roles
    assert bins is not None
    sizes = [len(published.targets(role).targets) for role in bins.get_roles()]
    assert sum(sizes) == count + 1  # and the record of their object
    assert max(sizes) < MOST_TARGETS / 2
    with open_repository(repository.settings(channel="candidate")) as opened:
        for n in (0, 1, count - 1):
            assert opened.hotpatch(f"A-{n}").manifest.id == f"A-{n}"
        with pytest.raises(Exception, match="has no hotpatch"):
            opened.hotpatch("A-999")
    repository.withdraw("A-1")
    repository.add(variant(small_hotpatch, "B-1"))
    assert fetch(repository, "B-1", "candidate")


def test_bins_that_grow_are_spread_again(
    repository: SmallRepository, small_hotpatch: SmallHotpatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("naht.releases.signing.placement.MOST_TARGETS", 4)
    repository.add(*(variant(small_hotpatch, f"A-{n}") for n in range(6)))
    assert Published(repository.folder).has("candidate_debian-12_3-0")
    repository.add(*(variant(small_hotpatch, f"B-{n}") for n in range(60)))
    assert Published(repository.folder).has("candidate_debian-12_6-00")
    repository.later = 170  # the old bins are nobody's, and are not kept fresh
    renewed = repository.sign().renewed
    assert renewed
    assert "candidate_debian-12_6-00" in renewed.published
    assert "candidate_debian-12_3-0" not in renewed.published
    for name in ("A-0", "A-5", "B-0", "B-59"):
        assert fetch(repository, name, "candidate")


def test_a_change_without_all_signatures_waits(
    repository: SmallRepository, small_hotpatch: SmallHotpatch
) -> None:
    """The channel's key alone publishes nothing; the online keys complete it."""
    edition = repository.edition("candidate")
    publisher.add(edition, PRODUCT, variant(small_hotpatch, "A-1"))
    committed = edition.commit()
    assert (committed.published, committed.waiting, committed.online_keys) == ({}, {}, False)
    with pytest.raises(UsageError, match="waits for signatures"):
        repository.edition()
    with pytest.raises(Exception, match="has no hotpatch"):
        fetch(repository, "A-1", "candidate")
    signed = repository.sign("snapshot", "timestamp")
    assert signed.staged
    assert "candidate_debian-12" in signed.staged.published
    assert fetch(repository, "A-1", "candidate")
    assert repository.folder.staged_roles() == {}


def test_a_threshold_is_met_by_different_holders(
    repository: SmallRepository, tmp_path: Path
) -> None:
    """Two of the three root keys, which are never in one place."""
    edition = repository.edition("snapshot", "timestamp")
    edition.touch("root")
    assert edition.commit().waiting == {"root": 2}
    for number, lacking in ((1, {"root": 1}), (2, {})):
        holder = tmp_path / f"holder-{number}"
        holder.mkdir()
        for file in (repository.keys / "root").glob(f"root-{number}.*"):
            file.rename(holder / file.name)
        keyring = Keyring([holder], lambda _name: PASSPHRASE)
        staged = sign(repository.folder, keyring, repository.now).staged
        assert staged
        assert staged.waiting == lacking
    staged = repository.sign("snapshot", "timestamp").staged
    assert staged
    assert staged.published["root"] == 2


def test_the_timestamp_is_renewed_while_a_change_waits(
    repository: SmallRepository, small_hotpatch: SmallHotpatch
) -> None:
    edition = repository.edition("snapshot", "timestamp")
    publisher.add(edition, PRODUCT, variant(small_hotpatch, "A-1"))
    assert edition.commit().waiting
    renewed = repository.sign("snapshot", "timestamp").renewed
    assert renewed
    assert renewed.published == {"timestamp": 2}
    assert repository.folder.staged_roles()
    staged = repository.sign("candidate", "snapshot", "timestamp").staged
    assert staged
    assert staged.published["candidate"] == 2


def test_a_forged_role_is_never_signed_anew(
    repository: SmallRepository, small_hotpatch: SmallHotpatch
) -> None:
    """Who can write to the server's folder gets nothing signed by the publisher's next change."""
    repository.add(variant(small_hotpatch, "A-1"))
    path = repository.folder.metadata / "1.candidate_debian-12.json"
    path.write_bytes(path.read_bytes().replace(b"A-1.naht", b"E-1.naht"))
    with pytest.raises(UntrustedError) as refused:
        repository.add(variant(small_hotpatch, "A-2"))
    assert refused.value.reason == "bad-signature"


def test_files_that_nothing_signed_names_are_ignored(
    repository: SmallRepository, small_hotpatch: SmallHotpatch
) -> None:
    repository.add(variant(small_hotpatch, "A-1"))
    (repository.folder.metadata / "2.candidate_debian-12.json").write_text("{}")
    repository.add(variant(small_hotpatch, "A-2"))
    assert fetch(repository, "A-2", "candidate")


@pytest.mark.parametrize("written", range(6))
def test_a_crash_while_publishing_harms_nothing(
    repository: SmallRepository, small_hotpatch: SmallHotpatch, written: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Cut off after any number of files: hosts see the old state, and the next try publishes."""
    repository.add(variant(small_hotpatch, "A-1"))
    whole, count = RepositoryFolder.write_metadata, 0

    def crashing(self: RepositoryFolder, role: str, version: int | None, raw: bytes) -> None:
        nonlocal count
        if count == written:
            raise KeyboardInterrupt
        count += 1
        whole(self, role, version, raw)

    with monkeypatch.context() as patch:
        patch.setattr(RepositoryFolder, "write_metadata", crashing)
        try:
            repository.add(variant(small_hotpatch, "A-2"), product="debian-13")
            finished = True
        except KeyboardInterrupt:
            finished = False
    assert finished == (written >= 4)
    assert fetch(repository, "A-1", "candidate")
    if not finished:
        repository.add(variant(small_hotpatch, "A-2"), product="debian-13")
    assert fetch(repository, "debian-13/A-2", "candidate")


def test_metadata_states_sizes(repository: SmallRepository) -> None:
    """So that no mirror can send more than there is."""
    timestamp = (
        Metadata[Timestamp].from_file(str(repository.folder.metadata / "timestamp.json")).signed
    )
    meta = timestamp.snapshot_meta
    assert meta.length
    assert meta.hashes
    snapshot = Metadata[Snapshot].from_file(str(repository.folder.metadata / "1.snapshot.json"))
    assert all(info.length for info in snapshot.signed.meta.values())


def test_delegations_end_where_they_lead(repository: SmallRepository) -> None:
    """Terminating: no later role can answer for a channel's or product's paths."""
    top = Metadata[Targets].from_file(str(repository.folder.metadata / "1.targets.json")).signed
    assert top.delegations is not None
    assert top.delegations.roles is not None
    assert [(r.name, r.paths, r.terminating) for r in top.delegations.roles.values()] == [
        (channel, [f"{channel}/*/*"], True) for channel in CHANNELS
    ]


def test_two_publishers_do_not_work_at_once(repository: SmallRepository) -> None:
    with repository.folder.lock(), pytest.raises(BusyError), repository.folder.lock():
        pass


def test_a_key_that_others_can_read_does_not_sign(tmp_path: Path) -> None:
    card = make_key(tmp_path, "root-1", "secret")
    assert open_signer(tmp_path, card, lambda _: "secret").public_key.keyid == card.keyid
    with pytest.raises(UsageError, match="cannot be opened"):
        open_signer(tmp_path, card, lambda _: "wrong")
    (tmp_path / "root-1.pem").chmod(0o640)
    with pytest.raises(UsageError, match="Others can read"):
        open_signer(tmp_path, card, lambda _: "secret")


def test_no_key_is_ever_overwritten(tmp_path: Path) -> None:
    make_key(tmp_path, "root-1", "secret")
    before = (tmp_path / "root-1.pem").read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        make_key(tmp_path, "root-1", "secret")
    assert (tmp_path / "root-1.pem").read_bytes() == before
    assert b"ENCRYPTED" in before
    assert (tmp_path / "root-1.pem").stat().st_mode & 0o777 == 0o600


def test_a_card_alone_signs_nothing(tmp_path: Path) -> None:
    card = make_key(tmp_path, "root-1", None)
    (tmp_path / "root-1.pem").unlink()
    assert not Keyring([tmp_path], lambda _: "").can_sign(card.keyid)
