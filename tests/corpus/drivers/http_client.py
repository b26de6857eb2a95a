"""HTTP for the clients of daemons: byte for byte what is sent, and answers that are read whole.

The standard library's clients repair or refuse what a proof has to send.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.corpus.drivers.daemon_client import PATIENCE, Ask, Connect, expect

LOCAL = "127.0.0.1"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)  # names in lower case
    body: bytes = b""

    def __str__(self) -> str:
        return f"{self.status} {self.body.decode(errors='replace').strip()}"


def plain_socket(port: int) -> socket.socket:
    plain = socket.create_connection((LOCAL, port), timeout=PATIENCE)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return plain


class Connection:
    """One connection, and the answers on it one after the other."""

    def __init__(self, to: socket.socket | int) -> None:
        self._socket = plain_socket(to) if isinstance(to, int) else to
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def ask(self, request: bytes) -> Answer:
        self.send(request)
        return self.answer()

    def established(self) -> int:
        """The status of an answer that is all headers: what follows is another protocol."""
        status_line = self._file.readline()
        self._headers()
        return int(status_line.split()[1])

    def answer(self) -> Answer:
        status_line = self._file.readline()
        if not status_line:
            raise ConnectionError("closed without an answer")
        headers = self._headers()
        if headers.get("transfer-encoding") == "chunked":
            body = self._chunks()
        elif "content-length" in headers:
            body = self._file.read(int(headers["content-length"]))
        else:
            body = self._file.read()
        return Answer(int(status_line.split()[1]), headers, body)

    def _headers(self) -> dict[str, str]:
        found = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            found[name.lower()] = value.strip()
        return found

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._file.readline().split(b";")[0], 16):
            body += self._file.read(size)
            self._file.readline()
        self._headers()
        return body


def ask_once(port: int, request: bytes) -> Answer:
    with Connection(port) as connection:
        return connection.ask(request)


def kept_connection(port: int, request: Callable[[int], bytes], wanted: str) -> Connect:
    """Asks on one connection for ever. `wanted`: the body, with {number} for the question's."""

    def connect() -> Ask:
        connection = Connection(port)

        def ask(number: int) -> None:
            answer = connection.ask(request(number))
            expect("answer", str(answer), f"200 {wanted.format(number=number)}")

        return ask

    return connect


def origin(port: int, judge: Callable[[BaseHTTPRequestHandler, bytes], Answer]) -> None:
    """A server behind the daemon, in threads of this process. `judge` is given the body, too."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = judge(self, _body(self))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((LOCAL, port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()


def _body(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Transfer-Encoding") != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length", 0)))
    body = b""
    while size := int(request.rfile.readline(), 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body
