"""`naht repo add`: puts hotpatches into the first channel."""

from __future__ import annotations

import argparse
from pathlib import Path

from naht.cli.repo.common import add_change_arguments, change_of, tell
from naht.cli.units import count
from naht.errors import HostileInputError, UsageError
from naht.hotpatch.container import MAX_FILE_SIZE
from naht.releases.roles import CHANNELS, check_product
from naht.releases.signing.folder import read_bounded
from naht.releases.signing.publisher import add

DESCRIPTION = f"""\
Puts hotpatches into the channel {CHANNELS[0]} of a product, and publishes them. Each file is judged
as a host would judge it first. An id means the same file for ever: another file under a known id
is refused, and so is an id that was withdrawn."""

EXAMPLES = """\
  naht repo add repo fix.naht --product debian-12 --keys keys --keys online
  naht repo add repo hotpatches/*.naht --product debian-12 --keys keys --keys online"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_change_arguments(parser)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="hotpatches")
    parser.add_argument("--product", required=True, metavar="NAME", help="whom they are for")


def run(arguments: argparse.Namespace) -> int:
    product = check_product(arguments.product)
    with change_of(arguments) as edition:
        names = []
        for file in arguments.files:
            try:
                names.append(add(edition, product, read_bounded(file, MAX_FILE_SIZE)))
            except (HostileInputError, UsageError) as error:
                error.where = error.where or str(file)
                raise
        what = names[0] if len(names) == 1 else count(len(names), "hotpatch", "hotpatches")
        done = f"{what} of {product} is in {CHANNELS[0]}"
        return tell(arguments, done, edition.commit())
