"""`naht repo verify`: the whole repository, as a host would judge it."""

from __future__ import annotations

import argparse
from pathlib import Path

from naht.cli import exit_codes
from naht.cli.documents import RepositoryVerifyDocument
from naht.cli.operation import add_json_argument
from naht.cli.output import print_document
from naht.cli.repo.common import add_folder_argument, now
from naht.cli.terminal import clean, paint, symbols, write
from naht.cli.units import count
from naht.releases.client.settings import read_owned
from naht.releases.signing.audit import Audit, audit
from naht.releases.signing.edition import Edition
from naht.releases.signing.folder import RepositoryFolder
from naht.releases.signing.keys import Keyring

DESCRIPTION = """\
Verifies a repository from its root of trust to the last byte: every role as a host's client would,
every file against its signed length and hash. Needs no keys, and changes nothing.

Exit codes: 0 all is as it was signed, 3 files are missing or altered, 4 hosts would refuse it."""

EXAMPLES = """\
  naht repo verify repo
  naht repo verify repo --root root.json     from the root that hosts have pinned"""

MAX_SHOWN = 20


def configure(parser: argparse.ArgumentParser) -> None:
    add_folder_argument(parser)
    parser.add_argument("--root", type=Path, metavar="FILE", help="what hosts have pinned")
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    folder = RepositoryFolder(arguments.repository)
    root = read_owned(arguments.root) if arguments.root else None
    with folder.lock():
        found = audit(folder, Edition(folder, Keyring((), lambda _name: ""), now()), root)
    code = exit_codes.HOSTILE if found.problems else exit_codes.GOOD
    if arguments.json:
        print_document(
            RepositoryVerifyDocument(
                roles=found.roles, targets=found.targets, bytes=found.bytes,
                problems=found.problems, exit_code=code,
            )
        )  # fmt: skip
    else:
        show(found)
    return code


def show(found: Audit) -> None:
    for problem in found.problems[:MAX_SHOWN]:
        write(paint(f"{symbols()['bad']} {clean(problem)}", "bad"))
    if left := found.problems[MAX_SHOWN:]:
        write(f"… and {len(left)} more")
    what = f"{count(found.roles, 'role')} and {count(found.targets, 'file')}"
    if found.problems:
        write(f"{len(found.problems)} of {what} are not as they were signed")
    else:
        write(paint(f"{symbols()['good']} {what} are as they were signed", "good"))
