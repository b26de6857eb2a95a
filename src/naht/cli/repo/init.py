"""`naht repo init`: founds a repository."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from naht.cli.repo.common import add_change_arguments, now, open_keyring, tell
from naht.errors import UsageError
from naht.releases.signing.edition import Edition
from naht.releases.signing.folder import Periods, RepositoryFolder, Settings
from naht.releases.signing.keys import KeyCard, Keyring
from naht.releases.signing.publisher import KEYED_ROLES, Holders, found

DESCRIPTION = """\
Founds a repository. REPO/published is what a web server or an object store serves: static files.

Every role gets the keys of its name: root, or root-1, root-2, …; likewise targets, snapshot,
timestamp and the channels candidate, pilot and broad. root needs most of its keys to sign, the
others one of theirs, unless --threshold says otherwise.

Hosts get REPO/published/metadata/1.root.json by a way that you trust: it is what they pin."""

EXAMPLES = """\
  naht repo init repo --keys keys --keys online
  naht repo init repo --keys keys --threshold root=2 --threshold broad=2
  naht repo init repo --keys keys --days timestamp=14    for air-gapped hosts, synced weekly"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_change_arguments(parser)
    parser.add_argument(
        "--threshold", action="append", default=[], metavar="ROLE=N",
        help="how many of a role's keys must sign",
    )  # fmt: skip
    parser.add_argument(
        "--days", action="append", default=[], metavar="KIND=N",
        help="how long what is signed stays valid: "
        + ", ".join(f"{kind} {default}" for kind, default in default_days().items()),
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    keyring = open_keyring(arguments)
    holders = holders_of(keyring, pairs(arguments.threshold, KEYED_ROLES, "--threshold"))
    days = pairs(arguments.days, default_days(), "--days")
    folder = RepositoryFolder.create(arguments.repository, Settings(periods=Periods(**days)))
    with folder.lock():
        edition = Edition(folder, keyring, now())
        found(edition, holders)
        return tell(arguments, f"founded {arguments.repository}", edition.commit())


def default_days() -> dict[str, int]:
    return {name: getattr(Periods(), name) for name in Periods.__struct_fields__}


def holders_of(keyring: Keyring, thresholds: Mapping[str, int]) -> dict[str, Holders]:
    holders = {}
    for role in KEYED_ROLES:
        cards = cards_of(keyring, role)
        if not cards:
            raise UsageError(
                f"There is no key for the role {role}.",
                f"Make one called {role} with `naht repo key`, and name its folder with --keys.",
            )
        default = len(cards) // 2 + 1 if role == "root" else 1
        threshold = thresholds.get(role, default)
        if not 1 <= threshold <= len(cards):
            raise UsageError(
                f"{role} has {len(cards)} keys, and {threshold} can never sign.",
                "Make more keys, or lower the threshold.",
            )
        holders[role] = Holders([card.key() for card in cards], threshold)
    return holders


def cards_of(keyring: Keyring, role: str) -> list[KeyCard]:
    return [c for c in keyring.cards if c.name == role or c.name.startswith(f"{role}-")]


def pairs(
    texts: list[str], names: Mapping[str, int] | tuple[str, ...], option: str
) -> dict[str, int]:
    found_: dict[str, int] = {}
    for text in texts:
        name, _, number = text.partition("=")
        if name not in names or not number.isdecimal() or not 1 <= int(number) <= 3650:
            raise UsageError(
                f"{option} {text} is not understood.",
                f"Write NAME=N, with one of {', '.join(names)}.",
            )
        found_[name] = int(number)
    return found_
