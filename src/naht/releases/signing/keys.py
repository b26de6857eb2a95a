"""Signing keys: a card beside each says who it is and where its private half lies.

A card (`NAME.key.json`) holds the public half and either the name of a key file in the same folder
or a URI that securesystemslib understands (`hsm:…`: a PKCS#11 token). Refuses a private key file
that others can read, and asks for a passphrase only when a key file has one.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner, HSMSigner, Key, Signer, SSlibKey

from naht.errors import UsageError

CARD_SUFFIX = ".key.json"
FILE_SUFFIX = ".pem"
MAX_KEY_FILE = 1 << 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_URI = re.compile(r"[a-z0-9]{2,16}:")

AskPassphrase = Callable[[str], str]
"""Given the name of a key, its passphrase; raises UsageError where nobody can be asked."""


class KeyCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`private`: a file name in the card's folder, a URI, or "" (only the public half is here)."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    keyid: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    keytype: str
    scheme: str
    public: str
    private: str = ""

    def key(self) -> Key:
        content = {
            "keytype": self.keytype, "scheme": self.scheme, "keyval": {"public": self.public},
        }  # fmt: skip
        return Key.from_dict(self.keyid, content)


class Keyring:
    """The keys of some folders; private halves are opened when they sign for the first time."""

    def __init__(self, folders: Sequence[Path], ask: AskPassphrase) -> None:
        self._cards: dict[str, tuple[Path, KeyCard]] = {}
        self._signers: dict[str, Signer] = {}
        self._ask = ask
        for folder in folders:
            for path in sorted(folder.glob(f"*{CARD_SUFFIX}")):
                card = read_card(path)
                self._cards.setdefault(card.keyid, (folder, card))

    @property
    def cards(self) -> tuple[KeyCard, ...]:
        return tuple(card for _, card in self._cards.values())

    def named(self, name: str) -> KeyCard:
        found = [card for card in self.cards if card.name == name]
        if len(found) == 1:
            return found[0]
        count = "no key" if not found else "more than one key"
        raise UsageError(f"There is {count} {name!r} in the key folders.", "Check --keys.")

    def can_sign(self, keyid: str) -> bool:
        folder, card = self._cards.get(keyid, (Path(), None))
        if card is None or not card.private:
            return False
        return _is_uri(card.private) or (folder / card.private).exists()

    def signer(self, keyid: str) -> Signer:
        if keyid not in self._signers:
            folder, card = self._cards[keyid]
            self._signers[keyid] = open_signer(folder, card, self._ask)
        return self._signers[keyid]

    def signers(self, keyids: Iterable[str]) -> list[Signer]:
        """Of those keys whose private halves are at hand."""
        return [self.signer(keyid) for keyid in keyids if self.can_sign(keyid)]


def make_key(folder: Path, name: str, passphrase: str | None) -> KeyCard:
    """A new Ed25519 key; None: without a passphrase, for keys that sign unattended."""
    _check_name(name)
    private = Ed25519PrivateKey.generate()
    encryption: KeySerializationEncryption = NoEncryption()
    if passphrase is not None:
        encryption = BestAvailableEncryption(passphrase.encode())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    card = _card(name, SSlibKey.from_crypto(private.public_key()), name + FILE_SUFFIX)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write_new(folder / card.private, pem, 0o600)
    write_card(folder, card)
    return card


def import_hsm_key(
    folder: Path, name: str, slot: int, label: str | None, ask: AskPassphrase
) -> KeyCard:
    """A key that stays in a PKCS#11 token; PYKCS11LIB names the token's library."""
    _check_name(name)
    try:
        uri, key = HSMSigner.import_(slot, label, ask)
    except Exception as error:  # token libraries raise whatever they like
        raise UsageError(
            f"The key cannot be read from the token: {error}.",
            "Set PYKCS11LIB to the token's library, and check slot and label.",
        ) from error
    card = _card(name, key, uri)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_card(folder, card)
    return card


def _card(name: str, key: SSlibKey, private: str) -> KeyCard:
    return KeyCard(
        name=name, keyid=key.keyid, keytype=key.keytype, scheme=key.scheme,
        public=key.keyval["public"], private=private,
    )  # fmt: skip


def write_card(folder: Path, card: KeyCard) -> None:
    raw = msgspec.json.format(msgspec.json.encode(card), indent=1)
    _write_new(folder / (card.name + CARD_SUFFIX), raw + b"\n", 0o644)


def read_card(path: Path) -> KeyCard:
    try:
        with path.open("rb") as stream:
            card = msgspec.json.decode(stream.read(MAX_KEY_FILE), type=KeyCard)
        card.key()
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.", "Check --keys.") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, KeyError) as error:
        raise UsageError(f"{path} is no key card: {error}.", "Remove it.") from error
    return card


def open_signer(folder: Path, card: KeyCard, ask: AskPassphrase) -> Signer:
    if _is_uri(card.private):
        return _open_by_uri(card, ask)
    path = folder / Path(card.private).name
    pem = _read_private(path)
    secret = ask(card.name).encode() if b"ENCRYPTED" in pem.split(b"\n", 1)[0] else None
    try:
        key = card.key()
        if not isinstance(key, SSlibKey):
            raise ValueError("it is of a kind that key files don't have")
        return CryptoSigner(load_pem_private_key(pem, secret), key)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(
            f"The key {card.name} cannot be opened: {error}.", "Check the passphrase and the file."
        ) from error


def _open_by_uri(card: KeyCard, ask: AskPassphrase) -> Signer:
    try:
        return Signer.from_priv_key_uri(card.private, card.key(), lambda _: ask(card.name))
    except Exception as error:  # each kind of signer has errors of its own
        raise UsageError(
            f"The key {card.name} cannot be opened: {error}.", f"Check what {card.private} needs."
        ) from error


def _is_uri(private: str) -> bool:
    return bool(_URI.match(private))


def _read_private(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise UsageError(f"Others can read {path}.", f"chmod 600 {path}")
            return stream.read(MAX_KEY_FILE)
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.", "Check --keys.") from error


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Never over an existing file: a lost root key is lost for good."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except FileExistsError as error:
        raise UsageError(f"{path} exists already.", "Choose another name.") from error
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror}.", "Check the folder.") from error


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name for a key.", "Use letters, digits, and _ . -")
