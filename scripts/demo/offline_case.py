"""pinboard: a server of our own, for hosts without network, with a hole in the style of Heartbleed.

The client says how long its note is and is believed. The server answers with what an earlier
visitor left in the same slot. It never reads outside of the slot, so the proof does no harm.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from scripts.demo.case import (
    CaseUnavailableError,
    Finding,
    Prepared,
    Proof,
    ask,
    build,
    free_port,
    need_tools,
    stop_process,
)

PATCH = "NAHT-DEMO-1.patch"
BUNDLE = Path(__file__).with_name("offline")
CLAIMED = 64


@dataclass
class PinboardServer:
    process: subprocess.Popen[bytes]
    pids: tuple[int, ...]
    port: int

    def stop(self) -> None:
        stop_process(self.process)


class OfflineCase:
    load_path = "/note?length={length}&text={token}"

    def prepare(self, work: Path) -> Prepared:
        need_tools("gcc", "make", "patch")
        old = work / "old"
        shutil.rmtree(old, ignore_errors=True)
        shutil.copytree(BUNDLE, old, ignore=shutil.ignore_patterns("*.patch"))
        shutil.copy2(BUNDLE / PATCH, work / PATCH)
        build(["make"], old, work / "build.log")
        return Prepared(
            folder=work,
            tree="old",
            patch=PATCH,
            command="make",
            object="pinboard",
            server="old/pinboard",
            release="pinboard 1.0",
            origin="a small server of our own, bundled for hosts without network",
            advisory="NAHT-DEMO-1",
            title="A note is as long as it says, or refused",
            severity="important",
            purl="pkg:generic/pinboard@1.0",
            what=(
                "A visitor says how long a note is and is believed: asked for more than was sent, "
                "the server reads back what other visitors left in memory."
            ),
        )

    def start(self, prepared: Prepared, run: Path) -> PinboardServer:
        run.mkdir(parents=True, exist_ok=True)
        port = free_port()
        process = subprocess.Popen(
            ["pinboard", str(port)], executable=prepared.folder / prepared.server, cwd=run,
            # An arena of malloc's own, 64 MiB of address space, must not come while we count.
            stdin=subprocess.DEVNULL, env={**os.environ, "MALLOC_ARENA_MAX": "1"},
        )  # fmt: skip
        if not _answers(port, process):
            stop_process(process)
            raise CaseUnavailableError("The bundled server did not start.")
        return PinboardServer(process, (process.pid,), port)

    def prove(self, port: int) -> Proof:
        path = f"/note?length={CLAIMED}&text="
        status, body = ask(port, path)
        shown = body.rstrip(b"\0\n").decode(errors="replace")
        return Proof(f"GET {path}", f"{status} {shown!r}", *_judge(status, body))


def _judge(status: int, body: bytes) -> tuple[Finding, str]:
    if status == 400:
        return "closed", "refused, because the length is a lie"
    if status == 200 and len(body) == CLAIMED and body.strip(b"\0"):
        return "open", "nothing was sent; what comes back is another visitor's note"
    return "unexpected", "neither the old answer nor the fixed one"


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    for _ in range(100):
        if process.poll() is not None:
            return False
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except ConnectionRefusedError:
            time.sleep(0.02)
    return False
