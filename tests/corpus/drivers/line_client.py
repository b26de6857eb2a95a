"""Protocols of lines for the clients of daemons: SMTP and its like."""

from __future__ import annotations

import socket
from types import TracebackType

from tests.corpus.drivers.daemon_client import PATIENCE, expect

LOCAL = "127.0.0.1"


class LineConnection:
    """Replies are those of SMTP: a number, then `-` when more lines follow, or a space."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((LOCAL, port), timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> LineConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._file.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def reply(self) -> str:
        """Its last line."""
        while line := self._file.readline():
            if line[3:4] != b"-":
                return line.decode(errors="replace").rstrip()
        raise ConnectionError("closed without a reply")

    def replies_until_silent(self, seconds: float) -> list[str]:
        """Last lines of all replies that come before nothing comes for so long."""
        found = b""
        self._socket.settimeout(seconds)
        try:
            while data := self._socket.recv(65536):
                found += data
        except TimeoutError:
            pass
        self._socket.settimeout(PATIENCE)
        lines = found.decode(errors="replace").splitlines()
        return [line for line in lines if line[3:4] != "-"]

    def say(self, line: str) -> str:
        self.send(line.encode() + b"\r\n")
        return self.reply()

    def expect(self, line: str, number: str) -> None:
        expect(line, self.say(line)[:3], number)
