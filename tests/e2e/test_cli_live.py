"""The commands as a person runs them, on real processes: many at once, and awkward ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from naht.cli.exit_codes import UNREADABLE
from tests.builders.door import HOTPATCH_ID, Door, build_fix, make_door, naht, running_door

pytestmark = [pytest.mark.live, pytest.mark.compiler]

MANY = 12


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_door(tmp_path_factory.mktemp("door"))


@pytest.fixture(scope="module")
def fix(shipped: Path) -> Path:
    return build_fix(shipped.parent, shipped)


@pytest.fixture
def doors(shipped: Path) -> Iterator[list[Door]]:
    with ExitStack() as stack:
        yield [stack.enter_context(running_door(shipped)) for _ in range(MANY)]


def run(*words: str | Path, expect: int = 0) -> str:
    done = subprocess.run(naht(*words), capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


def run_json(*words: str | Path, expect: int = 0) -> Any:
    return json.loads(run(*words, "--json", expect=expect))


def test_all_processes_are_reached_side_by_side(fix: Path, doors: list[Door]) -> None:
    pids = {door.pid for door in doors}
    applied = run_json("apply", fix, "--all", "--unsigned-dev")
    known = [p for p in applied["processes"] if p["reason"] not in UNREADABLE]
    assert {p["key"]["pid"]: p["outcome"] for p in known} == dict.fromkeys(pids, "applied")
    assert applied["summary"]["good"] == MANY
    assert {door.ask("s") for door in doors} == {"go away"}
    states = run_json("status", "--pid", *map(str, pids))
    assert {h["state"] for p in states["processes"] for h in p["hotpatches"]} == {"active"}
    reverted = run_json("revert", HOTPATCH_ID, "--pid", *map(str, pids))
    assert len(reverted["processes"]) == MANY
    assert {door.ask("s") for door in doors} == {"welcome"}


def test_a_line_for_each_process_and_a_summary(fix: Path, doors: list[Door]) -> None:
    lines = run("apply", fix, "--all", "--unsigned-dev").splitlines()
    assert sum("applied" in line for line in lines) == MANY
    assert lines[-1].startswith(f"{MANY} of {MANY} processes good")
    assert "longest pause" in lines[-1]
    again = run("apply", fix, "--all", "--unsigned-dev").splitlines()
    assert sum("already-applied" in line for line in again) == MANY


def test_a_reader_that_leaves_early_does_not_stop_the_work(fix: Path, doors: list[Door]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        naht("apply", fix, "--all", "--unsigned-dev"), stdout=writing, check=False
    )
    os.close(writing)
    assert done.returncode == 0
    assert {door.ask("s") for door in doors} == {"go away"}


def test_a_mix_is_exit_8_and_each_process_has_its_word(fix: Path, doors: list[Door]) -> None:
    chosen = [str(doors[0].pid), str(os.getpid())]
    result = run_json("apply", fix, "--pid", *chosen, "--unsigned-dev", expect=8)
    outcomes = {p["key"]["pid"]: p for p in result["processes"]}
    assert outcomes[doors[0].pid]["outcome"] == "applied"
    assert outcomes[os.getpid()]["reason"] == "wrong-build-id"
    assert outcomes[os.getpid()]["next_step"]


def test_without_any_such_process_there_is_nothing_to_do(fix: Path) -> None:
    assert run_json("apply", fix, "--all", "--unsigned-dev", expect=9)["exit_code"] == 9
    assert run_json("revert", "NO-SUCH-HOTPATCH", "--all", expect=9)["exit_code"] == 9


def test_killing_the_patcher_leaves_a_process_that_the_next_visit_puts_right(
    fix: Path, doors: list[Door]
) -> None:
    """SIGKILL as soon as it speaks: wherever it is then, every door must still answer."""
    patcher = subprocess.Popen(
        naht("apply", fix, "--all", "--unsigned-dev"), stdout=subprocess.PIPE
    )
    assert patcher.stdout is not None
    patcher.stdout.readline()
    patcher.send_signal(signal.SIGKILL)
    patcher.communicate()
    assert all(door.ask("sesame") == "welcome" for door in doors)
    run("apply", fix, "--all", "--unsigned-dev")
    assert {door.ask("s") for door in doors} == {"go away"}
