"""Hosts against servers, over real HTTP on loopback: honest ones, broken ones and hostile ones.

What is accepted is compared with what the publisher added; a refusal is judged by its reason.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata

from naht.errors import (
    BusyError,
    NahtError,
    NothingToDoError,
    ToolError,
    UntrustedError,
    UsageError,
)
from naht.hotpatch.container import unpack_hotpatch
from naht.releases.client import transport, trust
from naht.releases.client.repository import open_repository
from naht.releases.client.settings import RepositorySettings
from tests.builders.small_hotpatch import SmallHotpatch
from tests.builders.small_repository import (
    Handler,
    LoopbackServer,
    SmallRepository,
    serving,
    variant,
)


@pytest.fixture
def repository(tmp_path: Path, stocked_repository: SmallRepository) -> SmallRepository:
    return stocked_repository.copy(tmp_path)


@pytest.fixture
def server(repository: SmallRepository) -> Iterator[LoopbackServer]:
    with serving(repository.served) as running:
        yield running


@pytest.fixture
def settings(repository: SmallRepository, server: LoopbackServer) -> RepositorySettings:
    return repository.settings(server.url, channel="candidate")


def fetch(settings: RepositorySettings, name: str = "A-1") -> str:
    with open_repository(settings) as opened:
        return opened.hotpatch(name).digest


def reason(settings: RepositorySettings, name: str = "A-1") -> str:
    with pytest.raises(UntrustedError) as refused:
        fetch(settings, name)
    return refused.value.reason


def only_for(part: str, answer: Callable[[Handler], bool]) -> Callable[[Handler], bool]:
    return lambda handler: part in handler.path and answer(handler)


# --- honest servers ---


def test_a_hotpatch_by_its_name(
    settings: RepositorySettings, small_hotpatch: SmallHotpatch
) -> None:
    raw = variant(small_hotpatch, "A-1")
    with open_repository(settings) as opened:
        hotpatch = opened.hotpatch("A-1")
    assert hotpatch.origin == "repository"
    assert hotpatch.digest == unpack_hotpatch(raw).digest
    member = hotpatch.manifest.images[0].member
    assert hotpatch.image_bytes(member) == unpack_hotpatch(raw).images[member]


def test_when_nothing_changed_two_small_requests_are_enough(
    settings: RepositorySettings, server: LoopbackServer, repository: SmallRepository
) -> None:
    fetch(settings)
    server.asked.clear()
    fetch(settings)
    assert [path for path, _ in server.asked] == [
        "/metadata/2.root.json",
        "/metadata/timestamp.json",
    ]
    assert (repository.folder.metadata / "timestamp.json").stat().st_size <= 1024


def test_a_change_loads_only_what_it_touched(
    settings: RepositorySettings, server: LoopbackServer, repository: SmallRepository,
    small_hotpatch: SmallHotpatch,
) -> None:  # fmt: skip
    fetch(settings)
    repository.add(variant(small_hotpatch, "B-1"), product="debian-13")
    server.asked.clear()
    fetch(settings)
    loaded = [path.rpartition("/")[2] for path, _ in server.asked]
    assert loaded == ["2.root.json", "timestamp.json", "3.snapshot.json", "3.candidate.json"]


def test_another_product_s_hotpatch(
    settings: RepositorySettings, repository: SmallRepository, small_hotpatch: SmallHotpatch
) -> None:
    repository.add(variant(small_hotpatch, "B-1"), product="debian-13")
    assert fetch(settings, "debian-13/B-1")
    with pytest.raises(NothingToDoError):
        fetch(settings, "B-1")


def test_what_is_offered_for_an_object(
    settings: RepositorySettings, repository: SmallRepository, small_hotpatch: SmallHotpatch
) -> None:
    repository.add(variant(small_hotpatch, "A-2", level=5))
    build_id = small_hotpatch.manifest.images[0].target.build_id
    with open_repository(settings) as opened:
        offers = list(opened.offers([build_id, "00" * 20, build_id]))
    assert [(offer.id, offer.level) for offer in offers] == [("A-1", 2), ("A-2", 5)]
    repository.withdraw("A-2")
    with open_repository(settings) as opened:
        assert [offer.id for offer in opened.offers([build_id])] == ["A-1"]


def test_a_channel_shows_only_its_own(
    repository: SmallRepository, server: LoopbackServer, settings: RepositorySettings
) -> None:
    with pytest.raises(NothingToDoError, match="The channel broad has no hotpatch 'A-1'"):
        fetch(repository.settings(server.url))
    assert fetch(settings)


def test_a_withdrawn_hotpatch_is_refused_with_the_reason(
    settings: RepositorySettings, repository: SmallRepository
) -> None:
    fetch(settings)  # also where it was fetched before
    repository.withdraw("A-1", "entities are cut off")
    with pytest.raises(UntrustedError, match="entities are cut off") as refused:
        fetch(settings)
    assert refused.value.reason == "withdrawn"
    assert "naht revert A-1" in refused.value.next_step


@pytest.mark.parametrize("name", ["../A-1", "a/b/c", "A 1", "/A-1", "Debian/A-1", "A-1\n", "%2e"])
def test_a_name_is_no_path(settings: RepositorySettings, name: str) -> None:
    with pytest.raises(UsageError):
        fetch(settings, name)


def test_a_kept_hotpatch_is_verified_again(
    settings: RepositorySettings, server: LoopbackServer
) -> None:
    """What somebody changed in the cache is fetched again, not believed."""
    digest = fetch(settings)
    kept = Path(settings.state) / "targets" / digest
    kept.write_bytes(b"x" * kept.stat().st_size)
    assert fetch(settings) == digest
    server.asked.clear()
    assert fetch(settings) == digest
    assert not [path for path, _ in server.asked if path.endswith(".naht")]


# --- resuming and mirrors ---


def cut_off(after: int, times: int = 1) -> Callable[[Handler], bool]:
    """Hangs up in the middle of a hotpatch; ranges are served as a real server does."""
    left = [times]

    def answer(handler: Handler) -> bool:
        content = handler.file()
        begin = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        handler.send_response(206 if begin else 200)
        handler.send_header("Content-Length", str(len(content) - begin))
        if begin:
            handler.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        handler.end_headers()
        if left[0]:
            left[0] -= 1
            handler.wfile.write(content[begin : begin + after])
            handler.wfile.flush()
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
        else:
            handler.wfile.write(content[begin:])
        return True

    return only_for(".naht", answer)


def test_a_download_goes_on_where_it_was_cut_off(
    settings: RepositorySettings, server: LoopbackServer
) -> None:
    server.misbehave = cut_off(1000)
    with pytest.raises(ToolError, match="only in part"):
        fetch(settings)
    assert fetch(settings)
    ranges = [asked for path, asked in server.asked if path.endswith(".naht")]
    assert ranges == ["", "bytes=1000-"]


def test_a_part_that_was_altered_is_thrown_away(
    settings: RepositorySettings, server: LoopbackServer
) -> None:
    server.misbehave = cut_off(1000)
    with pytest.raises(ToolError):
        fetch(settings)
    (part,) = (Path(settings.state) / "targets").glob("*.part")
    part.write_bytes(b"x" * 1000)
    assert fetch(settings)
    ranges = [asked for path, asked in server.asked if path.endswith(".naht")]
    assert ranges == ["", "bytes=1000-", ""]


def test_a_server_without_ranges_begins_anew(
    settings: RepositorySettings, server: LoopbackServer
) -> None:
    server.misbehave = cut_off(1000)
    with pytest.raises(ToolError):
        fetch(settings)
    server.misbehave = None  # http.server knows no ranges: it answers 200
    assert fetch(settings)


def test_a_server_that_sends_another_range_is_refused(
    settings: RepositorySettings, server: LoopbackServer
) -> None:
    server.misbehave = cut_off(1000)
    with pytest.raises(ToolError):
        fetch(settings)

    def wrong(handler: Handler) -> bool:
        return handler.answer(handler.file()[5:], 206, Content_Range="bytes 5-9/10")

    server.misbehave = only_for(".naht", wrong)
    with pytest.raises(ToolError, match="another part"):
        fetch(settings)


def test_mirrors_are_tried_in_turn(repository: SmallRepository, server: LoopbackServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}"
    assert fetch(repository.settings(dead, server.url, channel="candidate"))
    with pytest.raises(ToolError, match="cannot be reached"):
        fetch(repository.settings(dead, channel="candidate"))


def test_a_mirror_without_the_file_is_passed_over(repository: SmallRepository) -> None:
    def missing(handler: Handler) -> bool:
        return ".naht" in handler.path and handler.answer(b"", 404)

    with serving(repository.served, missing) as poor, serving(repository.served) as good:
        assert fetch(repository.settings(poor.url, good.url, channel="candidate"))


def test_a_hostile_mirror_does_not_keep_the_good_one_from_serving(
    repository: SmallRepository,
) -> None:
    def garbage(handler: Handler) -> bool:
        return handler.answer(b"{" * 100)

    with serving(repository.served, garbage) as bad, serving(repository.served) as good:
        assert fetch(repository.settings(bad.url, good.url, channel="candidate"))


def test_a_folder_is_a_mirror(repository: SmallRepository) -> None:
    assert fetch(repository.settings(str(repository.served), channel="candidate"))
    assert fetch(repository.settings(repository.served.as_uri(), channel="candidate", host="b"))


# --- hostile servers ---


def test_an_altered_hotpatch_is_refused(
    settings: RepositorySettings, server: LoopbackServer, small_hotpatch: SmallHotpatch
) -> None:
    """A well-formed hotpatch of the same length, with other code."""
    other = bytearray(variant(small_hotpatch, "A-1"))
    other[-200] ^= 1
    server.misbehave = only_for(".naht", lambda handler: handler.answer(bytes(other)))
    assert reason(settings) == "altered"
    assert not list((Path(settings.state) / "targets").glob("*"))


def test_a_longer_hotpatch_is_cut_off(settings: RepositorySettings, server: LoopbackServer) -> None:
    received = []

    def endless(handler: Handler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 65536)
                received.append(65536)
        except OSError:
            return True

    server.misbehave = only_for(".naht", endless)
    with pytest.raises(ToolError, match="more than the signed length"):
        fetch(settings)
    assert sum(received) < 64 << 20  # what fits into socket buffers


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "candidate"])
def test_endless_metadata_are_cut_off(
    settings: RepositorySettings, server: LoopbackServer, role: str
) -> None:
    def padded(handler: Handler) -> bool:
        return handler.answer(handler.file() + b" " * (1 << 20))

    server.misbehave = only_for(f"{role}.json", padded)
    assert reason(settings) == "too-large"


@pytest.mark.parametrize("role", ["timestamp", "1.snapshot", "1.targets", "candidate_debian-12"])
def test_altered_metadata_are_refused(
    repository: SmallRepository, server: LoopbackServer, role: str
) -> None:
    def altered(handler: Handler) -> bool:
        return handler.answer(handler.file().replace(b'"expires":"20', b'"expires":"21'))

    repository.sign()
    server.misbehave = only_for(f"{role.replace('1.', '')}.json", altered)
    assert reason(repository.settings(server.url, channel="candidate")) in (
        "bad-signature", "altered",
    )  # fmt: skip


def test_metadata_signed_by_somebody_else_are_refused(
    settings: RepositorySettings, server: LoopbackServer, repository: SmallRepository
) -> None:
    """A mirror that makes a whole repository of its own, under the same names."""
    other = SmallRepository(repository.home / "other")
    other.home.mkdir()
    other.found()
    server.misbehave = lambda handler: (
        "root" not in handler.path
        and handler.answer((other.served / handler.path.lstrip("/")).read_bytes())
    )
    assert reason(settings) == "bad-signature"
    root = other.folder.metadata / "1.root.json"
    server.misbehave = only_for("2.root.json", lambda h: h.answer(root.read_bytes()))
    assert reason(settings) in ("bad-signature", "rollback")


def test_a_signature_of_an_unknown_key_counts_for_nothing(
    settings: RepositorySettings, server: LoopbackServer
) -> None:
    """Also when it bears the id of a known one."""

    def resigned(handler: Handler) -> bool:
        metadata = Metadata[Any].from_bytes(handler.file())
        known = next(iter(metadata.signatures))
        metadata.signed.version += 1
        metadata.sign(CryptoSigner.generate_ed25519(keyid=known))
        return handler.answer(metadata.to_bytes())

    server.misbehave = only_for("timestamp.json", resigned)
    assert reason(settings) == "bad-signature"


def test_an_older_state_is_refused(
    settings: RepositorySettings, server: LoopbackServer, repository: SmallRepository,
    small_hotpatch: SmallHotpatch,
) -> None:  # fmt: skip
    """Rollback: signed and not yet expired, but older than what the host has seen."""
    old = (repository.folder.metadata / "timestamp.json").read_bytes()
    repository.add(variant(small_hotpatch, "A-2"))
    assert fetch(settings, "A-2")
    server.misbehave = only_for("timestamp.json", lambda handler: handler.answer(old))
    assert reason(settings) == "rollback"
    server.misbehave = None
    assert fetch(settings, "A-2")


def test_parts_of_different_states_do_not_go_together(
    settings: RepositorySettings, server: LoopbackServer, repository: SmallRepository,
    small_hotpatch: SmallHotpatch,
) -> None:  # fmt: skip
    """Mix and match: today's timestamp and snapshot with yesterday's product."""
    repository.add(variant(small_hotpatch, "A-2"))
    old = (repository.folder.metadata / "1.candidate_debian-12.json").read_bytes()
    server.misbehave = only_for("2.candidate_debian-12", lambda handler: handler.answer(old))
    assert reason(settings) in ("rollback", "altered")


def test_a_product_s_keys_reach_no_other_channel(
    repository: SmallRepository, server: LoopbackServer, small_hotpatch: SmallHotpatch
) -> None:
    """Whoever has the key of candidate can sign what is in broad, and no host looks there."""
    edition = repository.edition("candidate", "snapshot", "timestamp")
    with edition.edit_targets("candidate_debian-12") as targets:
        (target,) = [t for p, t in targets.targets.items() if p.endswith(".naht")]
        targets.targets["broad/debian-12/A-1.naht"] = target
    assert edition.commit().published
    with pytest.raises(NothingToDoError):
        fetch(repository.settings(server.url))


def test_a_signed_file_under_another_s_name_is_refused(
    settings: RepositorySettings, repository: SmallRepository, small_hotpatch: SmallHotpatch
) -> None:
    edition = repository.edition("candidate", "snapshot", "timestamp")
    repository.folder.write_target("candidate/debian-12/B-1.naht", variant(small_hotpatch, "A-1"))
    with edition.edit_targets("candidate_debian-12") as targets:
        targets.targets["candidate/debian-12/B-1.naht"] = targets.targets[
            "candidate/debian-12/A-1.naht"
        ]
    assert edition.commit().published
    assert reason(settings, "B-1") == "altered"


@pytest.mark.parametrize(
    "garbage",
    [
        b"", b"null", b"[]", b"{}", b"[" * 100_000, b'{"a":' * 5000, b"\xff\xfe", b"9" * 9000,
        b'{"signed":{"_type":"timestamp"},"signatures":[]}',
        b'{"signed":{"_type":"timestamp","spec_version":"1.0.0","version":1e999,'
        b'"expires":"x","meta":{}},"signatures":{}}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("role", ["timestamp", "snapshot", "candidate_debian-12", "2.root"])
def test_nonsense_is_refused_in_words(
    settings: RepositorySettings, server: LoopbackServer, role: str, garbage: bytes
) -> None:
    server.misbehave = only_for(f"{role}.json", lambda handler: handler.answer(garbage))
    with pytest.raises((UntrustedError, ToolError)):
        fetch(settings)


def nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = {"x": value}
    return value


def test_deeply_nested_metadata_are_refused_in_words(
    settings: RepositorySettings, server: LoopbackServer
) -> None:
    """Canonical JSON is made by recursion: of what nobody has verified yet."""

    def deep(handler: Handler) -> bool:
        content = json.loads(handler.file())
        content["signed"]["x"] = nested(300)
        return handler.answer(json.dumps(content).encode())

    server.misbehave = only_for("timestamp.json", deep)
    assert reason(settings) in ("malformed", "bad-signature")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirections_are_not_followed(
    settings: RepositorySettings, server: LoopbackServer, repository: SmallRepository, status: int
) -> None:
    """They could lead to what only this host can reach."""
    with serving(repository.served) as inside:
        server.misbehave = lambda h: h.answer(b"", status, Location=inside.url + h.path)
        with pytest.raises(ToolError):
            fetch(settings)
        assert inside.asked == []


def test_compressed_answers_are_not_unpacked(
    settings: RepositorySettings, server: LoopbackServer
) -> None:
    server.misbehave = lambda h: h.answer(h.file(), Content_Encoding="gzip")
    with pytest.raises(ToolError):
        fetch(settings)


def test_an_answer_of_unknown_length_in_lines_is_not_read(
    settings: RepositorySettings, server: LoopbackServer
) -> None:
    def chunked(handler: Handler) -> bool:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"1\r\n{\r\n")
        return True

    server.misbehave = only_for("timestamp.json", chunked)
    with pytest.raises(ToolError, match="how long"):
        fetch(settings)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SOCKET_TIMEOUT": 2.0, "HEAD_LIMIT": 1.0, "GRACE": 0.5}.items():
        monkeypatch.setattr(transport, name, value)


def trickle(handler: Handler, content: bytes, done: threading.Event) -> bool:
    """A byte now and then: no time-out of a socket ever strikes."""
    try:
        for byte in content:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            if done.wait(0.1):
                break
    except OSError:
        pass
    handler.close_connection = True
    return True


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("where", ["head", "body"])
def test_a_server_that_trickles_is_given_up(
    settings: RepositorySettings, server: LoopbackServer, where: str
) -> None:
    """Without limits of its own this test would last for hours."""
    done = threading.Event()

    def slow(handler: Handler) -> bool:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n"
        if where == "head":
            return trickle(handler, head + b"X-Padding: " + b"x" * 60_000, done)
        handler.wfile.write(head + b"\r\n")
        return trickle(handler, b" " * 100_000, done)

    server.misbehave = only_for("timestamp.json", slow)
    try:
        with pytest.raises(ToolError):
            fetch(settings)
    finally:
        done.set()


@pytest.mark.usefixtures("impatient")
def test_a_server_that_says_nothing_is_given_up(
    settings: RepositorySettings, server: LoopbackServer
) -> None:
    done = threading.Event()
    server.misbehave = lambda _handler: done.wait(60)
    try:
        with pytest.raises(ToolError):
            fetch(settings)
    finally:
        done.set()


def test_an_answer_that_is_no_http_is_an_error_in_words(
    settings: RepositorySettings, server: LoopbackServer
) -> None:
    def raw(handler: Handler) -> bool:
        handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        handler.close_connection = True
        return True

    server.misbehave = raw
    with pytest.raises(ToolError):
        fetch(settings)


# --- the host's own side ---


def test_a_folder_that_others_can_write_holds_no_state(settings: RepositorySettings) -> None:
    state = Path(settings.state)
    state.mkdir()
    state.chmod(0o777)
    with pytest.raises(UsageError, match="written by others"):
        fetch(settings)


def test_a_root_that_others_can_write_is_not_trusted(settings: RepositorySettings) -> None:
    Path(settings.root).chmod(0o666)
    with pytest.raises(UsageError, match="written by others"):
        fetch(settings)


def test_two_clients_take_turns(
    settings: RepositorySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "LOCK_PATIENCE", 0.2)
    with trust.locked_state(Path(settings.state)), pytest.raises(BusyError):
        fetch(settings)
    assert fetch(settings)


def test_state_that_was_destroyed_is_made_anew(settings: RepositorySettings) -> None:
    fetch(settings)
    for path in (Path(settings.state) / "metadata").glob("*.json"):
        if not path.is_symlink():
            path.write_bytes(b"\0" * 10)
    assert fetch(settings)


@pytest.mark.parametrize("address", ["ftp://a/", "repo", "", "file:///../x", "javascript:1"])
def test_only_addresses_that_are_understood(repository: SmallRepository, address: str) -> None:
    with pytest.raises(NahtError):
        fetch(repository.settings(address))


def test_a_kept_connection_that_was_closed_is_opened_again(
    settings: RepositorySettings, server: LoopbackServer
) -> None:
    """As servers do after a while: the next request fails on the old connection only."""

    def close_after(handler: Handler) -> bool:
        handler.close_connection = True
        return False

    server.misbehave = close_after
    assert fetch(settings)


def test_a_proxy_is_used_and_told_who_asks(
    repository: SmallRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str, str]] = []

    def proxy(handler: Handler) -> bool:
        seen.append((handler.path, handler.headers["Host"], handler.headers["Proxy-Authorization"]))
        path = repository.served / handler.path.removeprefix("http://naht.invalid/")
        return handler.answer(path.read_bytes()) if path.exists() else handler.answer(b"", 404)

    with serving(repository.served, proxy) as running:
        address = running.url.replace("http://", "http://me:a%20b@")
        monkeypatch.setenv("http_proxy", address)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        assert fetch(repository.settings("http://naht.invalid/", channel="candidate"))
    assert {(host, pair) for _, host, pair in seen} == {("naht.invalid", "Basic bWU6YSBi")}


def test_the_client_s_connection_is_http_1_1_and_asks_for_no_encoding(
    settings: RepositorySettings, server: LoopbackServer
) -> None:
    seen = []

    def note(handler: Handler) -> bool:
        seen.append(handler.headers)
        return False

    server.misbehave = note
    fetch(settings)
    assert {head["Accept-Encoding"] for head in seen} == {"identity"}
    assert all(head["User-Agent"].startswith("naht/") for head in seen)
