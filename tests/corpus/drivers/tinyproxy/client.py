"""Clients of tinyproxy: tunnels that stay open, and requests that are forwarded one by one."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))

from tests.corpus.drivers.daemon_client import Ask, expect, serve_words
from tests.corpus.drivers.http_client import (
    LOCAL,
    Answer,
    Connection,
    ask_once,
    origin,
)

PROXY, ORIGIN, PROOF_ORIGIN = 8888, 8081, 8082


def ready() -> None:
    """tinyproxy answers for an origin that is not there, too."""
    expect("status", ask_once(PROXY, _forwarded(9, 0)).status, 500)


def tunnel() -> Ask:
    """One CONNECT; then the proxy passes every question on, on the same two connections."""
    connection = Connection(PROXY)
    connection.send(
        b"CONNECT %s:%d HTTP/1.1\r\nHost: %s\r\n\r\n" % (LOCAL.encode(), ORIGIN, b"origin")
    )
    expect("status", connection.established(), 200)

    def ask(number: int) -> None:
        answer = connection.ask(b"GET /%d HTTP/1.1\r\nHost: origin\r\n\r\n" % number)
        expect("through the tunnel", answer.body, b"/%d" % number)

    return ask


def forward() -> Ask:
    """A connection for each question, as tinyproxy has it; Connection names a header each time."""

    def ask(number: int) -> None:
        answer = ask_once(PROXY, _forwarded(ORIGIN, number))
        expect("forwarded", (answer.status, answer.body), (200, b"/%d" % number))

    return ask


def prove_connection() -> str:
    """CVE-2023-49606 (0002-CVE-2023-49606.patch): a Connection header that names `connection` or
    `proxy-connection` makes tinyproxy free the very list of names that it reads, or is to read.

    Sends the half that is harmless: Connection names `proxy-connection`, and Proxy-Connection names
    X-Hop. Before: the second list is freed before it is read, so X-Hop, which belongs to this hop
    only, reaches the origin. After: both lists are read, and X-Hop is removed.
    """
    arrived: list[str] = []

    def answer(request: BaseHTTPRequestHandler, _: bytes) -> Answer:
        arrived.extend(name for name in request.headers if name.lower().startswith("x-"))
        return Answer(200)

    origin(PROOF_ORIGIN, answer)
    ask_once(
        PROXY,
        b"GET http://127.0.0.1:%d/ HTTP/1.1\r\nHost: origin\r\nX-Hop: this hop only\r\n"
        b"X-End: to the end\r\nConnection: proxy-connection\r\nProxy-Connection: x-hop\r\n\r\n"
        % PROOF_ORIGIN,
    )
    return f"the origin was sent: {', '.join(sorted(arrived))}"


def _forwarded(port: int, number: int) -> bytes:
    return (
        b"GET http://127.0.0.1:%d/%d HTTP/1.1\r\nHost: origin\r\n"
        b"X-Hop: 1\r\nConnection: close, X-Hop\r\n\r\n" % (port, number)
    )


if __name__ == "__main__":
    serve_words(
        ready,
        [tunnel, tunnel, tunnel, forward, forward],
        {"connection": prove_connection},
        lambda: origin(ORIGIN, lambda request, _: Answer(200, {}, request.path.encode())),
    )
