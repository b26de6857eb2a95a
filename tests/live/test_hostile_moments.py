"""Moments that come seldom: each must leave the target as healthy as any other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from naht.hotpatch.verified import VerifiedHotpatch
from naht.live.engine import RetryPolicy
from naht.live.native import arena, plan
from naht.live.native.memory import TargetMemory
from naht.live.native.procfs import Mapping, read_maps
from naht.live.native.recorded import read_records
from naht.live.native.remote import Remote, Step
from tests.builders.own_case import own_case
from tests.programs.building import build
from tests.programs.cases import Trees, case_named, lay_tree, prepare
from tests.programs.patching import (
    apply,
    assert_outcome,
    hotpatches_in,
    revert,
)
from tests.programs.target import Target, running

pytestmark = [pytest.mark.live, pytest.mark.compiler]

NO_DRIVERS = Path("unused")  # an executable brings its own
SIMPLE = """\
#include <string.h>
#include "case.h"
NOINLINE long scaled(long n) { return n * FACTOR; }
long answer(long n) { return scaled(n); }
"""


# --- waits that the kernel does not begin again by itself ---------------------------------------

WAITS = """\
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include "case.h"

static atomic_long interrupted, ended;

static long wait_epoll(void)
{
    struct epoll_event event;
    return epoll_wait(epoll_create1(0), &event, 1, -1);
}

static long wait_epoll_masked(void)
{
    struct epoll_event event;
    sigset_t none;
    sigemptyset(&none);
    return epoll_pwait(epoll_create1(0), &event, 1, -1, &none);
}

static long wait_signal(void)
{
    sigset_t set;
    struct timespec hour = {3600, 0};
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    return sigtimedwait(&set, NULL, &hour);
}

static long wait_semaphore(void)
{
    struct sembuf down = {0, -1, 0};
    int id = semget(IPC_PRIVATE, 1, 0600);
    long result = semop(id, &down, 1);
    semctl(id, 0, IPC_RMID);
    return result;
}

static long wait_socket(void)
{
    int pair[2];
    char byte;
    struct timeval hour = {3600, 0};
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &hour, sizeof hour);
    return recv(pair[0], &byte, 1, 0);
}

static long wait_inotify(void)
{
    char event[512];
    return read(inotify_init(), event, sizeof event);
}

static long (*const waits[])(void) = {
    wait_epoll, wait_epoll_masked, wait_signal, wait_semaphore, wait_socket, wait_inotify,
};

static void *wait_for_ever(void *argument)
{
    long result = waits[(long)argument]();
    if (result < 0 && errno == EINTR)
        atomic_fetch_add(&interrupted, 1);
    atomic_fetch_add(&ended, 1);
    return NULL;
}

NOINLINE long scaled(long n) { return n * FACTOR; }
long answer(long n) { return scaled(n); }

const char *extra(const char *command)
{
    static char reply[64];
    pthread_t thread;
    if (!strncmp(command, "wait ", 5))
        pthread_create(&thread, NULL, wait_for_ever, (void *)(long)(command[5] - '0'));
    snprintf(reply, sizeof reply, "%ld %ld", (long)interrupted, (long)ended);
    return reply;
}
"""


@pytest.mark.parametrize(
    "wait", ["epoll_wait", "epoll_pwait", "sigtimedwait", "semop", "recv", "inotify"]
)
def test_a_wait_is_not_interrupted(wait: str, tmp_path: Path) -> None:
    number = ["epoll_wait", "epoll_pwait", "sigtimedwait", "semop", "recv", "inotify"].index(wait)
    old, new = (f"#define FACTOR {factor}\n{WAITS}" for factor in (10, 20))
    trees = own_case(tmp_path, old, new)
    hotpatch = build(trees)
    with running(trees, NO_DRIVERS) as target:
        target.ask(f"wait {number}")
        for _ in range(3):
            assert_outcome(apply(hotpatch, target), "applied")
            assert target.ask("call 1") == "20"
            assert_outcome(revert(target), "reverted", "reverted-memory-kept")
        assert target.ask("interrupted?") == "0 0"
        target.assert_not_traced()


# --- a program whose only thread is in poll -----------------------------------------------------

POLLS = """\
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include "case.h"
#ifdef HOOKS
#include <naht.h>
static int fine(void) { return 0; }
NAHT_PRE_APPLY(fine);
NAHT_POST_APPLY(fine);
NAHT_PRE_REVERT(fine);
#endif

NOINLINE long scaled(long n) { return n * FACTOR; }
long answer(long n) { return scaled(n); }

const char *extra(const char *command)
{
    char line[64];
    struct pollfd input = {0, POLLIN, 0};
    puts("polling");
    fflush(stdout);
    int found = poll(&input, 1, strstr(command, "long") ? 3600 * 1000 : -1);
    fgets(line, sizeof line, stdin);
    return found == 1 ? "woken" : "failed";
}
"""


@pytest.mark.parametrize("how", ["long", "for ever"])
def test_hooks_run_on_a_thread_whose_poll_was_begun_again(how: str, tmp_path: Path) -> None:
    trees = own_case(
        tmp_path, f"#define FACTOR 10\n{POLLS}", f"#define FACTOR 20\n#define HOOKS\n{POLLS}"
    )
    hotpatch = build(trees)
    with running(trees, NO_DRIVERS) as target:
        assert target.ask(f"poll {how}") == "polling"
        for _ in range(2):
            outcome = apply(hotpatch, target)
            assert_outcome(outcome, "applied")
            assert [h.state for h in hotpatches_in(target.pid)] == ["active"]
            revert_and_reclaim_quietly(target)
        assert target.ask("wake") == "woken"
        assert target.ask("call 1") == "10"


def revert_and_reclaim_quietly(target: Target) -> None:
    for _ in range(20):
        assert_outcome(revert(target), "reverted", "reverted-memory-kept", "not-applied")
        if not hotpatches_in(target.pid):
            return
    raise AssertionError(hotpatches_in(target.pid))


# --- coroutines that sleep in the hotpatch's code -----------------------------------------------

COROUTINE = """\
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include "case.h"

static ucontext_t home, away;
static long result;

NOINLINE static void leave(void) { swapcontext(&away, &home); }

NOINLINE long scaled(long n)
{
    if (n < 0)
        leave();
    return n * FACTOR;
}

static void begin(void) { result = scaled(-3); }
long answer(long n) { return scaled(n); }

const char *extra(const char *command)
{
    static char reply[64];
    if (!strcmp(command, "begin")) {
        getcontext(&away);
        away.uc_stack.ss_sp = malloc(1 << 16);
        away.uc_stack.ss_size = 1 << 16;
        away.uc_link = &home;
        makecontext(&away, begin, 0);
    }
    if (!strcmp(command, "begin") || !strcmp(command, "resume"))
        swapcontext(&home, &away);
    snprintf(reply, sizeof reply, "%ld", result);
    return reply;
}
"""


def test_a_coroutine_may_sleep_in_a_hotpatch_that_is_reverted(tmp_path: Path) -> None:
    old, new = (f"#define FACTOR {factor}\n{COROUTINE}" for factor in (10, 20))
    trees = own_case(tmp_path, old, new)
    hotpatch = build(trees, consistency="overlap")
    with running(trees, NO_DRIVERS) as target:
        assert target.ask("call 1") == "10"
        assert_outcome(apply(hotpatch, target), "applied")
        assert target.ask("begin") == "0"
        for _ in range(3):
            assert_outcome(revert(target), "reverted-memory-kept", "not-applied")
        assert [h.state for h in hotpatches_in(target.pid)] == ["inactive"]
        assert target.ask("call 1") == "10"
        assert target.ask("resume") == "-60"
        assert target.quit() == 0


# --- an upgrade that was cut short ---------------------------------------------------------------


class DiedError(BaseException):
    """Stands for the patcher's death: nothing may tidy up after it."""


Levels = tuple[Trees, VerifiedHotpatch, VerifiedHotpatch]


@pytest.fixture(scope="module")
def levels(tmp_path_factory: pytest.TempPathFactory) -> Levels:
    where = tmp_path_factory.mktemp("levels")
    case = case_named("cumulative-levels")
    trees = prepare(case, where / "trees")
    newer = lay_tree(case, "newer", where / "newer")
    first = build(trees, hotpatch_id="level-1", level=1)
    second = build(trees, new=newer, hotpatch_id="level-2", level=2, supersedes=("level-1",))
    return trees, first, second


@pytest.mark.parametrize("distance", [0, 64 << 20], ids=["newer below", "older below"])
@pytest.mark.parametrize("done", range(1, 6))
def test_an_upgrade_that_was_cut_short_is_finished_at_once(
    done: int, distance: int, levels: Levels, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees, first, second = levels
    with running(trees, NO_DRIVERS) as target:
        assert target.ask("call 1") == "11"
        with monkeypatch.context() as patch:
            place_below(patch, distance)
            assert_outcome(apply(first, target), "applied")
        with monkeypatch.context() as patch:
            cut_short(patch, done)
            with pytest.raises(DiedError):
                apply(second, target)
        assert (target.ask("call 1"), target.ask("call 101")) in (("21", "11"), ("31", "31"))
        assert_outcome(apply(second, target), "applied", "already-applied")
        assert (target.ask("call 1"), target.ask("call 101")) == ("31", "31")
        assert [h.id for h in hotpatches_in(target.pid) if h.state == "active"] == ["level-2"]
        assert target.quit() == 0


def cut_short(patch: pytest.MonkeyPatch, done: int) -> None:
    """The first commit that writes code ends after `done` of its stores."""
    whole = Remote.commit

    def commit(self: Remote, step: Step, certificates: Any, timeout: int) -> Any:
        result = whole(self, replace(step, writes=step.writes[:done]), certificates, timeout)
        if result["outcome"] == "done" and len(step.writes) > 2:
            raise DiedError
        return result

    patch.setattr(Remote, "commit", commit)


def place_below(patch: pytest.MonkeyPatch, distance: int) -> None:
    whole = arena.find_place

    def find_place(maps: Sequence[Mapping], start: int, end: int, size: int) -> int:
        return whole(maps, start, end, size) - distance

    patch.setattr(plan, "find_place", find_place)


# --- a handler that interrupted the first instructions -------------------------------------------

INTERRUPTED = """\
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <pthread.h>
#include <unistd.h>
#include "case.h"

static long *page;
static int gate[2];
static volatile long found;

NOINLINE long scaled(long *from)
{
    long value = *from; /* behind the one-byte push of a register */
    getppid();
    return value * FACTOR;
}

static void on_fault(int number)
{
    char byte;
    (void)number;
    read(gate[0], &byte, 1);
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

static void *use(void *argument)
{
    (void)argument;
    found = scaled(page);
    return NULL;
}

long answer(long n) { return scaled(&n); }

const char *extra(const char *command)
{
    static pthread_t thread;
    static char reply[64];
    if (!strcmp(command, "begin")) {
        signal(SIGSEGV, on_fault);
        pipe(gate);
        page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        *page = 3;
        mprotect(page, 4096, PROT_NONE);
        pthread_create(&thread, NULL, use, NULL);
        usleep(100000);
    }
    if (!strcmp(command, "end")) {
        write(gate[1], "", 1);
        pthread_join(thread, NULL);
    }
    snprintf(reply, sizeof reply, "%ld", found);
    return reply;
}
"""


def test_a_handler_may_have_interrupted_the_bytes_that_change(tmp_path: Path) -> None:
    old, new = (f"#define FACTOR {factor}\n{INTERRUPTED}" for factor in (10, 20))
    trees = own_case(tmp_path, old, new)
    hotpatch = build(trees, consistency="overlap")
    with running(trees, NO_DRIVERS) as target:
        assert target.ask("begin") == "0"
        assert_outcome(apply(hotpatch, target, retry=RetryPolicy(attempts=3)), "busy")
        assert target.ask("end") == "30"
        assert_outcome(apply(hotpatch, target), "applied")
        assert target.ask("call 3") == "60"
        assert target.quit() == 0


# --- claims of being active -----------------------------------------------------------------------


def test_what_is_altered_is_not_called_applied(levels: Levels) -> None:
    trees, first, _ = levels
    with running(trees, NO_DRIVERS) as target:
        assert target.ask("call 1") == "11"
        assert_outcome(apply(first, target), "applied")
        (code,) = [line for line in target.maps() if " r-xp 00000000 00:00 0" in line][:1]
        last = int(code.split("-")[1].split()[0], 16) - 1
        write(target.pid, last, b"\x90")
        outcome = apply(first, target)
        assert (outcome.outcome, outcome.reason) == ("refused", "altered-code")


def test_a_dry_run_looks_at_the_entries(levels: Levels) -> None:
    """As after a dlclose and a dlopen that brings the object back to its place."""
    trees, first, _ = levels
    with running(trees, NO_DRIVERS) as target:
        assert target.ask("call 1") == "11"
        assert_outcome(apply(first, target), "applied")
        assert_outcome(apply(first, target, dry_run=True), "already-applied")
        with TargetMemory(target.pid) as memory:
            (record,) = read_records(memory, read_maps(target.pid))
        for redirect in record.payload.redirects:
            write(target.pid, redirect.address, bytes.fromhex(redirect.original))
        assert_outcome(apply(first, target, dry_run=True), "would-apply")
        assert_outcome(apply(first, target), "applied")
        assert target.ask("call 1") == "21"


def write(pid: int, address: int, data: bytes) -> None:
    with Path(f"/proc/{pid}/mem").open("r+b", buffering=0) as memory:
        os.pwrite(memory.fileno(), data, address)
