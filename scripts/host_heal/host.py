"""A host of its own: namespaces for mounts, processes, network and names, and an overlay over a
root of the distribution. It ends, with all that runs in it, when its context does.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from scripts.host_heal.inside import BOX

OWN = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
    "LC_ALL": "C.UTF-8", "TERM": "dumb",
}  # fmt: skip
ALONE = ("--mount", "--uts", "--ipc", "--pid", "--root", "--wdns=/")
PATIENCE = 60.0


@dataclass
class Done:
    status: int
    output: str
    errors: str
    seconds: float
    cpu_seconds: float


@dataclass
class Host:
    first: int  # its first process, as seen from here
    root: Path  # the directory that its own processes' root is, for files

    def run(
        self, *command: str, network: bool = False, check: bool = True, **environment: str
    ) -> Done:
        """`network`: with the network of this machine instead of the host's own."""
        started, spent = time.monotonic(), cpu_of_children()
        done = subprocess.run(
            self.entering(command, network=network), env={**ENVIRONMENT, **environment},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if check and done.returncode:
            ended = f"{' '.join(command)} ended with {done.returncode}:"
            sys.exit(f"{ended}\n{done.stdout}{done.stderr}")
        return Done(
            done.returncode, done.stdout, done.stderr, time.monotonic() - started,
            cpu_of_children() - spent,
        )  # fmt: skip

    def entering(self, command: Sequence[str], *, network: bool = False) -> list[str]:
        spaces = ALONE if network else (*ALONE, "--net")
        return ["nsenter", "--target", str(self.first), *spaces, "--", *command]

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.entering(command), env=ENVIRONMENT, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def naht(self, *words: str, check: bool = True) -> Done:
        return self.run("naht", *words, check=check)

    def naht_json(self, *words: str) -> dict[str, object]:
        done = self.naht(*words, "--json", check=False)
        answer: dict[str, object] = msgspec.json.decode(done.output)
        return answer

    def pid_of(self, pattern: str) -> int:
        found = [int(word) for word in self.run("pgrep", "-o", "-f", pattern).output.split()]
        return found[0]

    def in_box(self, *command: str) -> list[str]:
        """The command line that runs `command` in the container, from the host."""
        script = (
            f"mount --make-rprivate / && cd /{BOX} && mkdir -p .outer && pivot_root . .outer && "
            f"umount -l /.outer && exec {' '.join(command)}"
        )
        return ["unshare", "--mount", "sh", "-c", script]


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def running_host(base: Path, work: Path) -> Iterator[Host]:
    sites = [OWN / "src", Path(msgspec.__file__).parents[1]]
    process = subprocess.Popen(
        ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child",
         sys.executable, "-m", "scripts.host_heal.inside", str(base), str(work), *map(str, sites)],
        cwd=OWN, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            sys.exit("The host did not start.")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        first = int(children.split()[0])
        yield Host(first, Path(f"/proc/{first}/root"))
    finally:
        process.kill()
        process.wait()
