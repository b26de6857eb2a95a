"""`naht repo sign`: completes what waits for signatures, and keeps the rest fresh."""

from __future__ import annotations

import argparse

from naht.cli import exit_codes
from naht.cli.documents import RepositoryChangeDocument
from naht.cli.output import print_document
from naht.cli.repo.common import (
    add_change_arguments,
    document,
    now,
    open_keyring,
    print_waiting,
)
from naht.cli.terminal import paint, symbols, write
from naht.errors import NothingToDoError, UsageError
from naht.releases.signing.ceremony import Signed, sign
from naht.releases.signing.edition import Committed
from naht.releases.signing.folder import RepositoryFolder

DESCRIPTION = """\
Adds the signatures that the keys at hand can give to a change that waits for them, and publishes it
when none is missing. Then signs anew what will expire and what these keys may sign: the timestamp
always, everything else when less than a third of its time is left.

Run it daily, with the keys of snapshot and timestamp, by a timer (docs/repository.md)."""

EXAMPLES = """\
  naht repo sign repo --keys online                  daily, unattended
  naht repo sign repo --keys /media/safe             adds this holder's signatures
  naht repo sign repo --keys keys --discard          drops the change that waits"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_change_arguments(parser)
    parser.add_argument("--discard", action="store_true", help="drop the change that waits")


def run(arguments: argparse.Namespace) -> int:
    folder = RepositoryFolder(arguments.repository)
    with folder.lock():
        if arguments.discard:
            return discard(arguments, folder)
        signed = sign(folder, open_keyring(arguments), now())
    if signed.staged is None and signed.renewed is None:
        raise NothingToDoError(
            "Nothing waits for these keys.",
            "The keys of snapshot and timestamp are needed to keep the repository fresh.",
        )
    if arguments.json:
        print_document(joined(signed))
    else:
        show(signed)
    return exit_codes.GOOD


def discard(arguments: argparse.Namespace, folder: RepositoryFolder) -> int:
    waiting = folder.staged_roles()
    if not waiting:
        raise UsageError("No change waits for signatures.", "Nothing is to be done.")
    folder.clear_staged(waiting)
    if arguments.json:
        print_document(document(Committed({}, {})))
    else:
        write(f"dropped the change of {', '.join(waiting)}")
    return exit_codes.GOOD


def show(signed: Signed) -> None:
    if signed.staged and not signed.staged.published:
        print_waiting("signed what these keys can", signed.staged)
    elif signed.staged:
        write(paint(f"{symbols()['good']} published {named(signed.staged)}", "good"))
    if signed.renewed:
        write(paint(f"{symbols()['good']} signed anew {named(signed.renewed)}", "good"))


def named(committed: Committed) -> str:
    return ", ".join(f"{role} {version}" for role, version in committed.published.items())


def joined(signed: Signed) -> RepositoryChangeDocument:
    staged, renewed = signed.staged or Committed({}, {}), signed.renewed or Committed({}, {})
    return document(
        Committed(staged.published | renewed.published, staged.waiting, staged.online_keys)
    )
