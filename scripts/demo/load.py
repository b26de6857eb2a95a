"""The clients: keep-alive HTTP connections that ask, check every answer, and never reconnect.

Runs as a process of its own (`python -m scripts.demo.load`), so that its pace does not depend on
what else the demo does. A line on standard input asks for a snapshot, which comes back as one line
of JSON; end of input ends it. Any answer that is not exactly the expected one counts as a failure,
and so does a lost connection, which stays lost.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

ANSWER_LIMIT = 65536


@dataclass(frozen=True)
class Snapshot:
    """Counts are since the start; `slowest_us` is since the snapshot before."""

    requests: int
    failures: int
    reasons: tuple[str, ...]
    ports: tuple[int, ...]  # the clients' own ports, of connections that were never closed
    slowest_us: int


class LoadGenerator:
    """The demo's handle on the client process."""

    def __init__(self, port: int, path: str, connections: int, rate: int) -> None:
        options = [f"--port={port}", f"--path={path}", f"--connections={connections}"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scripts.demo.load", *options, f"--rate={rate}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip

    def snapshot(self) -> Snapshot:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("The load generator ended by itself.")
        return _decode(line)

    def stop(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _decode(line: str) -> Snapshot:
    fields = json.loads(line)
    return Snapshot(
        fields["requests"], fields["failures"], tuple(fields["reasons"]), tuple(fields["ports"]),
        fields["slowest_us"],
    )  # fmt: skip


@dataclass
class Client:
    """One connection and the request that is on its way, if any."""

    connection: socket.socket
    number: int
    port: int
    due: float
    asked_at: float = 0.0
    expected: bytes = b""
    received: bytearray = field(default_factory=bytearray)


class Clients:
    def __init__(self, port: int, path: str, connections: int, rate: int) -> None:
        self._path = path
        self._pause = connections / rate
        self._selector = selectors.DefaultSelector()
        self._open = {number: self._connect(port, number) for number in range(connections)}
        self._asked = 0
        self.requests = 0
        self.failures = 0
        self.reasons: list[str] = []
        self.slowest = 0.0

    def run(self) -> None:
        """Until standard input ends."""
        os.set_blocking(0, False)
        self._selector.register(0, selectors.EVENT_READ, None)
        while True:
            for key, _ in self._selector.select(self._wait()):
                if key.data is not None:
                    self._receive(cast(Client, key.data))
                elif not self._obey():
                    return
            self._ask_those_who_are_due()

    def _connect(self, port: int, number: int) -> Client:
        connection = socket.create_connection(("127.0.0.1", port), timeout=5)
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = time.perf_counter() + number * self._pause / 8
        client = Client(connection, number, connection.getsockname()[1], start)
        self._selector.register(connection, selectors.EVENT_READ, client)
        return client

    def _wait(self) -> float:
        idle = [client.due for client in self._open.values() if not client.expected]
        return max(0.0, min(idle, default=float("inf")) - time.perf_counter()) if idle else 1.0

    def _ask_those_who_are_due(self) -> None:
        now = time.perf_counter()
        for client in list(self._open.values()):
            if not client.expected and client.due <= now:
                self._ask(client)

    def _ask(self, client: Client) -> None:
        self._asked += 1
        token = f"client-{client.number}-request-{self._asked}"
        path = self._path.format(token=token, length=len(token))
        client.expected = token.encode()
        client.received.clear()
        client.asked_at = time.perf_counter()
        client.due = max(client.due + self._pause, client.asked_at)
        try:
            client.connection.send(f"GET {path} HTTP/1.1\r\nHost: demo\r\n\r\n".encode())
        except OSError as error:
            self._lose(client, f"cannot send: {error.strerror}")

    def _receive(self, client: Client) -> None:
        try:
            data = client.connection.recv(ANSWER_LIMIT)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(client, f"cannot receive: {error.strerror}")
            return
        if not data:
            self._lose(client, "the server closed the connection")
            return
        client.received += data
        self._judge_when_whole(client)

    def _judge_when_whole(self, client: Client) -> None:
        head, end, body = bytes(client.received).partition(b"\r\n\r\n")
        if not end or len(body) < _content_length(head):
            return
        self.slowest = max(self.slowest, time.perf_counter() - client.asked_at)
        if head.split(b" ", 2)[1:2] == [b"200"] and body == client.expected:
            self.requests += 1
        else:
            self._fail(f"wrong answer: {head[:40]!r} {body[:40]!r}")
        client.expected = b""

    def _lose(self, client: Client, reason: str) -> None:
        self._fail(reason)
        self._selector.unregister(client.connection)
        client.connection.close()
        del self._open[client.number]

    def _fail(self, reason: str) -> None:
        self.failures += 1
        if len(self.reasons) < 5:
            self.reasons.append(reason)

    def _obey(self) -> bool:
        """Answers a request for a snapshot; False at the end of input."""
        orders = os.read(0, 4096)
        for _ in range(orders.count(b"\n")):
            print(json.dumps(self._snapshot()), flush=True)
        return bool(orders)

    def _snapshot(self) -> dict[str, object]:
        slowest, self.slowest = self.slowest, 0.0
        return {
            "requests": self.requests,
            "failures": self.failures,
            "reasons": self.reasons,
            "ports": sorted(client.port for client in self._open.values()),
            "slowest_us": round(slowest * 1e6),
        }


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True, help="{token} is echoed, {length} is its length")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rate", type=int, default=2000, help="requests a second, all together")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the demo; it closes our input
    Clients(options.port, options.path, options.connections, options.rate).run()


if __name__ == "__main__":
    main()
