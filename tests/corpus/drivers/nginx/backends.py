"""What stands behind nginx: an application that speaks SCGI, a name server, a judge of mail."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler

from tests.corpus.drivers.http_client import LOCAL, Answer, origin

PACKET_PAUSE = 0.2  # so that what is sent apart is read apart


def application(port: int, answer: Callable[[str], Sequence[bytes]]) -> None:
    """Sends the parts of an answer apart from each other."""

    class Handler(socketserver.StreamRequestHandler):
        disable_nagle_algorithm = True

        def handle(self) -> None:
            first, *others = answer(self._uri())
            self.wfile.write(first)
            for part in others:
                time.sleep(PACKET_PAUSE)
                self.wfile.write(part)

        def _uri(self) -> str:
            size = 0
            while (digit := self.rfile.read(1)) != b":":
                size = size * 10 + int(digit)
            fields = self.rfile.read(size + 1)[:-2].split(b"\0")
            return dict(zip(fields[::2], fields[1::2], strict=True))[b"REQUEST_URI"].decode()

    server = _Server((LOCAL, port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def name_server(port: int, host: bytes) -> None:
    """Every address is called `host`, one label; every name has the address 127.0.0.1."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((LOCAL, port))

    def answer() -> None:
        while True:
            query, client = server.recvfrom(4096)
            server.sendto(_dns_answer(query, host), client)

    threading.Thread(target=answer, daemon=True).start()


def _dns_answer(query: bytes, host: bytes) -> bytes:
    question = query[12 : query.index(b"\0", 12) + 5]
    kind = int.from_bytes(question[-4:-2])
    a, ptr = 1, 12
    data = {a: socket.inet_aton(LOCAL), ptr: bytes([len(host)]) + host + b"\0"}.get(kind)
    header = query[:2] + b"\x81\x80\0\1" + (b"\0\1" if data else b"\0\0") + bytes(4)
    if data is None:
        return header + question
    record = b"\xc0\x0c" + question[-4:] + (1).to_bytes(4) + len(data).to_bytes(2) + data
    return header + question + record


def mail_judge(port: int, seen: Callable[[dict[str, str]], None] = lambda _: None) -> None:
    """Refuses every recipient; `seen` gets the headers of the question, names in lower case."""

    def answer(request: BaseHTTPRequestHandler, _: bytes) -> Answer:
        seen({name.lower(): value for name, value in request.headers.items()})
        return Answer(200, {"Auth-Status": "no such user", "Auth-Error-Code": "550 5.1.1"})

    origin(port, answer)
