"""The demo's clients notice what they are there to notice; else "0 failed" would mean nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from scripts.demo.load import LoadGenerator, Snapshot

Answer = Callable[[str, int], bytes]  # the token asked for and the how-manieth request it is


def right(token: str, _number: int) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(token)}\r\n\r\n{token}".encode()


@contextmanager
def server(answer: Answer) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        def serve(connection: socket.socket) -> None:
            number = 0
            with connection:
                while request := connection.recv(4096):
                    number += 1
                    token = request.split(b" ")[1].decode().removeprefix("/")
                    reply = answer(token, number)
                    if not reply:
                        return
                    for part in (reply[:7], reply[7:]):  # answers may come in pieces
                        connection.sendall(part)

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]


def until(load: LoadGenerator, reached: Callable[[Snapshot], bool]) -> Snapshot:
    deadline = time.monotonic() + 20
    while not reached(snapshot := load.snapshot()):
        assert time.monotonic() < deadline, snapshot
        time.sleep(0.02)
    return snapshot


@contextmanager
def clients(answer: Answer) -> Iterator[LoadGenerator]:
    with server(answer) as port:
        load = LoadGenerator(port, "/{token}", connections=3, rate=600)
        try:
            yield load
        finally:
            load.stop()


def test_right_answers_on_the_same_connections() -> None:
    with clients(right) as load:
        first = until(load, lambda s: s.requests >= 3)
        later = until(load, lambda s: s.requests >= first.requests + 30)
    assert (later.failures, later.reasons) == (0, ())
    assert len(later.ports) == 3
    assert later.ports == first.ports


def test_a_wrong_answer_is_a_failure() -> None:
    with clients(lambda token, n: right(token[::-1] if n == 4 else token, n)) as load:
        snapshot = until(load, lambda s: s.failures >= 3)
    assert snapshot.failures == 3
    assert "wrong answer" in snapshot.reasons[0]
    assert len(snapshot.ports) == 3


def test_another_status_is_a_failure() -> None:
    with clients(lambda token, n: right(token, n).replace(b"200 OK", b"500 No")) as load:
        snapshot = until(load, lambda s: s.failures >= 3)
    assert snapshot.requests == 0


def test_a_lost_connection_is_a_failure_and_stays_lost() -> None:
    with clients(lambda token, n: b"" if n == 5 else right(token, n)) as load:
        snapshot = until(load, lambda s: s.failures >= 3)
    assert (snapshot.failures, snapshot.requests, snapshot.ports) == (3, 12, ())
    assert "closed" in snapshot.reasons[0]
