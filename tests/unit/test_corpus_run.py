from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from scripts.corpus import run
from scripts.corpus.cases import Case
from scripts.corpus.held import wait_until
from scripts.corpus.results import CaseResult, Store
from scripts.corpus.worker import Request

CASES = (Case("tiff", "1", "A.patch"), Case("tiff", "1", "B.patch"))


def request(case: Case, scratch: Path, only_build: bool) -> Request:
    return Request(
        case=case, cache="/nonexistent/cache", suite="none", entries="", jobs=1,
        drivers="/nonexistent", authors="/nonexistent", scratch=str(scratch),
        only_build=only_build,
    )  # fmt: skip


class OutOfTime(subprocess.Popen[bytes]):
    """Its time is up as soon as it has done what it is to be ended for."""

    def __init__(self, mark: Path, command: list[str], **options: Any) -> None:
        super().__init__(command, **options)
        self.mark = mark

    def wait(self, timeout: float | None = None) -> int:
        while timeout is not None:
            if self.mark.exists() and self.mark.read_text():
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.01)
        return super().wait()


def make_run(
    tmp_path: Path,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    kind: Any = subprocess.Popen,
) -> run.Run:
    """With another program in the place of the worker's."""

    def instead(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = kind(
            [sys.executable, "-c", code, command[-1]], **options
        )
        return process

    monkeypatch.setattr(subprocess, "Popen", instead)
    return run.Run(
        Store(tmp_path / "results"), tmp_path / "scratch", run.Limits(60, 60, None),
        request, lambda case, _: told.append(case.patch),
    )  # fmt: skip


ANSWERS = """
import json, pathlib, sys
asked = json.loads(pathlib.Path(sys.argv[1]).read_text())
case = asked["case"]
answer = {"package": case["package"], "version": case["version"], "patch": case["patch"],
          "change_class": "", "cves": [], "seconds": {"build": 9.0 if asked["only_build"] else 0.1}}
(pathlib.Path(asked["scratch"]) / "result.json").write_text(json.dumps(answer))
"""


def test_every_case_is_run_saved_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    runner = make_run(tmp_path, told, monkeypatch, ANSWERS)
    runner.all([CASES], 2)
    assert told == ["A.patch", "B.patch"]
    found = [runner.store.load(case) for case in CASES]
    assert all(isinstance(one, CaseResult) and one.seconds["build"] == 9.0 for one in found)


def test_a_case_that_takes_too_long_is_ended_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
import pathlib, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"])
(pathlib.Path(sys.argv[1]).parent / "child").write_text(str(child.pid))
time.sleep(600)
"""
    child_file = tmp_path / "scratch/tiff%A.patch/child"
    runner = make_run(
        tmp_path, [], monkeypatch, code, lambda *a, **o: OutOfTime(child_file, *a, **o)
    )
    runner.all([CASES[:1]], 1)
    found = runner.store.load(CASES[0])
    assert found is not None
    assert found.trouble is not None
    assert found.trouble.stage == "time"
    child = int(child_file.read_text())
    assert wait_until(lambda: has_ended(child), 20)  # killed already; the kernel takes its time


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_worker_that_dies_is_a_failure_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import os, sys; print('the last words', flush=True); os.abort()"
    runner = make_run(tmp_path, [], monkeypatch, code)
    runner.all([CASES[:1]], 1)
    found = runner.store.load(CASES[0])
    assert found is not None
    assert found.trouble is not None
    assert "the last words" in found.trouble.cause


def test_a_package_that_another_run_has_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    runner = make_run(tmp_path, told, monkeypatch, ANSWERS)
    with run.locked(tmp_path / "scratch/.tiff.lock") as mine:
        assert mine
        runner.all([CASES], 1)
    assert told == []
    runner.all([CASES], 1)
    assert told == ["A.patch", "B.patch"]


def test_nothing_is_begun_when_the_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    runner = make_run(tmp_path, told, monkeypatch, ANSWERS)
    runner.limits = run.Limits(60, 60, 0.0)
    runner.all([CASES], 1)
    assert told == []
