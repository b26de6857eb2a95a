"""Runs on the host, with the distribution's own Python: the clients of its services. Each keeps one
connection from before the upgrade to the end. Reads commands, answers each with a line.
"""

from __future__ import annotations

import socket
import sys
import threading
import time

LOCAL = "127.0.0.1"
REDIS, BOX_REDIS, FRESH_REDIS, MEMCACHED = 6379, 6380, 6381, 11211
# CVE-2026-25243: of upstream's own test. A hash in an old encoding, with a length written in five
# bytes that must be written in one.
RESTORED = bytes.fromhex(
    "091101fe0400000001 00ff00040076616c31ff0900f9d5a4f77d003f1b".replace(" ", "")
)
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


class Journal:
    """Stands in for the journal: keeps what is logged."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("/dev/log")
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        while True:
            self.kept.append(self.socket.recv(65536).decode(errors="replace"))

    def lines(self) -> str:
        """How many there are of the hook."""
        return str(sum("naht-heal" in line for line in self.kept))


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
    journal = Journal()
    print("ready", flush=True)
    sys.stdin.readline()  # the services are started
    things = {
        "redis": Redis(REDIS), "box": Redis(BOX_REDIS), "memcached": Memcached(),
        "journal": journal,
    }  # fmt: skip
    print("connected", flush=True)
    for line in sys.stdin:
        what, _, name = line.strip().partition(" ")
        if name == "fresh":
            things[name] = Redis(FRESH_REDIS)
        print(getattr(things[name], what)(), flush=True)


if __name__ == "__main__":
    main()
