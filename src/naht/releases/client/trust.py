"""The chain of trust on one host: pinned root → … → what a target must be.

python-tuf's client does the verifying; this owns what surrounds it: a state folder of this host's
own, mirrors one after the other, and words for what failed. It refuses (UntrustedError) whatever
does not verify, and never gives up what an earlier visit has learnt: that is what makes a rollback
visible.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from tuf.api import exceptions as tuf_errors
from tuf.api.metadata import TargetFile
from tuf.api.serialization import DeserializationError
from tuf.ngclient import Updater, UpdaterConfig

from naht.errors import BusyError, NahtError, ToolError, UntrustedError, UsageError
from naht.releases.client.fetcher import MAX_METADATA, MirrorFetcher
from naht.releases.client.settings import check_owner
from naht.releases.client.transport import Transport

LOCK_PATIENCE = 30.0  # seconds
_CONFIG = UpdaterConfig(
    max_root_rotations=256, max_delegations=8, root_max_length=512_000,
    timestamp_max_length=16_384, snapshot_max_length=MAX_METADATA, targets_max_length=MAX_METADATA,
)  # fmt: skip

# What python-tuf lets through from metadata that is well-formed JSON and nonsense otherwise.
_NONSENSE = (
    DeserializationError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError,
    RecursionError,
)  # fmt: skip


class Mirror(msgspec.Struct, frozen=True):
    """`address` as it was configured; `url` with a slash at its end."""

    address: str
    url: str
    transport: Transport


def make_mirrors(addresses: Sequence[str]) -> tuple[Mirror, ...]:
    return tuple(Mirror(address, _url_of(address), Transport()) for address in addresses)


def _url_of(address: str) -> str:
    if address.startswith("/"):
        return Path(address).as_uri() + "/"
    if not address.startswith(("https://", "http://", "file:///")):
        raise UsageError(
            f"{address!r} is no mirror.", "Name an https:// address, or a folder by its full path."
        )
    return address if address.endswith("/") else f"{address}/"


class TrustedView:
    """The repository as one refresh showed it: all answers are of one consistent state."""

    def __init__(self, updater: Updater, mirror: Mirror) -> None:
        self._updater = updater
        self.mirror = mirror

    def find(self, path: str) -> TargetFile | None:
        """What the target at the path must be; None: the repository has none there."""
        with told_apart(self.mirror.address):
            return self._updater.get_targetinfo(path)


def open_view(mirrors: Sequence[Mirror], metadata: Path, root: bytes) -> TrustedView:
    """From the first mirror that shows a state that is valid, and not older than a known one.
    Raises what the last mirror failed with, or the first refusal: a refusal says more."""
    failures: list[NahtError] = []
    for mirror in mirrors:
        try:
            return _refresh(mirror, metadata, root)
        except (UntrustedError, ToolError) as error:
            failures.append(error)
    raise next((f for f in failures if isinstance(f, UntrustedError)), failures[-1])


def _refresh(mirror: Mirror, metadata: Path, root: bytes) -> TrustedView:
    with told_apart(mirror.address):
        updater = Updater(
            str(metadata), f"{mirror.url}metadata/", fetcher=MirrorFetcher(mirror.transport),
            config=_CONFIG, bootstrap=root,
        )  # fmt: skip
        updater.refresh()
    return TrustedView(updater, mirror)


@contextmanager
def told_apart(address: str) -> Iterator[None]:
    """Turns what python-tuf raises into our refusals; `address` is where the metadata came from."""
    try:
        yield
    except tuf_errors.DownloadLengthMismatchError as error:
        raise refused("too-large", address, f"A file is longer than it may be: {error}") from error
    except tuf_errors.DownloadError as error:
        raise unreachable(address, error) from error
    except (tuf_errors.RepositoryError, *_NONSENSE) as error:
        raise _refusal(address, error) from error
    except OSError as error:
        raise UsageError(
            f"Cannot keep the repository's state: {error}.", "Check `state` in the settings."
        ) from error


def unreachable(address: str, error: Exception) -> ToolError:
    return ToolError(
        f"The repository at {address} cannot be reached: {_words(error)}.",
        "Check the network and the address; what runs stays as it is.",
    )


def refused(reason: str, address: str, what: str) -> UntrustedError:
    return UntrustedError(
        reason,
        f"The repository at {address} is not to be trusted now. {what}.",
        "Nothing was applied, and what runs stays as it is. Tell who runs the repository.",
    )


def _refusal(address: str, error: Exception) -> UntrustedError:
    words = _words(error)
    if isinstance(error, tuf_errors.ExpiredMetadataError):
        return UntrustedError(
            "expired",
            f"The repository at {address} has expired: {words}.",
            "Nothing new is applied until it is signed again (`naht repo sign`); what runs stays "
            "as it is. Check this host's clock, too.",
        )
    if isinstance(error, tuf_errors.BadVersionNumberError):
        return refused("rollback", address, f"It shows an older state than before: {words}")
    if isinstance(error, tuf_errors.UnsignedMetadataError):
        return refused("bad-signature", address, f"Signatures are missing: {words}")
    if isinstance(error, tuf_errors.LengthOrHashMismatchError):
        return refused("altered", address, f"A file is not what was signed: {words}")
    return refused("malformed", address, f"It is not well-formed: {words}")


def _words(error: Exception) -> str:
    cause = error.__cause__
    text = str(error) or (str(cause) if cause else "") or type(error).__name__
    return text.rstrip(".")[:500]


@contextmanager
def locked_state(state: Path) -> Iterator[None]:
    """Makes the host's state folder, and keeps others out: the client works alone in it."""
    try:
        state.mkdir(mode=0o755, parents=True, exist_ok=True)
        check_owner(state, state.stat())
        descriptor = os.open(state / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(
            f"Cannot keep the repository's state in {state}: {error.strerror}.",
            "Run it as root, or name another `state` folder in the settings.",
        ) from error
    try:
        _wait_for_lock(descriptor, state)
        yield
    finally:
        os.close(descriptor)


def _wait_for_lock(descriptor: int, state: Path, now: Callable[[], float] = time.monotonic) -> None:
    ends = now() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if now() > ends:
                raise BusyError(
                    f"Another naht is using {state}.", "Try again when it is done."
                ) from error
            time.sleep(0.05)
        else:
            return
