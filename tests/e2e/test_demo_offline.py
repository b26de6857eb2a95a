"""The demo without network, from end to end, as `make demo` runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.live, pytest.mark.compiler]

CHECKOUT = Path(__file__).parents[2]


def test_the_hole_closes_opens_and_closes_and_nothing_stays_behind(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "scripts.demo", "--offline", "--work", str(tmp_path)],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    findings = re.findall(r"HOLE (OPEN|CLOSED)", result.stdout)
    assert findings == ["OPEN", "CLOSED", "OPEN", "CLOSED"]
    assert re.search(r"[\d,]{4,} answered, 0 failed", result.stdout)
    assert processes_of(tmp_path) == []


def processes_of(folder: Path) -> list[str]:
    """Command lines of live processes that run from the demo's folder."""
    found = []
    for link in Path("/proc").glob("[0-9]*/exe"):
        try:
            if str(link.readlink()).startswith(str(folder)):
                found.append(str(link.parent))
        except OSError:  # it ended meanwhile, or is not ours to look at
            continue
    return found
