"""Runs the user's build command in the work tree, recorded.

Refuses nothing; a command that fails is a ToolError that shows the end of its output.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from naht.build.native.recording import Invocation, read_records
from naht.build.native.request import Progress
from naht.build.native.toolchain import Recorder
from naht.errors import ToolError

_TAIL = 30

_NEXT_STEPS = {
    "old": "Make the command work in a fresh copy of the tree",
    "new": "Make the command work a second time, in the tree that it has built already and that "
    "now has the new sources (`rm -f` what it can't overwrite)",
}


def run_build(
    recorder: Recorder, command: str, tree: Path, which: str, progress: Progress
) -> tuple[Invocation, ...]:
    """What was run, oldest first. `which` is "old" or "new"; a failed one leaves its log."""
    progress(f"building the {which} tree ({command})…")
    # Beside the work directory, which is gone after a failure unless it is kept.
    log = tree.parent.with_name(f"{tree.parent.name}-{which}.log")
    with log.open("wb") as stream:
        # The one shell string: the user typed it as a command for the shell.
        result = subprocess.run(
            ["sh", "-c", command], cwd=tree, env=recorder.environment(os.environ),
            stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    if result.returncode:
        raise ToolError(
            f"The build command failed in the {which} tree (status {result.returncode}):\n"
            f"{_tail(log)}",
            f"{_NEXT_STEPS[which]}; all of its output is in {log}.",
        )
    log.rename(tree.parent / f"build-{which}.log")
    done = recorder.home / f"records-{which}"
    recorder.records.rename(done)
    recorder.records.mkdir()
    return read_records(recorder, done)


def _tail(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 65536))
        return "\n".join(stream.read().decode(errors="replace").splitlines()[-_TAIL:])
