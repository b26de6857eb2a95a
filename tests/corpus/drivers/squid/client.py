"""Clients of the caching proxy: requests on kept connections, with lengths and in chunks, and the
questions that other caches ask by ICP."""

from __future__ import annotations

import socket
import struct
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))

from tests.corpus.drivers.daemon_client import PATIENCE, Ask, expect, serve_words
from tests.corpus.drivers.http_client import Answer, ask_once, kept_connection, origin

PROXY, ORIGIN, PROOF_ORIGIN, NOBODY = 3128, 8081, 8082, 9
ICP = ("127.0.0.1", 3130)
ICP_HEADER = struct.Struct(">BBHIIII")
QUERY, MISS, ERROR = 1, 3, 4
SAID = {MISS: "miss", ERROR: "error"}


def ready() -> None:
    expect("status", ask_once(PROXY, _get(NOBODY, "/")).status, 503)
    expect("ICP", _icp(_icp_socket(), 1, b"http://127.0.0.1/\0")[0], MISS)


forwarded = kept_connection(PROXY, lambda number: _get(ORIGIN, f"/{number}"), "/{number}:")
in_chunks = kept_connection(
    PROXY, lambda number: _post(ORIGIN, f"/{number}", _chunk(f"body {number}")),
    "/{number}:body {number}",
)  # fmt: skip


def other_cache() -> Ask:
    asked = _icp_socket()

    def ask(number: int) -> None:
        url = b"http://127.0.0.1/%d" % number
        expect("ICP", _icp(asked, number, url + b"\0"), (MISS, url))

    return ask


def prove_icp_escape() -> str:
    """CVE-2026-33526 (CVE-2026-33526.patch): an address with white space is escaped twice, and the
    second time from the very memory that it is written to.

    An error page first, so that this memory is large and is not replaced while it is read; then
    asks by ICP for an address with a space. Before: what was escaped is escaped again. After: the
    address comes back escaped once.
    """
    ask_once(PROXY, _get(NOBODY, "/a-page-that-is-nowhere"))
    said, url = _icp(_icp_socket(), 1, b"http://127.0.0.1/a b\0")
    return f"{SAID.get(said, said)} {url[:30].decode()}"


def prove_icp_garbage() -> str:
    """CVE-2026-33515 (CVE-2026-33515.patch): the address in an ICP packet need not end where the
    packet does; what is read past it is not the sender's.

    Asks for an address with more behind its end, all within the packet. Before: it is answered.
    After: it is an error.
    """
    said, _ = _icp(_icp_socket(), 1, b"http://127.0.0.1/a\0more\0")
    return SAID.get(said, str(said))


def prove_chunk_size() -> str:
    """CVE-2023-46846 (CVE-2023-46846.patch): sizes of chunks that others read differently are
    taken, so that a request can be hidden in another one's body.

    Sends a chunk of size `0x5`, which is zero to those who stop at the `x`. Before: it is forwarded
    as five bytes. After: it is refused.
    """
    arrived: list[bytes] = []
    _echo(PROOF_ORIGIN, arrived)
    try:
        answer = ask_once(PROXY, _post(PROOF_ORIGIN, "/", "0x5\r\nhello\r\n0\r\n\r\n"))
    except ConnectionError:
        return f"refused, {len(arrived)} request(s) forwarded"
    return f"status {answer.status}, {len(arrived)} request(s) forwarded"


def prove_trace() -> str:
    """CVE-2025-62168 (CVE-2025-62168.patch): the proxy shows passwords that it was sent to scripts
    in the pages that it answers with.

    Has it trace a request with a password. Before: the answer has it. After: it is masked.
    """
    request = (
        "TRACE http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\nMax-Forwards: 0\r\n"
        "Authorization: Basic Y2xlcms6c2VjcmV0\r\n\r\n"
    )
    answer = ask_once(PROXY, request.encode())
    lines = answer.body.decode().splitlines()
    return f"{answer.status} {[line for line in lines if line.startswith('Authorization')]}"


def behind() -> None:
    _echo(ORIGIN, [])


def _echo(port: int, arrived: list[bytes]) -> None:
    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        arrived.append(body)
        return Answer(200, {"Cache-Control": "no-store"}, request.path.encode() + b":" + body)

    origin(port, answer)


def _get(port: int, path: str) -> bytes:
    return f"GET http://127.0.0.1:{port}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def _post(port: int, path: str, body: str) -> bytes:
    head = (
        f"POST http://127.0.0.1:{port}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    return (head + body).encode()


def _chunk(text: str) -> str:
    return f"{len(text):x}\r\n{text}\r\n0\r\n\r\n"


def _icp_socket() -> socket.socket:
    asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asked.settimeout(PATIENCE)
    asked.bind(("127.0.0.2", 0))  # what comes from the proxy's own address is not answered
    asked.connect(ICP)
    return asked


def _icp(asked: socket.socket, number: int, payload: bytes) -> tuple[int, bytes]:
    """What is said, and of which address."""
    payload = bytes(4) + payload  # the requester's address, which nobody looks at
    size = ICP_HEADER.size + len(payload)
    asked.send(ICP_HEADER.pack(QUERY, 2, size, number, 0, 0, 0) + payload)
    reply = asked.recv(65536)
    said, _, _, answered, *_ = ICP_HEADER.unpack(reply[: ICP_HEADER.size])
    expect("request number", answered, number)
    return said, reply[ICP_HEADER.size :].rstrip(b"\0")


if __name__ == "__main__":
    serve_words(
        ready,
        [forwarded, forwarded, in_chunks, other_cache],
        {
            "icp-escape": prove_icp_escape,
            "icp-garbage": prove_icp_garbage,
            "chunk-size": prove_chunk_size,
            "trace": prove_trace,
        },
        behind,
    )
