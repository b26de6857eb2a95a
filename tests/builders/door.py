"""The door of examples/: built as it was shipped, its hotpatch, and a visitor who keeps one
connection open.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "door"
HOTPATCH_ID = "DOOR-1"


def naht(*words: str | Path) -> list[str]:
    """The command of this checkout; safe where PATH holds another one."""
    return [sys.executable, "-m", "naht", *map(str, words)]


def make_door(folder: Path) -> Path:
    """Builds the shipped door; says where it is."""
    running = folder / "running"
    shutil.copytree(EXAMPLE / "source", running)
    subprocess.run(["make", "-s"], cwd=running, check=True)
    return running


def build_fix(folder: Path, running: Path, name: str = "fix.naht") -> Path:
    fix = folder / name
    words = naht(
        "build", "native", "--source", EXAMPLE / "source", "--patch", EXAMPLE / "fix.patch",
        "--command", "make", "--object", "libdoor.so.1", "--running", running / "libdoor.so.1",
        "--id", HOTPATCH_ID, "--title", "Only the whole word opens", "-o", fix,
    )  # fmt: skip
    subprocess.run(words, check=True)
    return fix


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running_door(running: Path) -> Iterator[Door]:
    port = free_port()
    process = subprocess.Popen([running / "doord", str(port)], env=os.environ | {"LC_ALL": "C"})
    try:
        with connect(port, process) as connection:
            yield Door(process.pid, connection)
    finally:
        process.kill()
        process.wait()


def connect(port: int, process: subprocess.Popen[bytes]) -> socket.socket:
    """Connects as soon as the door listens; gives up when it has ended."""
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=30)
        except ConnectionRefusedError:
            if process.poll() is not None:
                raise


class Door:
    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self._stream = connection.makefile("rw", encoding="utf-8")

    def ask(self, word: str) -> str:
        self._stream.write(f"open {word}\n")
        self._stream.flush()
        return self._stream.readline().strip()
