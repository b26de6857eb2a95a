"""Hotpatches by name: the only maker of a `VerifiedHotpatch` that is fit for a host.

What it returns holds the very bytes whose hash the signed metadata state. Refuses what is not
signed, has expired, was withdrawn, or is not the hotpatch that its name says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from naht.errors import NothingToDoError, UntrustedError
from naht.hotpatch.container import MAX_FILE_SIZE, unpack_hotpatch
from naht.hotpatch.verified import VerifiedHotpatch, accept_from_repository
from naht.releases.client.download import download
from naht.releases.client.settings import RepositorySettings, read_owned
from naht.releases.client.trust import (
    Mirror,
    TrustedView,
    locked_state,
    make_mirrors,
    open_view,
    refused,
)
from naht.releases.records import (
    MAX_RECORD_SIZE,
    ObjectRecord,
    Offer,
    Record,
    Withdrawal,
    decode_record,
)
from naht.releases.roles import check_product, hotpatch_path, object_path, withdrawn_path


class Repository:
    """One refresh of one repository, as the host's settings say; all answers are of that state."""

    def __init__(
        self, settings: RepositorySettings, view: TrustedView, mirrors: tuple[Mirror, ...]
    ) -> None:
        self._settings = settings
        self._view = view
        # The one that showed the state is the likeliest to have its targets.
        self._mirrors = (view.mirror, *(m for m in mirrors if m is not view.mirror))
        self._cache = Path(settings.state) / "targets"

    def hotpatch(self, name: str) -> VerifiedHotpatch:
        """`name` is a hotpatch's id, of the host's product or, as PRODUCT/ID, of another one."""
        product, slash, identity = name.rpartition("/")
        product = check_product(product if slash else self._settings.product)
        path = hotpatch_path(self._settings.channel, product, identity)
        target = self._view.find(path)
        if target is None:
            raise self._missing(product, identity)
        raw = download(target, self._mirrors, self._cache, MAX_FILE_SIZE)
        hotpatch = accept_from_repository(unpack_hotpatch(raw), target.hashes["sha256"])
        if hotpatch.manifest.id != identity:
            raise refused(
                "altered", self._view.mirror.address,
                f"{path} is the hotpatch {hotpatch.manifest.id}",
            )  # fmt: skip
        return hotpatch

    def offers(self, build_ids: Iterable[str]) -> Iterator[Offer]:
        """What the host's channel has for these objects, each hotpatch once."""
        seen: set[str] = set()
        for build_id in build_ids:
            path = object_path(self._settings.channel, self._settings.product, build_id)
            record = self._record(path, ObjectRecord)
            for offer in record.hotpatches if record else ():
                if offer.digest not in seen:
                    seen.add(offer.digest)
                    yield offer

    def _record(self, path: str, kind: type[Record]) -> Record | None:
        target = self._view.find(path)
        if target is None:
            return None
        return decode_record(download(target, self._mirrors, self._cache, MAX_RECORD_SIZE), kind)

    def _missing(self, product: str, name: str) -> UntrustedError | NothingToDoError:
        settings = self._settings
        withdrawn = self._record(withdrawn_path(settings.channel, product, name), Withdrawal)
        if withdrawn:
            return UntrustedError(
                "withdrawn",
                f"{name} was withdrawn on {withdrawn.withdrawn}: {withdrawn.reason}",
                f"Take it out where it runs: naht revert {name} --all",
            )
        return NothingToDoError(
            f"The channel {settings.channel} has no hotpatch {name!r} for {product}.",
            "Check the name. A file is applied with --unsigned-dev, for development only.",
        )


@contextmanager
def open_repository(settings: RepositorySettings) -> Iterator[Repository]:
    """Refreshes first: what is found afterwards was valid when this began."""
    state = Path(settings.state)
    root = read_owned(Path(settings.root))
    mirrors = make_mirrors(settings.mirrors)
    with locked_state(state):
        metadata = state / "metadata"
        metadata.mkdir(mode=0o755, exist_ok=True)
        try:
            yield Repository(settings, open_view(mirrors, metadata, root), mirrors)
        finally:
            for mirror in mirrors:
                mirror.transport.close()
