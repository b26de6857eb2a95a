"""A root that processes live in: the clean root with the package's own binary packages on top, in
pid, mount and network namespaces that stay until the context ends. Everything started there ends
with it, whatever it did to get away.

naht is never run inside: it sees the processes from the host, as it sees those of containers.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from naht.build.debian.clean_root import CleanRoot
from naht.build.debian.enclosure import ENVIRONMENT, Enclosure, Layered
from naht.errors import ToolError
from naht.live.native.procfs import list_pids
from scripts.corpus import inside_tools
from scripts.corpus.processes import ancestors, children, command_line, descendants

DATA = "/corpus/data"
SCRATCH = "/corpus/scratch"
_INIT = f"{inside_tools.PLACE}/init"
_PATIENCE = 60.0
_MOST_OUTPUT = 64 << 20
_MOST_READ = 1 << 20


class NotSeenError(ToolError):
    pass


@dataclass(frozen=True)
class Finished:
    """`status` is None when it was ended because its time was up."""

    status: int | None
    output: bytes
    errors: bytes


@dataclass
class LiveRoot:
    init: int  # on the host
    outside: Path
    _count: int = field(default=0)

    @property
    def scratch(self) -> Path:
        """What processes see as SCRATCH."""
        return self.outside / "scratch"

    def fresh_directory(self, name: str) -> tuple[Path, str]:
        """As it is called on the host, and inside."""
        self._count += 1
        path = self.outside / "shared" / f"{name}-{self._count}"
        path.mkdir(parents=True)
        path.chmod(0o1777)
        return path, f"/corpus/shared/{path.name}"

    def start(
        self, command: Sequence[str], *, stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.DEVNULL, stderr: int | IO[bytes] = subprocess.DEVNULL,
        environment: Mapping[str, str] | None = None, cwd: str = SCRATCH,
    ) -> subprocess.Popen[bytes]:  # fmt: skip
        enter = [
            "prlimit", "--core=0", f"--fsize={_MOST_OUTPUT}", "nsenter", f"--target={self.init}",
            "--mount", "--pid", "--net", "--ipc", "--uts", "--root", f"--wdns={cwd}", "--",
        ]  # fmt: skip
        variables = {"HOME": SCRATCH, **(environment or {})}
        # Set inside: a preloaded library is not for the programs on the way there.
        inside = ["/usr/bin/env", *(f"{name}={value}" for name, value in variables.items())]
        return subprocess.Popen(
            [*enter, *inside, *command], stdin=stdin, stdout=stdout, stderr=stderr, env=ENVIRONMENT
        )

    def run(
        self, command: Sequence[str], *, seconds: float = _PATIENCE, given: bytes = b"",
        environment: Mapping[str, str] | None = None, cwd: str = SCRATCH,
    ) -> Finished:  # fmt: skip
        with (
            Captured(self.outside, given) as files,
            ended(self.start(
                command, stdin=files.given, stdout=files.output, stderr=files.errors,
                environment=environment, cwd=cwd,
            )) as process,
        ):  # fmt: skip
            try:
                status: int | None = process.wait(seconds)
            except subprocess.TimeoutExpired:
                status = None
            return files.finished(status)

    def host_pid(self, process: subprocess.Popen[bytes]) -> int:
        """Of the command that `start` began: the one child of nsenter."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if found := children(process.pid):
                return found[0]
            if process.poll() is not None:
                break
            time.sleep(0.005)
        raise NotSeenError("The process ended before it was seen.", "See its output.")

    def end_all(self) -> None:
        """But what keeps the namespaces."""
        for pid in self.processes():
            _kill(pid)

    def processes(self) -> list[int]:
        """All but those that keep the namespaces; by their namespace, wherever they came from."""
        mine = _pid_namespace(self.init)
        keepers = {self.init, *ancestors(self.init)}
        return [p for p in list_pids() if p not in keepers and _pid_namespace(p) == mine]

    def clear_scratch(self) -> None:
        for entry in self.scratch.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()


class Captured:
    """Files for the three streams of a process: no pipe can fill up and block it."""

    def __init__(self, directory: Path, given: bytes = b"") -> None:
        self._directory = directory
        self._given = given

    def __enter__(self) -> Captured:
        self.given = self._open("given")
        self.output = self._open("output")
        self.errors = self._open("errors")
        self.given.write(self._given)
        self.given.flush()
        self.given.seek(0)
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.given, self.output, self.errors):
            stream.close()

    def finished(self, status: int | None) -> Finished:
        return Finished(status, self._read(self.output), self._read(self.errors))

    def _open(self, name: str) -> IO[bytes]:
        path = self._directory / f".{name}-{threading.get_ident()}-{id(self)}"
        stream = path.open("w+b")
        path.unlink()
        return stream

    def _read(self, stream: IO[bytes]) -> bytes:
        return os.pread(stream.fileno(), _MOST_READ, 0)


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The process, and what it started below nsenter, is gone when the context ends."""
    try:
        yield process
    finally:
        if process.poll() is None:
            for pid in descendants(process.pid):
                _kill(pid)
            process.kill()
        process.wait()


def _pid_namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")  # noqa: PTH115  a name, not a path
    except OSError:
        return ""


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True)
class Ingredients:
    """What live roots of one package are made of."""

    root: CleanRoot
    packages: Path  # the layer of `own_packages`
    tools: Path
    data: Path | None
    build: tuple[str, Path] | None = None  # the built tree: its place inside, and here


@contextmanager
def live_root(
    made_of: Ingredients, outside: Path, replaced: Mapping[str, Path]
) -> Iterator[LiveRoot]:
    """`replaced`: files put over those of the packages (path inside without a leading slash, or
    below the place of the built tree)."""
    enclosure = _enclosure(made_of, outside)
    _put(replaced, made_of, outside, Path(enclosure.root.upper))
    log = outside / "log"
    keeper = threading.Thread(target=enclosure.run, args=([_INIT, str(outside)], log), daemon=True)
    keeper.start()
    init = _find_init(str(outside), keeper, log)
    try:
        yield LiveRoot(init, outside)
    finally:
        _kill(init)
        keeper.join(_PATIENCE)
        shutil.rmtree(outside, ignore_errors=True)


def _enclosure(made_of: Ingredients, outside: Path) -> Enclosure:
    for name in ("scratch", "shared", "no-data", "build-upper", "build-work"):
        (outside / name).mkdir(parents=True)
    (outside / "scratch").chmod(0o1777)
    mounts = [
        Layered(inside_tools.PLACE, (str(made_of.tools),), read_only=True),
        Layered(DATA, (str(made_of.data or outside / "no-data"),), read_only=True),
        Layered(SCRATCH, (str(outside / "scratch"),)),
        Layered("/corpus/shared", (str(outside / "shared"),)),
    ]
    if made_of.build:
        place, directory = made_of.build
        upper, work = str(outside / "build-upper"), str(outside / "build-work")
        mounts.append(Layered(place, (str(directory),), upper, work))
    layers = (made_of.packages, *made_of.root.layers)
    return CleanRoot(layers, made_of.root.key).enclosure(outside / "root", tuple(mounts))


def _put(replaced: Mapping[str, Path], made_of: Ingredients, outside: Path, root: Path) -> None:
    """Into the upper layers, before they are mounted."""
    for path, file in replaced.items():
        upper, relative = root, _merged(path)
        if made_of.build and f"/{path}".startswith(made_of.build[0] + "/"):
            upper = outside / "build-upper"
            relative = f"/{path}".removeprefix(made_of.build[0] + "/")
        place = upper / relative
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
        place.chmod(0o755)


def _merged(path: str) -> str:
    """Where a file of /lib and the like truly is."""
    return path if path.startswith(("usr/", "etc/", "opt/", "var/", "srv/")) else f"usr/{path}"


def _find_init(token: str, keeper: threading.Thread, log: Path) -> int:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and keeper.is_alive():
        for pid in descendants(os.getpid()):
            if command_line(pid) == [_INIT, token]:
                return pid
        time.sleep(0.02)
    said = log.read_text(errors="replace")[-2000:] if log.is_file() else ""
    raise ToolError(f"The live root did not start: {said}", "Run as root.")
