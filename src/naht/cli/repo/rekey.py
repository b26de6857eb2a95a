"""`naht repo rekey`: who signs for a role from now on."""

from __future__ import annotations

import argparse

from naht.cli.repo.common import add_change_arguments, change_of, tell
from naht.errors import UsageError
from naht.releases.signing.ceremony import change_keys
from naht.releases.signing.publisher import KEYED_ROLES

DESCRIPTION = """\
Gives a role other keys, or another threshold, and signs anew what the role's keys vouch for. A key
that was lost or stolen is taken away so; hosts follow by themselves.

The keys of who delegates are needed: root's for root, targets, snapshot and timestamp (a new root
is signed by the old and the new keys), targets' for the channels."""

EXAMPLES = """\
  naht repo rekey repo targets --add targets-3 --remove targets-1 --keys keys --keys online
  naht repo rekey repo root --threshold 3 --keys /media/safe --keys online"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_change_arguments(parser)
    parser.add_argument("role", choices=KEYED_ROLES, metavar="ROLE", help=", ".join(KEYED_ROLES))
    parser.add_argument(
        "--add", action="append", default=[], metavar="NAME", help="a key from --keys"
    )
    parser.add_argument(
        "--remove", action="append", default=[], metavar="NAME",
        help="a key from --keys, or the id of one that is not there",
    )  # fmt: skip
    parser.add_argument("--threshold", type=int, metavar="N", help="how many must sign")


def run(arguments: argparse.Namespace) -> int:
    if not (arguments.add or arguments.remove or arguments.threshold is not None):
        raise UsageError("Nothing is to be changed.", "Use --add, --remove or --threshold.")
    if arguments.threshold is not None and arguments.threshold < 1:
        raise UsageError("Somebody must sign.", "Use a threshold of at least 1.")
    with change_of(arguments) as edition:
        known = {card.name: card.keyid for card in edition.keyring.cards}
        change_keys(
            edition, arguments.role,
            add=[edition.keyring.named(name).key() for name in arguments.add],
            remove=[known.get(name, name) for name in arguments.remove],
            threshold=arguments.threshold,
        )  # fmt: skip
        return tell(arguments, f"{arguments.role} has other keys", edition.commit())
