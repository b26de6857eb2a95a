"""`naht repo withdraw`: a hotpatch is offered no more."""

from __future__ import annotations

import argparse

from naht.cli.repo.common import add_change_arguments, change_of, now, tell
from naht.releases.roles import check_hotpatch_id, check_product
from naht.releases.signing.publisher import withdraw

DESCRIPTION = """\
Takes a hotpatch out of every channel, and leaves the reason where it was: hosts that ask for it are
told. Its id is never used again. Where it runs already it stays until it is reverted."""

EXAMPLES = """\
  naht repo withdraw repo EXPAT-7 --product debian-12 --reason 'entities are cut off' --keys keys"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_change_arguments(parser)
    parser.add_argument("hotpatch", metavar="ID", help="its id")
    parser.add_argument("--product", required=True, metavar="NAME", help="whose it is")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="what hosts are told")


def run(arguments: argparse.Namespace) -> int:
    product, name = check_product(arguments.product), check_hotpatch_id(arguments.hotpatch)
    with change_of(arguments) as edition:
        channels = withdraw(edition, product, name, arguments.reason[:4096], now())
        done = f"{name} of {product} is withdrawn from {', '.join(channels)}"
        return tell(arguments, done, edition.commit())
