"""Gets bytes from a mirror, which may be hostile, slow or gone: over HTTP(S), or out of a folder.

Owns the limits that no signature can give: how long a connection may take, how slow it may be, how
much is read at most. Follows no redirection (a hostile mirror could have us ask the host's own
neighbours), takes no compressed answer (a small one could become a huge one), and believes nothing
of what it gets: that is the business of who called.

http.client and not a higher library, because only the owner of the socket can end a transfer that
trickles: every byte resets a socket's time-out.
"""

from __future__ import annotations

import base64
import http.client
import os
import re
import socket
import ssl
import stat
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuf.api.exceptions import DownloadError, DownloadHTTPError, SlowRetrievalError

from naht import __version__

SOCKET_TIMEOUT = 20.0  # seconds without a single byte
HEAD_LIMIT = 60.0  # seconds until the answer's head is there
SLOWEST = 2048  # bytes a second, on average from the first `GRACE` seconds on
GRACE = 30.0
CHUNK = 1 << 16
_CONTENT_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15}|\*)")


class Transport:
    """One for each mirror; keeps its connection. `get` is the only thing that it does."""

    def __init__(self) -> None:
        self._connection: http.client.HTTPConnection | None = None
        self._origin: tuple[str, str] = ("", "")

    def close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    @contextmanager
    def get(self, url: str, offset: int = 0) -> Iterator[tuple[int, Iterator[bytes]]]:
        """(where the bytes begin, the bytes). A server may ignore `offset` and begin at 0.

        Raises DownloadError; a DownloadHTTPError has the server's status, 404 for a missing file.
        """
        parts = urllib.parse.urlsplit(url)
        if parts.scheme == "file":
            yield _read_file(Path(urllib.parse.unquote(parts.path)), offset)
        elif parts.scheme in ("http", "https") and parts.hostname:
            try:
                response = self._ask(parts, offset)
                begins = _begin(response, offset) if response.status == 206 else 0
                yield begins, self._chunks(response)
                if not response.isclosed():
                    self.close()  # what is left of the answer must not become the next one
            except (OSError, http.client.HTTPException) as error:
                self.close()
                raise _as_download_error(url, error) from error
            except BaseException:
                self.close()
                raise
        else:
            raise DownloadError(f"{url} is neither http, https nor file")

    def _ask(self, parts: urllib.parse.SplitResult, offset: int) -> http.client.HTTPResponse:
        response = self._send(parts, offset)
        status = response.status
        if status not in (200, 206) or (status == 206 and not offset):
            self._drain(response)
            raise DownloadHTTPError(f"HTTP status {status}", status)
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise DownloadError("the server sent a compressed answer, which was not asked for")
        if response.chunked:  # its lengths are read line by line, and a line could trickle for ever
            raise DownloadError("the server does not say how long the file is")
        return response

    def _send(self, parts: urllib.parse.SplitResult, offset: int) -> http.client.HTTPResponse:
        """Once more where a kept connection turns out to be closed by now."""
        kept = self._connection is not None and self._origin == (parts.scheme, parts.netloc)
        try:
            return self._send_once(parts, offset)
        except (http.client.RemoteDisconnected, ConnectionError):
            self.close()
            if not kept:
                raise
        return self._send_once(parts, offset)

    def _send_once(self, parts: urllib.parse.SplitResult, offset: int) -> http.client.HTTPResponse:
        connection = self._connect(parts)
        headers = {"User-Agent": f"naht/{__version__}", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        if parts.scheme == "http" and (proxy := _proxy_for(parts)):
            headers |= _proxy_headers(proxy)
        with _ended_after(HEAD_LIMIT, connection):
            connection.request("GET", _request_target(parts), headers=headers)
            return connection.getresponse()

    def _connect(self, parts: urllib.parse.SplitResult) -> http.client.HTTPConnection:
        if self._connection and self._origin == (parts.scheme, parts.netloc):
            return self._connection
        self.close()
        self._connection = _make_connection(parts)
        self._origin = (parts.scheme, parts.netloc)
        return self._connection

    def _chunks(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        started, received = time.monotonic(), 0
        while chunk := response.read1(CHUNK):
            received += len(chunk)
            elapsed = time.monotonic() - started
            if elapsed > GRACE and received < SLOWEST * elapsed:
                raise SlowRetrievalError(f"only {received} bytes in {elapsed:.0f} seconds")
            yield chunk

    def _drain(self, response: http.client.HTTPResponse) -> None:
        """A short page of an error is read, so that the connection can be used again."""
        length = response.length
        if length is None or length > CHUNK:
            self.close()
            return
        with _ended_after(HEAD_LIMIT, self._connection):
            response.read(length)


def _read_file(path: Path, offset: int) -> tuple[int, Iterator[bytes]]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise DownloadHTTPError(f"{path} is not there", 404) from error
    except OSError as error:
        raise DownloadError(f"{path}: {error.strerror}") from error
    stream = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        stream.close()
        raise DownloadError(f"{path} is no file")

    def chunks() -> Iterator[bytes]:
        with stream:
            stream.seek(offset)
            while chunk := stream.read(CHUNK):
                yield chunk

    return offset, chunks()


def _make_connection(parts: urllib.parse.SplitResult) -> http.client.HTTPConnection:
    """To the server, or to the proxy that the environment names for it."""
    host, port = parts.hostname or "", parts.port
    proxy = _proxy_for(parts)
    if parts.scheme == "https":
        context = ssl.create_default_context()
        if proxy is None:
            return http.client.HTTPSConnection(host, port, timeout=SOCKET_TIMEOUT, context=context)
        tunnelled = http.client.HTTPSConnection(
            proxy.hostname or "", proxy.port or 8080, timeout=SOCKET_TIMEOUT, context=context
        )
        tunnelled.set_tunnel(host, port or 443, headers=_proxy_headers(proxy))
        return tunnelled
    if proxy is None:
        return http.client.HTTPConnection(host, port, timeout=SOCKET_TIMEOUT)
    return http.client.HTTPConnection(
        proxy.hostname or "", proxy.port or 8080, timeout=SOCKET_TIMEOUT
    )


def _proxy_for(parts: urllib.parse.SplitResult) -> urllib.parse.SplitResult | None:
    host = parts.hostname or ""
    if urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return urllib.parse.urlsplit(proxy) if proxy else None


def _proxy_headers(proxy: urllib.parse.SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{urllib.parse.unquote(proxy.username)}:{urllib.parse.unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _request_target(parts: urllib.parse.SplitResult) -> str:
    path = parts.path or "/"
    return parts.geturl() if parts.scheme == "http" and _proxy_for(parts) else path


@contextmanager
def _ended_after(seconds: float, connection: http.client.HTTPConnection | None) -> Iterator[None]:
    """Shuts the socket down when the time is over, whatever trickles in: the reader then fails."""
    expired = threading.Event()

    def end() -> None:
        expired.set()
        if connection is not None and connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        if expired.is_set():
            raise SlowRetrievalError(f"no answer within {seconds:.0f} seconds") from error
        raise
    finally:
        timer.cancel()


def _begin(response: http.client.HTTPResponse, offset: int) -> int:
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if not match or int(match[1]) != offset:
        raise DownloadError("the server sent another part of the file than was asked for")
    return offset


def _as_download_error(url: str, error: Exception) -> DownloadError:
    if isinstance(error, TimeoutError):
        return SlowRetrievalError(f"{url}: nothing came for {SOCKET_TIMEOUT:.0f} seconds")
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return DownloadError(f"{url}: {reason}")
