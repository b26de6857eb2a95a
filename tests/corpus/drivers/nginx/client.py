"""Clients of nginx: HTTP, TLS with client certificates, an SCGI application, a mail proxy."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))

from tests.corpus.drivers.daemon_client import Ask, expect, serve_words
from tests.corpus.drivers.http_client import (
    Connection,
    ask_once,
    kept_connection,
    plain_socket,
)
from tests.corpus.drivers.line_client import LineConnection
from tests.corpus.drivers.nginx.backends import (
    application,
    mail_judge,
    name_server,
)

CERTIFICATES = Path(__file__).parent / "tls"
HTTP, HTTPS, MAIL, PROOF_MAIL = 8080, 8443, 2525, 2526
APPLICATION, PROOF_APPLICATION = 9002, 9003
NAMES, PROOF_NAMES, JUDGE, PROOF_JUDGE = 5353, 5354, 9004, 9005


def ready() -> None:
    expect("status", ask_once(HTTP, _get("/shop/ready")).status, 200)


def behind() -> None:
    """What the load needs behind nginx."""
    application(APPLICATION, lambda uri: [b"Status: 200 OK\r\n\r\n" + uri.encode()])
    name_server(NAMES, b"client")
    mail_judge(JUDGE)


rewritten = kept_connection(HTTP, lambda number: _get(f"/shop/{number}"), "{number}")
applied = kept_connection(
    HTTP, lambda number: _get(f"/application/{number}"), "/application/{number}"
)


def private() -> Ask:
    """Kept, over TLS, with a certificate of the client's own."""
    connection = Connection(_tls("a.test", _context()))

    def ask(number: int) -> None:
        _expect_private(connection, number)

    return ask


def handshakes() -> Ask:
    """A new connection for each question, with a session that is resumed for the same name."""
    context = _context()
    first = _tls("a.test", context)
    _expect_private(Connection(first), 0)

    def ask(number: int) -> None:
        with Connection(_tls("a.test", context, first.session)) as connection:
            _expect_private(connection, number)

    return ask


def mail_session() -> Ask:
    """One session, for ever."""
    connection = LineConnection(MAIL)
    expect("greeting", connection.reply(), "220 mail.test ESMTP ready")
    connection.expect("HELO client", "250")

    def ask(_: int) -> None:
        expect("NOOP", connection.say("NOOP"), "250 2.0.0 OK")

    return ask


def mail_sessions() -> Ask:
    """A session for each question: nginx looks up the client's name, and has the judge asked."""

    def ask(number: int) -> None:
        with LineConnection(MAIL) as connection:
            expect("greeting", connection.reply(), "220 mail.test ESMTP ready")
            connection.expect("HELO client", "250")
            connection.expect(f"MAIL FROM:<{number}@client.test>", "250")
            connection.expect(f"RCPT TO:<{number}@mail.test>", "550")

    return ask


def prove_rewrite() -> str:
    """CVE-2026-42945 (CVE-2026-42945.patch): after a rewrite with arguments, a captured value is
    escaped into memory that was sized for the unescaped one.

    Asks for `tea+milk`, two bytes longer once escaped; the bytes behind belong to the same request
    and are unused. Before: the answer is `tea%2Bmi`, cut at the size. After: `tea+milk`.
    """
    return str(ask_once(HTTP, _get("/shop/tea+milk")))


def prove_captures() -> str:
    """CVE-2026-9256 (CVE-2026-9256.patch): memory for overlapping captures is sized as if they
    were escaped once.

    Asks for `a+b`, captured twice: two bytes too many, in memory of the same request that is given
    out next, for the answer. Before: the answer's first bytes are in the place of the last of the
    captured value. After: both are whole.
    """
    return str(ask_once(HTTP, _get("/twice/a+b")))


def prove_split() -> str:
    """CVE-2026-42946 (CVE-2026-42946.2.patch): when an application's first line arrives in two
    parts and is no status line, nginx forgets the first part.

    The application sends `HT`, then `TPS-Only: yes`. Before: the client gets a header `TPS-Only`.
    After: `HTTPS-Only`, as it was sent.
    """
    application(PROOF_APPLICATION, lambda _: [b"HT", b"TPS-Only: yes\r\nX-End: 1\r\n\r\nanswer"])
    answer = ask_once(HTTP, _get("/split/"))
    return f"{answer}; headers: {', '.join(n for n in answer.headers if n.endswith('tps-only'))}"


def prove_session() -> str:
    """CVE-2025-23419 (CVE-2025-23419.patch): a TLS 1.3 session can be resumed for another server
    name, whose server trusts other client certificates.

    Shows its certificate to a.test, and resumes the session for b.test, which does not know it.
    Before: b.test answers. After: the handshake is refused with `access denied`.
    """
    context = _context()
    first = _tls("a.test", context)
    with Connection(first) as connection:
        _expect_private(connection, 1)
        try:
            with Connection(_tls("b.test", context, first.session)) as other:
                return str(other.ask(_get("/secret", "b.test")))
        except ssl.SSLError as error:
            return f"refused: {error.reason}"


def prove_mail_host() -> str:
    """CVE-2026-28753 (CVE-2026-28753.patch): the name that the client's address resolves to goes
    into the questions to the mail judge as it is.

    The name server says that the client is called `client`, new line, `Auth-Trusted: yes`. Before:
    the judge is sent a header Auth-Trusted. After: the name is not taken.
    """
    told: list[dict[str, str]] = []
    name_server(PROOF_NAMES, b"client\r\nAuth-Trusted: yes")
    mail_judge(PROOF_JUDGE, told.append)
    with LineConnection(PROOF_MAIL) as connection:
        connection.reply()
        connection.expect("HELO client", "250")
        connection.expect("MAIL FROM:<a@client.test>", "250")
        connection.say("RCPT TO:<b@mail.test>")
    names = ("client-host", "auth-trusted")
    return "the judge is told " + ", ".join(f"{n}: {told[0].get(n)}" for n in names)


def _get(path: str, host: str = "a.test") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is the server that has to know whom it talks to
    context.load_cert_chain(CERTIFICATES / "client-a.pem", CERTIFICATES / "client-a.key")
    return context


def _tls(
    name: str, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> ssl.SSLSocket:
    return context.wrap_socket(plain_socket(HTTPS), server_hostname=name, session=session)


def _expect_private(connection: Connection, number: int) -> None:
    answer = str(connection.ask(_get(f"/{number}")))
    expect("private", answer, f"200 /{number} at a.test for CN=client-a.test")


if __name__ == "__main__":
    serve_words(
        ready,
        [rewritten, rewritten, applied, private, handshakes, mail_session, mail_sessions],
        {
            "rewrite": prove_rewrite,
            "captures": prove_captures,
            "split": prove_split,
            "session": prove_session,
            "mail-host": prove_mail_host,
        },
        behind,
    )
