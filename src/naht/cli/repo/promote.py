"""`naht repo promote`: a hotpatch goes on to the next channel."""

from __future__ import annotations

import argparse

from naht.cli.repo.common import add_change_arguments, change_of, tell
from naht.releases.roles import CHANNELS, check_hotpatch_id, check_product
from naht.releases.signing.publisher import promote

DESCRIPTION = f"""\
Lets a hotpatch go on to a channel from the one before: {" → ".join(CHANNELS)}. What was tested
there is what comes here, bit for bit. Each channel has keys of its own."""

EXAMPLES = """\
  naht repo promote repo EXPAT-7 --product debian-12 --to pilot --keys keys --keys online"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_change_arguments(parser)
    parser.add_argument("hotpatches", nargs="+", metavar="ID", help="their ids")
    parser.add_argument("--product", required=True, metavar="NAME", help="whose they are")
    parser.add_argument("--to", required=True, choices=CHANNELS[1:], help="the channel")


def run(arguments: argparse.Namespace) -> int:
    product = check_product(arguments.product)
    with change_of(arguments) as edition:
        for name in arguments.hotpatches:
            promote(edition, product, check_hotpatch_id(name), arguments.to)
        done = f"{', '.join(arguments.hotpatches)} of {product} is in {arguments.to}"
        return tell(arguments, done, edition.commit())
