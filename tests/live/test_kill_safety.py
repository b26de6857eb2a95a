"""SIGKILL to the patcher at every step it takes on a target under load.

The core is built with a counter before and after each kernel request that touches a target; the
driver dies at a chosen one. Then the target must be healthy and wholly old or wholly new, and the
next ordinary operation must finish what was left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from naht.build.native.builder import BuildRequest, build_native
from naht.hotpatch.container import unpack_hotpatch
from naht.hotpatch.verified import VerifiedHotpatch, accept_unsigned
from naht.live.engine import RetryPolicy
from naht.live.native.engine import NativeEngine
from naht.live.native.procfs import read_key, read_maps, read_status

pytestmark = [pytest.mark.live, pytest.mark.compiler]

HERE = Path(__file__).parent / "kill_safety"
CORE = Path(__file__).parents[2] / "csrc"
RETRY = RetryPolicy(attempts=60)
QUICK_STEPS = 24


@pytest.fixture(scope="module")
def fault_core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("core") / "_core.abi3.so"
    sources = [CORE / "binding/module.c", *sorted((CORE / "core").glob("*.c"))]
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O2", "-std=c11", "-D_GNU_SOURCE", "-DNAHT_FAULT",
         "-DPy_LIMITED_API=0x030B0000", f"-I{CORE}/core", f"-I{sysconfig.get_path('include')}",
         "-o", path, *sources, "-pthread"],
        check=True,
    )  # fmt: skip
    return path


@dataclass
class Case:
    program: Path
    hotpatch: Path
    verified: VerifiedHotpatch


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("pair")
    for version, name in ((1, "old"), (2, "new")):
        tree = folder / name
        tree.mkdir()
        source = (HERE / "pair.c").read_text()
        (tree / "pair.c").write_text(f"#define VERSION {version}\n{source}")
        (tree / "target.c").write_bytes((HERE / "target.c").read_bytes())
        (tree / "Makefile").write_text(
            "target: pair.o target.o\n\tgcc -o $@ pair.o target.o -pthread\n"
            "%.o: %.c\n\tgcc -O2 -g -c -o $@ $<\n"
        )
    subprocess.run(["make", "-s"], cwd=folder / "old", check=True)
    data = build_native(
        BuildRequest(
            old=folder / "old", new=folder / "new", command="make", object="target",
            running=folder / "old" / "target", id="pair-2", consistency="quiescent",
        ),
        lambda _line: None,
    )  # fmt: skip
    path = folder / "pair.naht"
    path.write_bytes(data)
    verified = accept_unsigned(unpack_hotpatch(data))
    changed = [f.name for f in verified.manifest.images[0].functions if f.change == "changed"]
    assert len(changed) == 2, changed
    return Case(folder / "old" / "target", path, verified)


@dataclass
class Target:
    process: subprocess.Popen[str]
    pid: int
    engine: NativeEngine = field(default_factory=NativeEngine)

    def answer(self) -> list[int]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        return [int(word) for word in self.process.stdout.readline().split()]

    def healthy_version(self) -> int:
        """Every thread goes on, nothing saw a fault, no tracer is left; which version runs."""
        version, faults, *before = self.answer()
        deadline = time.monotonic() + 20
        while True:
            again, faults, *after = self.answer()
            assert faults == 0
            assert again == version
            if all(b > a for a, b in zip(before, after, strict=True)):
                break
            assert time.monotonic() < deadline, f"threads stand still: {before} {after}"
            time.sleep(0.01)
        assert read_status(self.pid).tracer == 0
        return version


@pytest.fixture
def target(case: Case) -> Iterator[Target]:
    process = subprocess.Popen(
        [case.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield Target(process, int(process.stdout.readline()))
    process.kill()
    process.wait()


def drive(core: Path, case: Case, operation: str, pid: int, **environment: str) -> int:
    done = subprocess.run(
        [sys.executable, HERE / "driver.py", core, operation, case.hotpatch, str(pid)],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    print(operation, environment, done.stdout.strip())
    return done.returncode


def count_steps(core: Path, case: Case, operation: str, pid: int, folder: Path) -> int:
    path = folder / f"{operation}-steps"
    assert drive(core, case, operation, pid, NAHT_FAULT_COUNT=str(path)) == 0
    return int(path.read_text())


def arenas(pid: int) -> list[str]:
    return [m.permissions for m in read_maps(pid) if m.anonymous and m.permissions[2] == "x"]


def finish(target: Target, case: Case, operation: str, expected: int) -> None:
    key = read_key(target.pid)
    if operation == "apply":
        outcome = target.engine.apply(case.verified, key, retry=RETRY, dry_run=False)
        assert outcome.outcome in ("applied", "already-applied"), outcome
    else:
        outcome = target.engine.revert("pair-2", key, retry=RETRY, dry_run=False)
        assert outcome.outcome in ("reverted", "reverted-memory-kept", "not-applied"), outcome
    assert target.healthy_version() == expected


def run_steps(target: Target, case: Case, core: Path, folder: Path, quick: bool) -> None:
    """Applies and reverts, dying at each step in turn; leftovers are finished by the other tool."""
    totals = {}
    for operation in ("apply", "revert"):
        totals[operation] = count_steps(core, case, operation, target.pid, folder)
        assert target.healthy_version() == (2 if operation == "apply" else 1)
    assert min(totals.values()) > 20, totals
    killed = 0
    for operation, before, after in (("apply", 1, 2), ("revert", 2, 1)):
        total = totals[operation] + 10  # retries make some runs longer
        stride = max(1, total // QUICK_STEPS) if quick else 1
        for step in range(1, total + 1, stride):
            finish(target, case, "revert" if before == 1 else "apply", before)
            status = drive(core, case, operation, target.pid, NAHT_FAULT_STEP=str(step))
            killed += status != 0
            assert target.healthy_version() in (1, 2)
            finish(target, case, operation, after)
    finish(target, case, "revert", 1)
    assert killed > 20
    print(f"killed {killed} times; steps {totals}")
    for _ in range(20):
        if not arenas(target.pid):
            break
        time.sleep(0.05)
        finish(target, case, "revert", 1)
    assert not arenas(target.pid)


def test_killed_at_some_steps(target: Target, case: Case, fault_core: Path, tmp_path: Path) -> None:
    run_steps(target, case, fault_core, tmp_path, quick=True)


@pytest.mark.slow
def test_killed_at_every_step(target: Target, case: Case, fault_core: Path, tmp_path: Path) -> None:
    run_steps(target, case, fault_core, tmp_path, quick=False)
