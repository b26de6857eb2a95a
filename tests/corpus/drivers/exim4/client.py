"""Clients of the mail server: sessions that stay, and hand in one message after the other. Each is
served by a process of its own, which the server forks."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))

from tests.corpus.drivers.daemon_client import Ask, expect, serve_words
from tests.corpus.drivers.line_client import LineConnection

PORT = 2525
SILENCE = 1.0  # seconds; then the server has said all that it is going to say


def ready() -> None:
    with _greeted() as connection:
        connection.expect("QUIT", "221")


def session() -> Ask:
    connection = _greeted()

    def ask(number: int) -> None:
        _begin(connection, number)
        connection.send(f"Subject: {number}\r\n\r\nA line.\r\n..dot\r\n".encode())
        connection.expect(".", "250")

    return ask


def chunks() -> Ask:
    """The other way to hand in a message."""
    connection = _greeted()

    def ask(number: int) -> None:
        connection.expect(f"MAIL FROM:<{number}@client.test>", "250")
        connection.expect(f"RCPT TO:<{number}@mail.test>", "250")
        message = f"Subject: {number}\r\n\r\nA line.\r\n"
        connection.send(f"BDAT {len(message)} LAST\r\n{message}".encode())
        expect("BDAT", connection.reply()[:3], "250")

    return ask


def prove_smuggling() -> str:
    """CVE-2023-51766 (77_CVE-2023-51766_4.97.1-release.diff): a message ends at `LF . LF`, too;
    what a relay took for its text goes on as commands of the relay's.

    Hands in one message whose text has such a line, and then commands that hand in another. Before:
    two messages are taken. After: one, with all of it as its text.
    """
    with _greeted() as connection:
        _begin(connection, 1)
        connection.send(
            b"Subject: outer\r\n\r\nThe text.\n.\nMAIL FROM:<inner@client.test>\r\n"
            b"RCPT TO:<inner@mail.test>\r\nBDAT 18 LAST\r\nSubject: inner\r\n\r\n"
        )
        replies = connection.replies_until_silent(SILENCE)
        connection.send(b"\r\n.\r\n")
        replies += connection.replies_until_silent(SILENCE)
    return f"{sum(r.startswith('250 OK id=') for r in replies)} message(s) taken"


def _greeted() -> LineConnection:
    connection = LineConnection(PORT)
    expect("greeting", connection.reply()[:3], "220")
    connection.expect("EHLO client.test", "250")
    return connection


def _begin(connection: LineConnection, number: int) -> None:
    connection.expect(f"MAIL FROM:<{number}@client.test>", "250")
    connection.expect(f"RCPT TO:<{number}@mail.test>", "250")
    connection.expect("DATA", "354")


if __name__ == "__main__":
    serve_words(ready, [session, session, session, chunks], {"smuggling": prove_smuggling})
