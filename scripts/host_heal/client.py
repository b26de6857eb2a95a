"""Runs on the host, with the distribution's own Python: the clients of its services. Each keeps one
connection from before the upgrade to the end. Reads commands, answers each with a line.

The proofs are harmless: an input that the old code takes, and the new code refuses.
"""

from __future__ import annotations

import socket
import sys
import time

LOCAL = "127.0.0.1"
REDIS, BOX_REDIS, MEMCACHED, BROKER = 6379, 6380, 11211, 1884
# CVE-2026-25243: of upstream's own test. A hash in an old encoding, with a length written in five
# bytes that must be written in one.
RESTORED = bytes.fromhex(
    "091101fe0400000001 00ff00040076616c31ff0900f9d5a4f77d003f1b".replace(" ", "")
)
CONNACK, PUBLISH, PUBACK, SUBACK = b"\x20\x02\x00\x00", 0x32, 0x40, b"\x90\x02\x00\x01"
PATIENCE = 20.0


class Redis:
    def __init__(self, port: int) -> None:
        self.stream = connect(port).makefile("rwb")

    def ask(self, *words: bytes) -> str:
        parts = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        self.stream.write(b"*%d\r\n%s" % (len(words), parts))
        self.stream.flush()
        line = self.stream.readline().decode().strip()
        if line.startswith("$"):
            return self.stream.read(int(line[1:]) + 2).decode().strip()
        return line

    def prove(self) -> str:
        answer = self.ask(b"RESTORE", b"odd", b"0", RESTORED)
        self.ask(b"DEL", b"odd")
        return answer

    def serves(self) -> str:
        self.ask(b"SET", b"key", b"value")
        return self.ask(b"GET", b"key")


class Memcached:
    def __init__(self) -> None:
        self.stream = connect(MEMCACHED).makefile("rwb")

    def serves(self) -> str:
        self.stream.write(b"set key 0 0 5\r\nvalue\r\nget key\r\n")
        self.stream.flush()
        return [self.stream.readline().decode().strip() for _ in range(4)][2]


class Broker:
    """What a client of libmosquitto is connected to. It is the broker that plays false here."""

    def __init__(self) -> None:
        self.listener = socket.create_server((LOCAL, BROKER))
        self.listener.settimeout(PATIENCE)
        self.connection: socket.socket | None = None

    def accept(self) -> str:
        self.connection, _ = self.listener.accept()
        self.connection.settimeout(PATIENCE)
        assert self.packet()[0] >> 4 == 1  # CONNECT
        self.connection.sendall(CONNACK)
        return "connected"

    def serves(self) -> str:
        """Publishes to it with QoS 1; it must acknowledge."""
        assert self.connection
        body = b"\x00\x01x\x00\x07hello"
        self.connection.sendall(bytes([PUBLISH, len(body)]) + body)
        answer = self.packet()
        return "acknowledged" if answer[:1] == bytes([PUBACK]) else "no answer"

    def prove(self) -> str:
        """CVE-2024-10525: an acknowledgement of a subscription, without any reason code."""
        assert self.connection
        try:
            self.connection.sendall(SUBACK)
            return f"taken, then {self.serves()}"
        except (ConnectionError, EOFError):
            self.accept()  # it comes back by itself
            return f"refused: it hangs up; back again, {self.serves()}"

    def packet(self) -> bytes:
        assert self.connection
        head = self._exactly(2)
        assert head[1] < 128
        return head + self._exactly(head[1])

    def _exactly(self, size: int) -> bytes:
        assert self.connection
        data = b""
        while len(data) < size:
            piece = self.connection.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data


class Journal:
    """Stands in for the journal: keeps what is logged."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("/dev/log")
        self.socket.settimeout(0.2)

    def lines(self) -> str:
        """How many, and the last one."""
        found = []
        try:
            while True:
                found.append(self.socket.recv(65536).decode(errors="replace"))
        except TimeoutError:
            tagged = [line for line in found if "naht-heal" in line]
            return f"{len(tagged)} {tagged[-1].partition('naht-heal')[2] if tagged else ''}"


def connect(port: int) -> socket.socket:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection((LOCAL, port), timeout=PATIENCE)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def main() -> None:
    broker, journal = Broker(), Journal()
    print("ready", flush=True)
    sys.stdin.readline()  # the services are started
    broker.accept()
    clients = {"redis": Redis(REDIS), "box": Redis(BOX_REDIS), "memcached": Memcached()}
    things = {**clients, "mosquitto": broker, "journal": journal}
    print("connected", flush=True)
    for line in sys.stdin:
        what, _, name = line.strip().partition(" ")
        print(getattr(things[name], what)(), flush=True)


if __name__ == "__main__":
    main()
