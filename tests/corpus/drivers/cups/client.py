"""Clients of the printing scheduler: its pages, and IPP requests."""

from __future__ import annotations

import base64
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))

from tests.corpus.drivers.daemon_client import Ask, expect, serve_words
from tests.corpus.drivers.http_client import Answer, Connection, ask_once

PORT = 6310
GET_DEFAULT, GET_PRINTERS = 0x4001, 0x4002
OPERATION_ATTRIBUTES, END = b"\1", b"\3"
CHARSET, LANGUAGE, INTEGER, EXTENSION = 0x47, 0x48, 0x21, 0x7F
LIMIT = b"limit"
NAMES = {0: "successful", 0x0400: "bad request", 0x0406: "not found"}


def ready() -> None:
    expect("status", ask_once(PORT, _get("/cups.css")).status, 200)


def pages() -> Ask:
    """One connection; one question in three shows a password that the page does not ask for."""
    connection = Connection(PORT)
    wanted = connection.ask(_get("/cups.css")).body

    def ask(number: int) -> None:
        answer = connection.ask(_get("/cups.css", "" if number % 3 else _password("secret")))
        expect("page", (answer.status, answer.body), (200, wanted))

    return ask


def printers() -> Ask:
    """IPP requests on one connection: read by libcups, answered by the scheduler."""
    connection = Connection(PORT)

    def ask(number: int) -> None:
        answer = connection.ask(_post(_ipp(GET_PRINTERS, number, _attribute(INTEGER, LIMIT, 9))))
        expect("printers", _status(answer, number), "not found")

    return ask


def refused() -> Ask:
    """Pages that ask for somebody, for nobody."""

    def ask(_: int) -> None:
        expect("status", ask_once(PORT, _get("/robots.txt")).status, 401)

    return ask


def prove_basic() -> str:
    """CVE-2025-58060 (0025-…-authentication-bypass-with-AuthType-negotiate.patch): where only
    Kerberos tickets are to be taken, `Authorization: Basic` is taken, too.

    Asks for a page of `AuthType Negotiate` with a name and a password. Before: the page comes.
    After: 401.
    """
    return f"status {ask_once(PORT, _get('/robots.txt', _password('secret'))).status}"


def prove_extension() -> str:
    """CVE-2025-58364 (0026-…-remote-DoS-via-null-dereference.patch): the reader of IPP takes tags
    of four bytes, and so groups that it did not begin.

    Asks with an integer whose tag is written in four bytes: a kind that is known, in a group that
    has begun. Before: it is read as that integer. After: such tags are not read.
    """
    tag = bytes([EXTENSION]) + struct.pack(">I", INTEGER)
    attribute = tag + _attribute(INTEGER, LIMIT, 9)[1:]
    return _status(ask_once(PORT, _post(_ipp(GET_PRINTERS, 1, attribute))), 1)


def _get(path: str, more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode()


def _password(password: str) -> str:
    return f"Authorization: Basic {base64.b64encode(b'clerk:' + password.encode()).decode()}\r\n"


def _post(body: bytes) -> bytes:
    head = (
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ipp\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _ipp(operation: int, number: int, more: bytes) -> bytes:
    return (
        struct.pack(">BBHI", 1, 1, operation, number)
        + OPERATION_ATTRIBUTES
        + _attribute(CHARSET, b"attributes-charset", b"utf-8")
        + _attribute(LANGUAGE, b"attributes-natural-language", b"en")
        + more
        + END
    )


def _attribute(tag: int, name: bytes, value: bytes | int) -> bytes:
    raw = struct.pack(">I", value) if isinstance(value, int) else value
    return struct.pack(">BH", tag, len(name)) + name + struct.pack(">H", len(raw)) + raw


def _status(answer: Answer, number: int) -> str:
    if answer.status != 200:
        return f"HTTP {answer.status}"
    code, asked = struct.unpack(">HI", answer.body[2:8])
    expect("request number", asked, number)
    return NAMES.get(code, f"status {code:#06x}")


if __name__ == "__main__":
    serve_words(
        ready,
        [pages, pages, printers, printers, refused],
        {"basic": prove_basic, "extension": prove_extension},
    )
