"""Clients of a small HTTP server on libsoup."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))

from tests.corpus.drivers.daemon_client import expect, serve_words
from tests.corpus.drivers.http_client import ask_once, kept_connection

PORT = 8080


def ready() -> None:
    expect("status", ask_once(PORT, _get("/ready")).status, 200)


plain = kept_connection(PORT, lambda number: _get(f"/{number}"), "/{number} role none")
with_role = kept_connection(
    PORT, lambda number: _get(f"/{number}", "X-Role: clerk\r\n"), "/{number} role clerk"
)


def prove_nul() -> str:
    """CVE-2024-52530 (CVE-2024-52530.patch): NUL bytes in headers are left out, so that a header
    has another name for libsoup than for the proxy before it.

    Sends `X-`, NUL, `Role`, a header that a proxy that takes `X-Role` away does not know. Before:
    the application is told the role. After: the request is refused.
    """
    answer = ask_once(PORT, _get("/", "X-\0Role: administrator\r\n"))
    return str(answer) if answer.status == 200 else f"{answer.status}"


def _get(path: str, headers: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode()


if __name__ == "__main__":
    serve_words(ready, [plain, plain, with_role, with_role], {"nul": prove_nul})
