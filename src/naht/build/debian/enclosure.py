"""Runs commands and functions of ours inside a clean root, in namespaces of their own: what is
mounted there, and every process that is left over, is gone when the run ends.

Refuses to let anything inside see the network unless that was asked for, or to write to the layers
below the topmost. The top function of a run is in `enter`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from naht.errors import BuildRefusedError, NahtError, ToolError, UsageError

# An unprivileged account inside, as build daemons use; its number means nothing outside.
BUILDER = 1000
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "TERM": "dumb",
}


@dataclass(frozen=True)
class Layered:
    """A directory made of layers, as it is seen at `target` inside.

    lower: from top to bottom, never written. upper, work: a pair on one file system; without them
    the one lower directory is bound as it is. in_memory: `upper` and `work` are, in their common
    parent: overlayfs takes no layer that lies inside of another.
    """

    target: str
    lower: tuple[str, ...]
    upper: str = ""
    work: str = ""
    read_only: bool = False
    in_memory: bool = False


@dataclass(frozen=True)
class Enclosure:
    root: Layered  # its target is the mount point outside
    mounts: tuple[Layered, ...] = ()
    network: bool = False

    def run(
        self,
        command: Sequence[str],
        log: Path,
        *,
        cwd: str = "/",
        user: int = 0,
        environment: Mapping[str, str] = ENVIRONMENT,
    ) -> int:
        """The exit status; all output goes to the end of `log`."""
        job = {"command": list(command), "cwd": cwd, "user": user, "env": dict(environment)}
        with log.open("ab") as stream:
            return self._enter(job, stream, stream).returncode

    def call(self, function: str, argument: Mapping[str, Any], log: Path) -> Any:
        """Runs `module:function` of ours inside, as root there. JSON in, JSON out."""
        job = {"function": function, "argument": dict(argument)}
        with log.open("ab") as stream:
            finished = self._enter(job, subprocess.PIPE, stream)
        try:
            answer = json.loads(finished.stdout)
        except ValueError as error:
            raise ToolError(
                f"{function} ended inside the clean root (status {finished.returncode}).",
                f"All of its output is in {log}.",
            ) from error
        if "error" in answer:
            raise _error(answer["error"])
        return answer["result"]

    def _enter(
        self, job: Mapping[str, Any], stdout: Any, stderr: Any
    ) -> subprocess.CompletedProcess[bytes]:
        Path(self.root.target).mkdir(parents=True, exist_ok=True)
        spaces = ["--mount", "--pid", "--fork", "--kill-child", "--ipc", "--uts"]
        if not self.network:
            spaces.append("--net")
        # When we are killed, everything inside goes, too.
        bound = ["setpriv", "--pdeathsig", "KILL", "unshare"]
        return subprocess.run(
            [*bound, *spaces, sys.executable, "-m", "naht.build.debian.enter"],
            input=json.dumps({"enclosure": asdict(self), **job}).encode(),
            stdout=stdout, stderr=stderr, check=False,
        )  # fmt: skip


def _error(raw: Mapping[str, str]) -> NahtError:
    """The error as it was raised inside."""
    if raw["kind"] == "BuildRefusedError":
        return BuildRefusedError(raw["reason"], raw["cause"], raw["next_step"], where=raw["where"])
    kind = {"UsageError": UsageError}.get(raw["kind"], ToolError)
    return kind(raw["cause"], raw["next_step"])


def error_as_json(error: NahtError) -> dict[str, str]:
    return {
        "kind": type(error).__name__,
        "cause": error.cause,
        "next_step": error.next_step,
        "reason": getattr(error, "reason", ""),
        "where": getattr(error, "where", "") or "",
    }


__all__ = ["BUILDER", "ENVIRONMENT", "Enclosure", "Layered", "error_as_json"]
