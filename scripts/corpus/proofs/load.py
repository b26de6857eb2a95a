"""The clients of a daemon while a proof is told: a process that counts, and is asked for its
count. It speaks as tests/corpus/README.md says: SIGUSR1 prints the count so far."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from scripts.corpus.daemon_check import DaemonTroubleError, Served
from scripts.corpus.held import wait_until

_PATIENCE = 30.0


class Count(msgspec.Struct, frozen=True):
    requests: int
    errors: int
    worst_ms: float  # since the count before
    connections: int = 0  # opened since the start
    reasons: tuple[str, ...] = ()


class Load:
    def __init__(self, served: Served) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed by `stop`
        self._process = subprocess.Popen(
            [*served.client, "load"], env=dict(served.environment), stdout=subprocess.PIPE,
            stderr=self._errors,
        )  # fmt: skip
        self._read = _line_reader(self._process)

    def start(self) -> None:
        if not wait_until(lambda: self._listens() or self._ended(), _PATIENCE) or self._ended():
            said = os.pread(self._errors.fileno(), 2000, 0).decode(errors="replace").strip()
            raise DaemonTroubleError(
                f"the clients do not take SIGUSR1 (status {self._process.poll()}): {said}"
            )

    def _ended(self) -> bool:
        return self._process.poll() is not None

    def _listens(self) -> bool:
        """The signal would end a client that is not prepared for it yet. Any thread: the one that
        waits for the signal does not block it meanwhile."""
        try:
            tasks = Path(f"/proc/{self._process.pid}/task").iterdir()
            status = "".join((task / "status").read_text() for task in tasks)
        except OSError:
            return False
        masks = re.findall(r"^Sig(?:Blk|Cgt):\s*([0-9a-f]+)$", status, re.MULTILINE)
        return any(int(mask, 16) >> (signal.SIGUSR1 - 1) & 1 for mask in masks)

    def count(self) -> Count:
        self._process.send_signal(signal.SIGUSR1)
        return msgspec.json.decode(self._read(), type=Count)

    def wait_for_requests(self, number: int) -> Count:
        """Until so many more have been answered."""
        deadline = time.monotonic() + _PATIENCE
        first = last = self.count()
        while last.requests < first.requests + number:
            if last.errors or time.monotonic() > deadline:
                raise DaemonTroubleError(f"the clients are not served: {last}")
            time.sleep(0.1)
            last = self.count()
        return last

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()


def _line_reader(process: subprocess.Popen[bytes]) -> Callable[[], bytes]:
    """Whole lines, each within our patience."""
    assert process.stdout
    descriptor = process.stdout.fileno()
    selector = selectors.DefaultSelector()
    selector.register(descriptor, selectors.EVENT_READ)
    held = bytearray()

    def read() -> bytes:
        while b"\n" not in held:
            if not selector.select(_PATIENCE) or not (data := os.read(descriptor, 65536)):
                raise DaemonTroubleError("the clients do not tell their count")
            held.extend(data)
        line, _, rest = bytes(held).partition(b"\n")
        held[:] = rest
        return line

    return read


@contextmanager
def under_load(served: Served) -> Iterator[Load]:
    load = Load(served)
    try:
        load.start()
        yield load
    finally:
        load.stop()
