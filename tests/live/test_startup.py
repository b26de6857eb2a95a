"""A process whose dynamic linker still runs is early, not unfit: it is waited for."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from naht.hotpatch.verified import VerifiedHotpatch
from naht.live.engine import RetryPolicy
from naht.live.native.memory import TargetMemory
from naht.live.native.procfs import read_maps, read_stat
from naht.live.native.startup import find_unfinished_start
from tests.builders.live_programs import compile_program, wait_until
from tests.builders.live_programs import running as running_program
from tests.programs.building import build
from tests.programs.cases import Trees, case_named, prepare
from tests.programs.patching import Snapshot, apply, assert_as_before, assert_outcome
from tests.programs.target import Target, assert_behaves

pytestmark = [pytest.mark.live, pytest.mark.compiler]

FEW_LOOKS = RetryPolicy(attempts=3)
UNTIL_IT_RUNS = RetryPolicy(attempts=10_000, longest_wait_ns=20_000_000)
LOADER = "/lib64/ld-linux-x86-64.so.2"
_PTRACE_TRACEME, _PTRACE_DETACH = 0, 17

Release = Callable[[], None]


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Trees:
    return prepare(case_named("process-states"), tmp_path_factory.mktemp("startup") / "trees")


@pytest.fixture(scope="module")
def hotpatch(trees: Trees) -> VerifiedHotpatch:
    return build(trees)


@contextmanager
def held_in_loader(
    trees: Trees, where: Path, *first: str, by_hand: bool = False
) -> Iterator[tuple[Target, Release]]:
    """The loader opens a pipe as if it were a library, which takes until somebody writes to it."""
    pipe = where / "never-a-library.so"
    os.mkfifo(pipe)
    program = [*([LOADER] if by_hand else []), str(trees.running / "target"), "2", "100"]
    target = Target.start(program, LD_PRELOAD=" ".join([*first, str(pipe)]), LC_ALL="C")

    def release() -> None:
        os.close(os.open(pipe, os.O_WRONLY))

    try:
        call = Path(f"/proc/{target.pid}/syscall")
        wait_until(lambda: call.read_text().startswith("257 "))  # openat
        yield target, release
    finally:
        target.end()


_ptrace = ctypes.CDLL(None, use_errno=True).ptrace
_ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]


@contextmanager
def traced_at_its_first_instruction(trees: Trees) -> Iterator[Target]:
    """By this thread."""
    process = subprocess.Popen(
        [str(trees.running / "target"), "2", "100"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: _ptrace(_PTRACE_TRACEME, 0, None, None),  # noqa: PLW1509
    )  # fmt: skip
    target = Target(process)
    try:
        os.waitpid(process.pid, os.WUNTRACED)
        yield target
    finally:
        target.end()


@contextmanager
def held_at_its_first_instruction(trees: Trees) -> Iterator[tuple[Target, Release]]:
    with traced_at_its_first_instruction(trees) as target:
        assert not _ptrace(_PTRACE_DETACH, target.pid, None, signal.SIGSTOP.value)
        wait_until(lambda: read_stat(target.pid).state == "T")
        yield target, lambda: os.kill(target.pid, signal.SIGCONT)


def assert_early_then_fit(
    target: Target, release: Release, trees: Trees, hotpatch: VerifiedHotpatch
) -> None:
    before = Snapshot.of(target, trees.running_object)
    for dry_run in (True, False):
        outcome = apply(hotpatch, target, retry=FEW_LOOKS, dry_run=dry_run)
        assert_outcome(outcome, "busy")
        assert "its dynamic linker" in outcome.cause
        assert "3 times" in outcome.cause and outcome.next_step
    assert_as_before(before, target, trees.running_object)
    target.assert_not_traced()
    release()
    assert_behaves(target, trees.case, "old")
    assert_outcome(apply(hotpatch, target), "applied")
    assert_behaves(target, trees.case, "new")
    assert target.quit() == 0


def test_before_the_loader_s_first_instruction(trees: Trees, hotpatch: VerifiedHotpatch) -> None:
    with held_at_its_first_instruction(trees) as (target, release):
        assert_early_then_fit(target, release, trees, hotpatch)


def test_what_keeps_it_from_starting_is_named(trees: Trees, hotpatch: VerifiedHotpatch) -> None:
    with traced_at_its_first_instruction(trees) as target:
        outcome = apply(hotpatch, target, retry=FEW_LOOKS)
        assert (outcome.outcome, outcome.reason) == ("refused", "traced")


def test_before_any_library_is_there(
    trees: Trees, hotpatch: VerifiedHotpatch, tmp_path: Path
) -> None:
    with held_in_loader(trees, tmp_path) as (target, release):
        assert not [line for line in target.maps() if "libc.so" in line]
        assert_early_then_fit(target, release, trees, hotpatch)


def test_libraries_that_have_no_relocations_yet(
    trees: Trees, hotpatch: VerifiedHotpatch, tmp_path: Path
) -> None:
    with held_in_loader(trees, tmp_path, "libc.so.6") as (target, release):
        assert [line for line in target.maps() if "libc.so" in line]
        assert_early_then_fit(target, release, trees, hotpatch)


def test_a_loader_started_by_hand(trees: Trees, hotpatch: VerifiedHotpatch, tmp_path: Path) -> None:
    with held_in_loader(trees, tmp_path, by_hand=True) as (target, release):
        assert_early_then_fit(target, release, trees, hotpatch)


def test_it_is_waited_for(trees: Trees, hotpatch: VerifiedHotpatch, tmp_path: Path) -> None:
    with held_in_loader(trees, tmp_path) as (target, release):
        later = threading.Timer(0.1, release)
        later.start()
        outcome = apply(hotpatch, target, retry=UNTIL_IT_RUNS)
        later.join()
        assert_outcome(outcome, "applied")
        assert_behaves(target, trees.case, "new")
        assert target.quit() == 0


# --- who only looks like it -----------------------------------------------------------------

LOADS_SLOWLY = """
#include <dlfcn.h>
int main(int argc, char **argv) { ready(); dlopen(argv[1], RTLD_NOW); wait_for_end(); }
"""
RUNS = "int main(void) { ready(); wait_for_end(); }"


def test_a_running_program_that_loads_a_library_is_not_early(tmp_path: Path) -> None:
    """Nor would be the child of a fork amid that, whose list stays so for ever."""
    program, pipe = compile_program(tmp_path, "loads", LOADS_SLOWLY), tmp_path / "slow.so"
    os.mkfifo(pipe)
    with running_program([program, pipe]) as process:
        assert process.line() == "ready"
        call = Path(f"/proc/{process.pid}/syscall")
        wait_until(lambda: call.read_text().startswith("257 "))
        with TargetMemory(process.pid) as memory:
            assert find_unfinished_start(memory, read_maps(process.pid)) == ""


@pytest.mark.parametrize(
    "flags", [("-static",), ("-static-pie",), ("-no-pie",), ("-pie",), ("-Wl,-z,now",)]
)
def test_programs_that_run(flags: tuple[str, ...], tmp_path: Path) -> None:
    program = compile_program(tmp_path, "runs", RUNS, *flags)
    with running_program([program]) as process:
        assert process.line() == "ready"
        with TargetMemory(process.pid) as memory:
            assert find_unfinished_start(memory, read_maps(process.pid)) == ""
