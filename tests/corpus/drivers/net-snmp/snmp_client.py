"""Clients of the SNMP agent: managers that ask and set, by datagrams and on kept connections."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))

from tests.corpus.drivers.daemon_client import PATIENCE, Ask, expect, serve_words

AGENT = ("127.0.0.1", 1161)
COMMUNITY = b"proof"
VERSION_2C = 1
INTEGER, STRING, NULL, OBJECT, SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x30
GET, SET = 0xA0, 0xA3
MIB_2 = (1, 3, 6, 1, 2, 1)
DESCRIPTION, LOCATION = (*MIB_2, 1, 1, 0), (*MIB_2, 1, 6, 0)
ERRORS = {0: "no error", 7: "wrong type", 17: "not writable"}


@dataclass(frozen=True)
class Reply:
    number: int
    error: int
    value: bytes


class Manager:
    def __init__(self, kind: socket.SocketKind) -> None:
        self._socket = socket.socket(socket.AF_INET, kind)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(AGENT)

    def ask(self, command: int, number: int, name: tuple[int, ...], value: bytes) -> Reply:
        self._socket.sendall(_message(command, number, name, value))
        return _reply(self._socket.recv(65536))


def ready() -> None:
    expect("description", _description(Manager(socket.SOCK_DGRAM), 1), b"a host of proofs")


def asking(kind: socket.SocketKind) -> Ask:
    manager = Manager(kind)

    def ask(number: int) -> None:
        expect("description", _description(manager, number), b"a host of proofs")

    return ask


def setting() -> Ask:
    """Sets what may be set, and reads it."""
    manager = Manager(socket.SOCK_STREAM)

    def ask(number: int) -> None:
        value = _tagged(STRING, b"room %d" % number)
        expect("set", manager.ask(SET, number, LOCATION, value).error, 0)

    return ask


def refused() -> Ask:
    manager = Manager(socket.SOCK_DGRAM)

    def ask(number: int) -> None:
        reply = manager.ask(SET, number, DESCRIPTION, _tagged(STRING, b"x"))
        expect("set of what is read only", (reply.number, reply.error), (number, 17))

    return ask


def prove_null() -> str:
    """CVE-2022-44792 and CVE-2022-44793 (agent_set_null_varbind): a request to set something to
    NULL reaches the code of each variable, and some of it believes that there is a value.

    Sets a variable to NULL that can only be read: its code looks at nothing. Before: that code is
    reached, and says that the variable is not writable. After: wrong type, said before it.
    """
    reply = Manager(socket.SOCK_DGRAM).ask(SET, 1, DESCRIPTION, _tagged(NULL, b""))
    return ERRORS.get(reply.error, f"error {reply.error}")


def _description(manager: Manager, number: int) -> bytes:
    reply = manager.ask(GET, number, DESCRIPTION, _tagged(NULL, b""))
    expect("number and error", (reply.number, reply.error), (number, 0))
    return reply.value


def _message(command: int, number: int, name: tuple[int, ...], value: bytes) -> bytes:
    variable = _tagged(SEQUENCE, _tagged(OBJECT, _object(name)) + value)
    request = _integer(number) + _integer(0) + _integer(0) + _tagged(SEQUENCE, variable)
    return _tagged(
        SEQUENCE, _integer(VERSION_2C) + _tagged(STRING, COMMUNITY) + _tagged(command, request)
    )


def _reply(data: bytes) -> Reply:
    _, message = _split(data)[0]
    _, _, (_, request) = _split(message)
    (_, number), (_, error), _, (_, variables) = _split(request)
    _, (_, value) = _split(_split(variables)[0][1])
    return Reply(int.from_bytes(number), int.from_bytes(error), value)


def _split(data: bytes) -> list[tuple[int, bytes]]:
    """The values that follow each other in `data`, with their tags."""
    found = []
    while data:
        tag, size, at = data[0], data[1], 2
        if size & 0x80:
            at += size & 0x7F
            size = int.from_bytes(data[2:at])
        found.append((tag, data[at : at + size]))
        data = data[at + size :]
    return found


def _tagged(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    return bytes([tag, 0x82]) + size.to_bytes(2) + content


def _integer(value: int) -> bytes:
    return _tagged(INTEGER, value.to_bytes(value.bit_length() // 8 + 1))


def _object(name: tuple[int, ...]) -> bytes:
    return bytes([40 * name[0] + name[1], *name[2:]])  # no number of ours needs two bytes


if __name__ == "__main__":
    serve_words(
        ready,
        [
            lambda: asking(socket.SOCK_DGRAM),
            lambda: asking(socket.SOCK_STREAM),
            lambda: asking(socket.SOCK_STREAM),
            setting,
            refused,
        ],
        {"null": prove_null},
    )
