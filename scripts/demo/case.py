"""What a demo case is: a source tree with a hole, a fix for it, a server, and a harmless proof."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

BUILD_TIMEOUT = 900  # a guard against hanging; on two idle cores nginx takes 20 s
Finding = Literal["open", "closed", "unexpected"]


class CaseUnavailableError(Exception):
    """This case cannot be run here; the text says why, for a person."""


@dataclass(frozen=True)
class Prepared:
    """A tree that is built in its old state, and the patch that fixes it. Paths are in `folder`."""

    folder: Path
    tree: str
    patch: str
    command: str
    object: str  # within the tree
    server: str  # the old build that is going to run
    release: str  # such as "nginx 1.22.1-9+deb12u9"
    origin: str  # where the source is from, one sentence
    advisory: str
    title: str
    severity: str
    purl: str
    what: str  # what the hole is, one or two sentences


@dataclass(frozen=True)
class Proof:
    question: str
    answer: str
    finding: Finding
    meaning: str


class Server(Protocol):
    """A running server. `pids`: every process of it that serves clients or makes those that do."""

    pids: tuple[int, ...]
    port: int

    def stop(self) -> None: ...


class Case(Protocol):
    load_path: str  # for the clients: a request that runs through the fixed function

    def prepare(self, work: Path) -> Prepared: ...

    def start(self, prepared: Prepared, run: Path) -> Server: ...

    def prove(self, port: int) -> Proof: ...


def need_tools(*tools: str) -> None:
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise CaseUnavailableError(f"Not installed: {', '.join(missing)}.")


def build(command: list[str], folder: Path, log: Path) -> None:
    """Runs one step of a build; its output goes to `log`."""
    with log.open("ab") as output:
        try:
            result = subprocess.run(
                command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, check=False,
                timeout=BUILD_TIMEOUT,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            minutes = BUILD_TIMEOUT // 60
            raise CaseUnavailableError(f"`{command[0]}` took over {minutes} minutes.") from error
    if result.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
        raise CaseUnavailableError(f"`{command[0]}` failed in {folder}; {log} ends with:\n{tail}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, path: str) -> tuple[int, bytes]:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def children_of(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return sorted(found)


def stop_process(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
