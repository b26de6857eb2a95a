"""A signed repository in a folder, and a web server on loopback that misbehaves when told to."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from naht.hotpatch.container import pack_hotpatch, read_hotpatch
from naht.releases.client.settings import RepositorySettings
from naht.releases.roles import CHANNELS
from naht.releases.signing import publisher
from naht.releases.signing.ceremony import Signed, sign
from naht.releases.signing.edition import Committed, Edition
from naht.releases.signing.folder import RepositoryFolder, Settings
from naht.releases.signing.keys import Keyring, make_key
from naht.releases.signing.publisher import KEYED_ROLES, Holders, found
from tests.builders.small_hotpatch import SmallHotpatch

PRODUCT = "debian-12"
PASSPHRASE = "only of tests"  # noqa: S105
KEY_COUNTS = {"root": 3, "targets": 2}
THRESHOLDS = {"root": 2}


def variant(small: SmallHotpatch, name: str, **changes: Any) -> bytes:
    """The same code under another id."""
    file = read_hotpatch(small.path)
    manifest = msgspec.structs.replace(file.manifest, id=name, **changes)
    return pack_hotpatch(manifest, file.images)


class SmallRepository:
    """`later` days pass for the publisher only; clients go by the machine's clock."""

    def __init__(self, folder: Path) -> None:
        self.home = folder
        self.keys = folder / "keys"
        self.folder = RepositoryFolder(folder / "repo")
        self.later = 0

    def copy(self, folder: Path) -> SmallRepository:
        """Founding one takes as long as dozens of files take to reach the disk."""
        shutil.copytree(self.home, folder, dirs_exist_ok=True)
        return SmallRepository(folder)

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(days=self.later)

    @property
    def served(self) -> Path:
        return self.folder.published

    def keyring(self, *roles: str) -> Keyring:
        """All keys, or those of some roles only."""
        folders = [self.keys / role for role in roles or KEYED_ROLES]
        return Keyring(folders, lambda _name: PASSPHRASE)

    def make_keys(self) -> None:
        for role in KEYED_ROLES:
            secret = None if role in ("snapshot", "timestamp") else PASSPHRASE
            for number in range(KEY_COUNTS.get(role, 1)):
                make_key(self.keys / role, f"{role}-{number + 1}", secret)

    def found(self) -> None:
        self.make_keys()
        RepositoryFolder.create(self.folder.path, Settings())
        holders = {
            role: Holders([c.key() for c in self.keyring(role).cards], THRESHOLDS.get(role, 1))
            for role in KEYED_ROLES
        }
        edition = self.edition()
        found(edition, holders)
        assert edition.commit().published
        (self.home / "root.json").write_bytes((self.folder.metadata / "1.root.json").read_bytes())

    def edition(self, *roles: str) -> Edition:
        edition = Edition(self.folder, self.keyring(*roles), self.now)
        edition.begin()
        return edition

    def add(self, *hotpatches: bytes, product: str = PRODUCT) -> Committed:
        edition = self.edition()
        for raw in hotpatches:
            publisher.add(edition, product, raw)
        return edition.commit()

    def release(self, raw: bytes, name: str, product: str = PRODUCT) -> None:
        """Through all channels."""
        self.add(raw, product=product)
        for channel in CHANNELS[1:]:
            self.promote(name, channel, product)

    def promote(self, name: str, channel: str, product: str = PRODUCT) -> Committed:
        edition = self.edition()
        publisher.promote(edition, product, name, channel)
        return edition.commit()

    def withdraw(self, name: str, reason: str = "it was wrong", product: str = PRODUCT) -> None:
        edition = self.edition()
        publisher.withdraw(edition, product, name, reason, self.now)
        assert edition.commit().published

    def sign(self, *roles: str) -> Signed:
        return sign(self.folder, self.keyring(*roles), self.now)

    def settings(self, *mirrors: str, host: str = "host", **others: str) -> RepositorySettings:
        return RepositorySettings(
            mirrors=mirrors or (str(self.served),), product=PRODUCT,
            root=str(self.home / "root.json"), state=str(self.home / host), **others,
        )  # fmt: skip

    def write_settings(self, *mirrors: str, **others: str) -> Path:
        chosen = msgspec.to_builtins(self.settings(*mirrors, **others))
        path = self.home / "repository.toml"
        lines = [f"{key} = {msgspec.json.encode(value).decode()}" for key, value in chosen.items()]
        path.write_text("\n".join(lines) + "\n")
        return path


Misbehave = Callable[["Handler"], bool]
"""Answers a request in its own way; False: the file is served as it should be."""


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LoopbackServer

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Range", "")))
        if self.server.misbehave is not None and self.server.misbehave(self):
            return
        super().do_GET()

    def answer(self, content: bytes, status: int = 200, **headers: str) -> bool:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)
        return True

    def file(self) -> bytes:
        return Path(self.translate_path(self.path)).read_bytes()

    def log_message(self, format: str, *args: object) -> None:
        pass


class LoopbackServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    asked: list[tuple[str, str]]
    misbehave: Misbehave | None = None

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that hang up are what is tested

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving(directory: Path, misbehave: Misbehave | None = None) -> Iterator[LoopbackServer]:
    server = LoopbackServer(("127.0.0.1", 0), partial(Handler, directory=str(directory)))
    server.asked, server.misbehave = [], misbehave
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
