"""Real threads: who can be borrowed, and on which stack they are."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from naht.live.native import procfs
from naht.live.native.gadgets import find_gadgets
from naht.live.native.memory import TargetMemory
from naht.live.native.threads import Candidate, find_candidates
from tests.builders.live_programs import Program, compile_program, running, wait_until

pytestmark = [pytest.mark.live, pytest.mark.compiler]

THREADS = """
#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static volatile int told;
static void tell(void) { say(syscall(SYS_gettid)); told = 1; }
static void *in_poll(void *x) { tell(); poll(0, 0, -1); return 0; }
static void *in_futex(void *x) { tell(); pthread_mutex_lock(&held); return 0; }
static void *in_loop(void *x) { tell(); for (;;) __asm__ volatile(""); }
static void start(void *(*body)(void *))
{
    pthread_t thread;
    told = 0; pthread_create(&thread, 0, body, 0); while (!told) usleep(100);
}
int main(void)
{
    pthread_mutex_lock(&held);
    start(in_poll); start(in_futex); start(in_loop);
    ready(); wait_for_end(); return 0;
}
"""
OTHER_STACK = """
#include <signal.h>
#include <pthread.h>
#include <sys/mman.h>
static void handler(int signal) { ready(); wait_for_end(); _exit(0); }
static void *body(void *alternate)
{
    if (alternate) {
        stack_t stack = {alternate, 0, 1 << 18};
        sigaltstack(&stack, 0);
        struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
        sigaction(SIGUSR1, &action, 0);
        raise(SIGUSR1);
    }
    handler(0);
    return 0;
}
int main(int argc, char **argv)
{
    pthread_t thread; pthread_attr_t attributes;
    switch (atoi(argv[1])) {
    case 0: body(malloc(1 << 18)); break;
    case 1: pthread_create(&thread, 0, body, malloc(1 << 18)); break;
    case 2:
        pthread_attr_init(&attributes);
        pthread_attr_setstack(&attributes, aligned_alloc(4096, 1 << 18), 1 << 18);
        pthread_create(&thread, &attributes, body, 0);
        break;
    case 3:
        pthread_attr_init(&attributes); pthread_attr_setguardsize(&attributes, 0);
        pthread_create(&thread, &attributes, body, 0);
        break;
    case 4:
        pthread_attr_init(&attributes); pthread_attr_setstacksize(&attributes, 32768);
        pthread_create(&thread, &attributes, body, 0);
        break;
    case 5: pthread_create(&thread, 0, body, 0); break;
    }
    for (;;) pause();
}
"""


def candidates(pid: int) -> dict[int, Candidate]:
    return {c.thread: c for c in find_candidates(pid, procfs.read_maps(pid), enough=1000)}


def settled(pid: int, states: Callable[[], bool]) -> None:
    wait_until(lambda: states() and procfs.read_stat(pid).state in "SZT")


def waits(pid: int, thread: int) -> bool:
    return procfs.read_stat(pid, thread).state == "S"


@pytest.fixture(scope="module")
def threads_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("threads"), "threads", THREADS, "-pthread")


def start(process: Program) -> tuple[int, int, int]:
    in_poll, in_futex, in_loop = process.numbers_until_ready()
    settled(process.pid, lambda: waits(process.pid, in_poll) and waits(process.pid, in_futex))
    return in_poll, in_futex, in_loop


def test_threads_in_their_order(threads_program: Path) -> None:
    with running([threads_program]) as process:
        in_poll, in_futex, in_loop = start(process)
        found = candidates(process.pid)
        assert list(found) == [process.pid, in_poll, in_futex]
        assert [c.plain for c in found.values()] == [True, True, False]
        assert in_loop not in found
        maps = procfs.read_maps(process.pid)
        stack = next(m for m in maps if m.path == "[stack]")
        assert found[process.pid].stack_floor == stack.start
        for thread in (in_poll, in_futex):
            call = procfs.read_blocked_call(process.pid, thread)
            assert call is not None
            assert found[thread].stack_floor < call.stack_pointer < found[thread].stack_end
            below = procfs.mapping_at(maps, found[thread].stack_floor - 1)
            assert below is not None
            assert below.permissions == "---p"


def test_the_search_ends_when_enough_are_found(threads_program: Path) -> None:
    with running([threads_program]) as process:
        start(process)
        assert len(find_candidates(process.pid, procfs.read_maps(process.pid), enough=1)) == 1


def test_stopped_threads_are_still_understood(threads_program: Path) -> None:
    with running([threads_program]) as process:
        in_poll, _, _ = start(process)
        os.kill(process.pid, signal.SIGSTOP)
        wait_until(lambda: procfs.read_stat(process.pid, in_poll).state == "T")
        found = candidates(process.pid)
        assert found[process.pid].plain
        assert found[in_poll].plain


@pytest.mark.parametrize(
    ("case", "borrowed"),
    [
        (0, False),  # the first thread in a signal handler on a stack of the heap
        (1, False),  # another thread in such a handler
        (2, False),  # a thread born on a piece of the heap
        (3, False),  # a thread without a guard below its stack
        (4, False),  # a thread with a very small stack
        (5, True),  # an ordinary thread
    ],
)
def test_stacks_that_are_not_ours_to_use(tmp_path: Path, case: int, borrowed: bool) -> None:
    program = compile_program(tmp_path, "stacks", OTHER_STACK, "-pthread")
    with running([program, str(case)]) as process:
        assert process.line() == "ready"
        thread = procfs.list_threads(process.pid)[-1]
        wait_until(lambda: waits(process.pid, thread))
        assert (thread in candidates(process.pid)) is borrowed


@pytest.mark.parametrize("flags", [(), ("-static",)], ids=["dynamic", "static"])
def test_gadgets_of_real_programs(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """The signal return that is found is the one that the kernel was given."""
    source = """
    #include <signal.h>
    #include <sys/syscall.h>
    static void handler(int signal) { }
    int main(void)
    {
        unsigned long action[4] = {0};
        signal(SIGUSR1, handler);
        syscall(SYS_rt_sigaction, SIGUSR1, 0, action, 8);
        say(action[2]); ready(); wait_for_end(); return 0;
    }
    """
    program = compile_program(tmp_path, "handles", source, *flags)
    with running([program]) as process:
        (restorer,) = process.numbers_until_ready()
        with TargetMemory(process.pid) as memory:
            found = find_gadgets(memory, procfs.read_maps(process.pid))
            assert found.signal_return == (restorer,)
            assert memory.read(found.syscall_return, 3) == b"\x0f\x05\xc3"
