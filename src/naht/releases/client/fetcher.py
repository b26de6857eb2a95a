"""What python-tuf's client gets its metadata through: a mirror, within limits.

The limits that metadata itself states are signed, but by keys that live on a server; this one is
ours, whatever is signed.
"""

from __future__ import annotations

from collections.abc import Iterator

from tuf.api.exceptions import DownloadLengthMismatchError
from tuf.ngclient.fetcher import FetcherInterface

from naht.releases.client.transport import Transport

MAX_METADATA = 8 << 20


class MirrorFetcher(FetcherInterface):
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def _fetch(self, url: str) -> Iterator[bytes]:
        received = 0
        with self._transport.get(url) as (_, chunks):
            for chunk in chunks:
                received += len(chunk)
                if received > MAX_METADATA:
                    raise DownloadLengthMismatchError(f"more than {MAX_METADATA} bytes")
                yield chunk
