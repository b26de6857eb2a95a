"""The author's guide is true: its chapter on shadow data runs as it says, with its example."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.builders.door import ROOT
from tests.e2e.test_readme_tour import Step, pattern, run_in_one_shell

pytestmark = [pytest.mark.live, pytest.mark.compiler]

EXAMPLE = ROOT / "examples" / "sessions"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def chapter() -> str:
    text = (ROOT / "docs" / "patch_author_guide.md").read_text()
    _, _, after = text.partition("## Shadow data")
    return after.partition("\n## ")[0]


def blocks(kind: str) -> list[str]:
    return [text for found, text in _BLOCK.findall(chapter()) if found == kind]


def steps() -> list[Step]:
    found: list[Step] = []
    continues = False
    for line in "".join(blocks("console")).splitlines():
        if line.startswith("$ "):
            found.append(Step(line[2:]))
        elif continues:
            found[-1].command += "\n" + line
        else:
            found[-1].expected.append(line)
        continues = line.endswith("\\")
    return found


def test_the_chapter_on_shadow_data_is_true(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "sessions")
    wanted = steps()
    assert any("naht apply" in step.command for step in wanted)
    done = run_in_one_shell(wanted, tmp_path / "sessions")
    assert len(done) == len(wanted)
    for step, (code, text) in zip(wanted, done, strict=True):
        assert re.fullmatch(pattern(step.expected), text), f"{step.command}\n{text}"
        assert code == 0, f"{step.command}\n{text}"


def test_the_patch_is_what_the_chapter_shows() -> None:
    patch = (EXAMPLE / "shadow.patch").read_text()
    shown = blocks("diff")
    assert shown
    assert all(lines in patch for lines in shown)
