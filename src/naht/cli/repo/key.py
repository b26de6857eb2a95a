"""`naht repo key`: makes keys, or takes note of keys that lie in a token."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path

from naht.cli import exit_codes
from naht.cli.documents import KeyReference, RepositoryKeyDocument
from naht.cli.operation import add_json_argument
from naht.cli.output import print_document
from naht.cli.repo.common import add_passphrase_argument, passphrase_asker, read_passphrase
from naht.cli.terminal import clean, paint, symbols, write
from naht.errors import UsageError
from naht.releases.signing.keys import KeyCard, import_hsm_key, make_key

DESCRIPTION = """\
Makes signing keys (Ed25519). Each is two files: NAME.pem, the private half, under a passphrase, and
NAME.key.json, its card with the public half, which everybody may have. Whoever founds a repository
needs the cards of all keys, and the private halves only of those that sign then.

`naht repo init` takes keys by their names: root-1, root-2, … for the role root, and so on. Keys of
root and targets belong on media that are in no network; snapshot and timestamp sign unattended and
have no passphrase.

With --pkcs11 the key stays in a token (smart card, HSM): only a card is written."""

EXAMPLES = """\
  naht repo key --keys /media/safe root-1 root-2 root-3 targets-1
  naht repo key --keys keys candidate pilot broad
  naht repo key --keys online --no-passphrase snapshot timestamp
  naht repo key --keys keys root-4 --pkcs11 2          the token's key in slot 2"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help="what the keys are called")
    parser.add_argument("--keys", type=Path, required=True, metavar="DIR", help="where to put them")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--no-passphrase", action="store_true", help="for keys that sign unattended")
    kind.add_argument("--pkcs11", type=int, metavar="SLOT", help="the key lies in a token")
    parser.add_argument("--token", metavar="LABEL", help="which token, where there are more")
    add_passphrase_argument(parser)
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    cards = tuple(make(arguments))
    if arguments.json:
        keys = tuple(KeyReference(name=c.name, keyid=c.keyid, scheme=c.scheme) for c in cards)
        print_document(RepositoryKeyDocument(keys=keys))
    else:
        for card in cards:
            write(paint(f"{symbols()['good']} {clean(card.name)}  {card.keyid}", "good"))
    return exit_codes.GOOD


def make(arguments: argparse.Namespace) -> list[KeyCard]:
    if arguments.pkcs11 is None:
        secret = None if arguments.no_passphrase else new_passphrase(arguments.passphrase_file)
        return [make_key(arguments.keys, name, secret) for name in arguments.names]
    if len(arguments.names) != 1:
        raise UsageError("One slot holds one key.", "Name one key with --pkcs11.")
    ask = passphrase_asker(arguments.passphrase_file)
    name, slot = arguments.names[0], arguments.pkcs11
    return [import_hsm_key(arguments.keys, name, slot, arguments.token, ask)]


def new_passphrase(file: Path | None) -> str:
    if file is not None:
        return read_passphrase(file)
    if not sys.stdin.isatty():
        raise UsageError(
            "A passphrase is needed, and there is no terminal to ask on.",
            "Use --passphrase-file, or --no-passphrase for keys that sign unattended.",
        )
    first = getpass.getpass("passphrase of the new keys: ")
    if not first or first != getpass.getpass("again: "):
        raise UsageError("The passphrases differ, or are empty.", "Try again.")
    return first
