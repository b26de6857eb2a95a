"""What the commands of `naht repo` share: the folder, the keys, passphrases, how a change ends."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from naht.cli import exit_codes
from naht.cli.documents import RepositoryChangeDocument, WaitingRole
from naht.cli.operation import add_json_argument
from naht.cli.output import print_document
from naht.cli.terminal import paint, symbols, write
from naht.errors import UsageError

try:
    from naht.releases.signing.edition import Committed, Edition
    from naht.releases.signing.folder import RepositoryFolder
    from naht.releases.signing.keys import AskPassphrase, Keyring
except ModuleNotFoundError as error:  # what python-tuf is made of
    raise UsageError(
        f"The signed repository needs a library that is not here: {error.name}.",
        "pip install 'naht[repository]'",
    ) from error

MAX_PASSPHRASE = 4096


def add_folder_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("repository", type=Path, metavar="REPO", help="the repository's folder")


def add_key_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keys", type=Path, action="append", default=[], metavar="DIR", required=True,
        help="a folder with keys; may be given more than once",
    )  # fmt: skip
    add_passphrase_argument(parser)


def add_passphrase_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--passphrase-file", type=Path, metavar="FILE",
        help="read the keys' passphrase from here (default: ask)",
    )  # fmt: skip


def add_change_arguments(parser: argparse.ArgumentParser) -> None:
    add_folder_argument(parser)
    add_key_arguments(parser)
    add_json_argument(parser)


def now() -> datetime:
    return datetime.now(UTC)


def passphrase_asker(file: Path | None) -> AskPassphrase:
    @cache
    def ask(name: str) -> str:
        if file is not None:
            return read_passphrase(file)
        if not sys.stdin.isatty():
            raise UsageError(
                f"The key {name} needs a passphrase, and there is no terminal to ask on.",
                "Use --passphrase-file.",
            )
        return getpass.getpass(f"passphrase of the key {name}: ")

    return ask


def read_passphrase(file: Path) -> str:
    """Its first line, so that a file made by an editor works, too."""
    try:
        with file.open("rb") as stream:
            line = stream.read(MAX_PASSPHRASE).split(b"\n", 1)[0]
        if not line:
            raise UsageError(f"{file} is empty.", "Write the passphrase into its first line.")
        return line.decode()
    except OSError as error:
        raise UsageError(f"Cannot read {file}: {error.strerror}.", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is no text.", "Write it as UTF-8.") from error


def open_keyring(arguments: argparse.Namespace) -> Keyring:
    for folder in arguments.keys:
        if not folder.is_dir():
            raise UsageError(f"There is no folder {folder}.", "Make keys with `naht repo key`.")
    return Keyring(arguments.keys, passphrase_asker(arguments.passphrase_file))


@contextmanager
def change_of(arguments: argparse.Namespace) -> Iterator[Edition]:
    """The repository, locked, with nothing else waiting."""
    folder = RepositoryFolder(arguments.repository)
    with folder.lock():
        edition = Edition(folder, open_keyring(arguments), now())
        edition.begin()
        yield edition


def tell(arguments: argparse.Namespace, done: str, committed: Committed) -> int:
    """How it ended: published, or waiting for others to sign."""
    if arguments.json:
        print_document(document(committed))
    elif committed.published:
        write(paint(f"{symbols()['good']} {done}", "good"))
    else:
        print_waiting(done, committed)
    return exit_codes.GOOD


def document(committed: Committed) -> RepositoryChangeDocument:
    return RepositoryChangeDocument(
        published=committed.published,
        waiting=tuple(WaitingRole(role=r, signatures=n) for r, n in committed.waiting.items()),
        online_keys=committed.online_keys,
    )


def print_waiting(done: str, committed: Committed) -> None:
    write(paint(f"{done}: staged, not published yet", "warn"))
    for role, lacking in short_list(committed.waiting).items():
        write(f"  {role} lacks {lacking} {'signature' if lacking == 1 else 'signatures'}")
    if not committed.online_keys:
        write("  the keys of snapshot and timestamp are not at hand")
    write("next: naht repo sign, where the missing keys are")


def short_list(waiting: Mapping[str, int]) -> dict[str, int]:
    """Bins go with their product: they have its keys."""
    return {role: n for role, n in waiting.items() if role.count("_") < 2}
