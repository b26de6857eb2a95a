"""Clients of a small HTTP server on libevent: plain questions, and questions in chunks."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))

from tests.corpus.drivers.daemon_client import expect, serve_words
from tests.corpus.drivers.http_client import Answer, Connection, ask_once, kept_connection

PORT = 8080


def ready() -> None:
    expect("status", ask_once(PORT, _get("/ready")).status, 200)


plain = kept_connection(PORT, lambda number: _get(f"/{number}"), "/{number} role none body")
with_length = kept_connection(
    PORT, lambda number: _post(f"/{number}", f"Content-Length: {len(str(number))}", str(number)),
    "/{number} role none body {number}",
)  # fmt: skip
in_chunks = kept_connection(
    PORT, lambda number: _post(f"/{number}", "Transfer-Encoding: chunked", _chunks(str(number))),
    "/{number} role none body {number}",
)  # fmt: skip


def prove_lengths() -> str:
    """CVE-2026-63382 (CVE-2026-63382.patch): of a request that has a length and is in chunks, too,
    libevent may believe the length where a proxy before it believes the chunks.

    Sends one such request; in its one chunk is another request. Before: both are answered.
    After: it is refused.
    """
    inner = "GET /inner HTTP/1.1\r\nHost: a\r\n\r\n"
    size = f"{len(inner):x}\r\n"
    encoding = f"Content-Length: {len(size)}\r\nTransfer-Encoding: gzip, chunked"
    with Connection(PORT) as connection:
        connection.send(_post("/outer", encoding, f"{size}{inner}\r\n0\r\n\r\n"))
        first = connection.answer()
        others = [connection.answer()] if first.status == 200 else []
    return "; ".join(map(_short, [first, *others]))


def prove_trailer() -> str:
    """CVE-2026-63379 (CVE-2026-63379.patch): what comes after the last chunk is taken for headers.

    Sends a role there. Before: the application finds it among the headers. After: it does not.
    """
    body = _chunks("text", "X-Role: administrator\r\n")
    return _short(ask_once(PORT, _post("/", "Transfer-Encoding: chunked", body)))


def prove_folded() -> str:
    """CVE-2026-63385 (CVE-2026-63385.patch): the value of a header may have new lines in it.

    Has the application answer with such a header. Before: it is sent, in two lines. After: the
    application is told that it can't be.
    """
    answer = ask_once(PORT, _get("/?header=one%0D%0A%20two"))
    return f"{_short(answer)}; X-Asked: {answer.headers.get('x-asked', 'none')}"


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def _post(path: str, headers: str, body: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n{body}".encode()


def _chunks(text: str, trailer: str = "") -> str:
    return f"{len(text):x}\r\n{text}\r\n0\r\n{trailer}\r\n"


def _short(answer: Answer) -> str:
    return str(answer) if answer.status == 200 else f"{answer.status}"


if __name__ == "__main__":
    serve_words(
        ready,
        [plain, plain, with_length, in_chunks, in_chunks],
        {"lengths": prove_lengths, "trailer": prove_trailer, "folded": prove_folded},
    )
