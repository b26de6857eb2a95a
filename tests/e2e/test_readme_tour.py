"""The README's tour is true: its commands run in order in one shell, and show what it says."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.builders.door import ROOT, free_port

pytestmark = [pytest.mark.live, pytest.mark.compiler]

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Step:
    command: str
    expected: list[str] = field(default_factory=list)


def tour(port: int) -> list[Step]:
    text = (ROOT / "README.md").read_text().replace("4711", str(port))
    _, _, after = text.partition("## A tour\n")
    section, _, _ = after.partition("\n## ")
    steps: list[Step] = []
    for line in "".join(_BLOCK.findall(section)).splitlines():
        if line.startswith("$ "):
            steps.append(Step(line[2:]))
        else:
            steps[-1].expected.append(line)
    return steps


def pattern(expected: list[str]) -> str:
    """A line of "..." stands for any lines, "..." inside of one for any text; the width of columns
    depends on what is in them."""
    return "".join(
        r"(?:.*\n)*?" if line == "..." else line_pattern(line) + r"\n" for line in expected
    )


def line_pattern(line: str) -> str:
    words = [re.escape(word).replace(r"\.\.\.", ".*") for word in line.split()]
    return r"\s*" + r"\s+".join(words)


def shell_script(steps: list[Step]) -> str:
    """One shell, so that functions, jobs and open connections last from step to step."""
    return "\n".join(
        f"{{ {step.command}\n}} 2>&1; printf '\\036%d %d\\n' {number} $?"
        for number, step in enumerate(steps)
    )


def run_in_one_shell(steps: list[Step], folder: Path) -> list[tuple[int, str]]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "LC_ALL": "C.UTF-8"}
    shell = subprocess.Popen(
        ["bash", "-c", shell_script(steps)], cwd=folder, env=environment,
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = shell.communicate(timeout=300)
    finally:
        os.killpg(shell.pid, signal.SIGKILL) if shell.poll() is None else None
    done = re.findall(r"((?:(?!\x1e)[\s\S])*)\x1e\d+ (\d+)\n", output)
    return [(int(code), text) for text, code in done]


def test_the_tour_is_true(tmp_path: Path) -> None:
    steps = tour(free_port())
    assert any("naht apply" in step.command for step in steps)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    results = run_in_one_shell(steps, tmp_path)
    for step, (code, shown) in zip(steps, results, strict=True):
        assert code == 0, f"$ {step.command}\n{shown}"
        assert re.fullmatch(pattern(step.expected), shown), f"$ {step.command}\n{shown}"
