"""Drills: keys are stolen and lost, roles expire, and the clock moves. Publisher and hosts are
real; only the time is shifted.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import time_machine
from tuf.api.metadata import TargetFile

from naht.cli.main import main
from naht.errors import NothingToDoError, UntrustedError, UsageError
from naht.releases.client.repository import open_repository
from naht.releases.signing.ceremony import change_keys, sign
from naht.releases.signing.edition import Committed, Edition
from naht.releases.signing.health import examine
from naht.releases.signing.keys import Keyring, make_key
from tests.builders.small_hotpatch import SmallHotpatch
from tests.builders.small_repository import PASSPHRASE, SmallRepository, variant

TODAY = datetime.datetime.now(datetime.UTC)


@pytest.fixture
def repository(tmp_path: Path, stocked_repository: SmallRepository) -> SmallRepository:
    return stocked_repository.copy(tmp_path / "publisher")


def fetch(repository: SmallRepository, name: str = "A-1", host: str = "host") -> str:
    with open_repository(repository.settings(channel="candidate", host=host)) as opened:
        return opened.hotpatch(name).digest


def reason(repository: SmallRepository, name: str = "A-1", host: str = "host") -> str:
    with pytest.raises(UntrustedError) as refused:
        fetch(repository, name, host)
    return refused.value.reason


def rekey(
    repository: SmallRepository, role: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()
) -> Committed:
    """`add` and `remove` are names of keys in the role's folder."""
    edition = repository.edition()
    keyring = edition.keyring
    change_keys(
        edition, role, add=[keyring.named(n).key() for n in add],
        remove=[keyring.named(n).keyid for n in remove], threshold=None,
    )  # fmt: skip
    return edition.commit()


# --- expiry ---


@pytest.mark.parametrize(
    ("days", "role"), [(8, "timestamp"), (31, "snapshot"), (181, "candidate"), (366, "root")]
)
def test_what_expires_blocks_what_is_new_until_it_is_signed_again(
    repository: SmallRepository, days: int, role: str
) -> None:
    """The keys of the role alone bring it back, with the online ones."""
    fetch(repository)
    with time_machine.travel(TODAY + datetime.timedelta(days=days), tick=True):
        others = {"timestamp", "snapshot", "candidate", "root", "targets"} - {role}
        sign(repository.folder, repository.keyring("timestamp", "snapshot", *others), now())
        if role not in ("timestamp", "snapshot"):  # those are needed to publish anything
            assert reason(repository) == "expired"
        repository.sign()
        assert fetch(repository)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def test_an_expired_repository_is_refused_by_old_and_new_hosts(
    repository: SmallRepository,
) -> None:
    """Freeze: a mirror that shows for ever what was once signed."""
    fetch(repository)
    with time_machine.travel(TODAY + datetime.timedelta(days=6), tick=True):
        assert fetch(repository)
    with time_machine.travel(TODAY + datetime.timedelta(days=8), tick=True):
        assert reason(repository) == "expired"
        assert reason(repository, host="new") == "expired"
    assert fetch(repository)  # nothing was spoilt by it


def test_a_clock_far_behind_accepts_nothing_that_was_replaced(
    repository: SmallRepository, small_hotpatch: SmallHotpatch
) -> None:
    """A host whose clock goes wrong still knows the versions that it has seen."""
    old = (repository.folder.metadata / "timestamp.json").read_bytes()
    repository.withdraw("A-1")
    assert reason(repository) == "withdrawn"
    new = (repository.folder.metadata / "timestamp.json").read_bytes()
    (repository.folder.metadata / "timestamp.json").write_bytes(old)
    with time_machine.travel(TODAY - datetime.timedelta(days=300), tick=True):
        assert reason(repository) == "rollback"
    (repository.folder.metadata / "timestamp.json").write_bytes(new)
    assert reason(repository) == "withdrawn"


def test_a_year_of_the_daily_timer_and_two_ceremonies(repository: SmallRepository) -> None:
    """The online keys alone keep it alive between ceremonies; hosts never notice any of it."""
    for day in range(0, 400, 6):
        with time_machine.travel(TODAY + datetime.timedelta(days=day), tick=True):
            if day in (132, 264):
                repository.sign()
            else:
                repository.sign("snapshot", "timestamp")
            if day % 66 == 0:
                assert fetch(repository)
    assert repository.folder.newest_root() > 1


def test_status_warns_before_anything_expires(repository: SmallRepository) -> None:
    def states(days: float) -> dict[str, str]:
        at = TODAY + datetime.timedelta(days=days)
        return {r.role: r.state for r in examine(repository.folder, at).roles}

    assert set(states(0).values()) == {"fresh"}
    assert states(4)["timestamp"] == "soon"
    assert states(8)["timestamp"] == "expired"
    assert states(25)["snapshot"] == "soon"
    assert states(140)["candidate"] == states(140)["candidate_debian-12"] == "soon"
    assert states(300)["root"] == states(300)["targets"] == "soon"
    assert states(366)["root"] == "expired"


@pytest.mark.parametrize(("days", "code"), [(0, 0), (4, 8), (8, 4)])
def test_status_says_it_with_its_exit_code(
    repository: SmallRepository, days: int, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with time_machine.travel(TODAY + datetime.timedelta(days=days), tick=True):
        assert main(["repo", "status", str(repository.folder.path)]) == code
        shown = capsys.readouterr().out
        assert ("next: naht repo sign, with the keys of timestamp" in shown) == bool(code)
        assert main(["repo", "status", str(repository.folder.path), "--json"]) == code
        roles = {r["role"]: r for r in json.loads(capsys.readouterr().out)["roles"]}
    assert roles["root"]["keys"] == 3
    assert roles["root"]["threshold"] == 2
    assert roles["candidate_debian-12"]["targets"] == 2


# --- keys ---


def test_root_is_rotated_and_hosts_follow(
    repository: SmallRepository, small_hotpatch: SmallHotpatch
) -> None:
    """Key by key until none of the first is left; a host that slept through it follows, too."""
    fetch(repository)
    for number in (1, 2, 3):
        make_key(repository.keys / "root", f"new-{number}", PASSPHRASE)
        committed = rekey(repository, "root", add=[f"new-{number}"], remove=[f"root-{number}"])
        assert committed.published["root"] == number + 1
    repository.add(variant(small_hotpatch, "A-2"))
    assert fetch(repository, "A-2")
    assert fetch(repository, "A-2", host="new, with the first root pinned")


def test_a_root_that_the_old_keys_did_not_sign_is_not_published(
    repository: SmallRepository,
) -> None:
    make_key(repository.keys / "root", "new-1", PASSPHRASE)
    edition = Edition(repository.folder, Keyring([repository.keys / "root"], _ask), repository.now)
    change_keys(edition, "root", add=[edition.keyring.named("new-1").key()], remove=[],
                threshold=1)  # fmt: skip
    for number in (1, 2, 3):
        (repository.keys / "root" / f"root-{number}.pem").unlink()
    assert edition.commit().waiting == {"root": 2}
    assert repository.folder.newest_root() == 1


def _ask(_name: str) -> str:
    return PASSPHRASE


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp", "candidate"])
def test_a_stolen_key_is_worth_nothing_once_it_is_removed(
    repository: SmallRepository, small_hotpatch: SmallHotpatch, role: str
) -> None:
    """The thief keeps the key and has the server; the publisher goes on with another key."""
    thief = repository.copy(repository.home.parent / "thief")
    secret = None if role in ("snapshot", "timestamp") else PASSPHRASE
    make_key(repository.keys / role, f"{role}-9", secret)
    rekey(repository, role, add=[f"{role}-9"], remove=[f"{role}-1"])
    (repository.keys / role / f"{role}-1.pem").unlink()
    fetch(repository)
    edition = thief.edition()
    if role in ("snapshot", "timestamp"):
        edition.touch(role)
    else:
        with edition.edit_targets("candidate_debian-12" if role == "candidate" else role) as t:
            t.targets["candidate/debian-12/E-1.naht"] = TargetFile.from_data("E", b"evil")
    assert edition.commit().published
    served = thief.folder.metadata
    for path in repository.folder.metadata.glob("*.root.json"):
        (served / path.name).write_bytes(path.read_bytes())
    # What the host has seen counts: either nothing of the thief's verifies, or it is not shown.
    shown = repository.settings(str(thief.served), channel="candidate")
    with (
        pytest.raises((UntrustedError, NothingToDoError)),
        open_repository(shown) as opened,
    ):
        opened.hotpatch("E-1")
    repository.add(variant(small_hotpatch, "A-2"))
    assert fetch(repository, "A-2")
    assert fetch(repository, "A-2", host="new")


def test_a_channel_s_new_key_signs_its_products_and_bins_anew(
    repository: SmallRepository, small_hotpatch: SmallHotpatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("naht.releases.signing.placement.MOST_TARGETS", 4)
    repository.add(*(variant(small_hotpatch, f"B-{n}") for n in range(6)))
    make_key(repository.keys / "candidate", "candidate-9", PASSPHRASE)
    rekey(repository, "candidate", add=["candidate-9"], remove=["candidate-1"])
    (repository.keys / "candidate" / "candidate-1.pem").unlink()
    assert fetch(repository, "B-3")
    repository.add(variant(small_hotpatch, "B-9"))
    assert fetch(repository, "B-9", host="new")


def test_a_fast_forward_by_a_stolen_timestamp_key_is_recovered_from(
    repository: SmallRepository,
) -> None:
    """The thief signs a version that the publisher could never reach; a new key starts anew."""
    edition = repository.edition("timestamp", "snapshot")
    with edition.edit_timestamp() as timestamp:
        timestamp.version = 1 << 40
    edition.commit()
    fetch(repository)
    make_key(repository.keys / "timestamp", "timestamp-9", None)
    rekey(repository, "timestamp", add=["timestamp-9"], remove=["timestamp-1"])
    assert fetch(repository)


def test_the_last_keys_are_not_taken_away(repository: SmallRepository) -> None:
    with pytest.raises(UsageError, match="would have 1 keys and need 2"):
        rekey(repository, "root", remove=["root-1", "root-2"])
    with pytest.raises(UsageError, match="has no key"):
        rekey(repository, "snapshot", remove=["root-1"])


def test_rekey_on_the_command_line(
    repository: SmallRepository, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = repository.home / "secret"
    secret.write_text(PASSPHRASE + "\n")
    make_key(repository.keys / "broad", "broad-2", PASSPHRASE)
    keys = [w for role in ("root", "targets", "broad", "snapshot", "timestamp")
            for w in ("--keys", str(repository.keys / role))]  # fmt: skip
    words = ["repo", "rekey", str(repository.folder.path), "broad", *keys]
    words += ["--passphrase-file", str(secret)]
    assert main(words) == 2  # says neither what nor whom
    assert main([*words, "--add", "broad-2", "--remove", "broad-1"]) == 0
    capsys.readouterr()
    assert main(["repo", "status", str(repository.folder.path), "--json"]) == 0
    roles = {r["role"]: r for r in json.loads(capsys.readouterr().out)["roles"]}
    assert roles["broad"]["version"] == 2
    assert fetch(repository)


# --- the whole repository ---


def test_verify_finds_what_hosts_would_refuse(
    repository: SmallRepository, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["repo", "verify", str(repository.folder.path), "--json"]
    assert main([*words, "--root", str(repository.home / "root.json")]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["targets"], answer["problems"]) == (2, [])
    (file,) = repository.folder.targets.rglob("*.naht")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"x")
    assert main(words) == 3
    assert "not what was signed" in capsys.readouterr().out
    file.unlink()
    assert main(words) == 3
    file.write_bytes(whole)
    with time_machine.travel(TODAY + datetime.timedelta(days=8), tick=True):
        assert main(words) == 4
    other = repository.home / "other"
    other.mkdir()
    stranger = SmallRepository(other)
    stranger.found()
    capsys.readouterr()
    assert main([*words, "--root", str(other / "root.json")]) == 4
    assert json.loads(capsys.readouterr().out)["error"]["reason"] == "bad-signature"
