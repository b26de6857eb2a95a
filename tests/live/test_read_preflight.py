"""Real processes that cannot be changed, each with its reason; and real ones that can."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from naht.errors import TargetRefusedError
from naht.live.native import cgroups, procfs, target_facts
from naht.live.native.address_spaces import AddressSpaces
from naht.live.native.memory import TargetMemory
from naht.live.native.preflight import find_refusals
from naht.live.native.sandboxes import REQUESTS, judge_thread
from naht.live.native.threads import find_candidates
from tests.builders.live_programs import (
    Program,
    a_kernel_thread,
    compile_library,
    compile_program,
    running,
    wait_until,
)
from tests.builders.tiny_elf32 import write_tiny_elf32

pytestmark = [pytest.mark.live, pytest.mark.compiler]

WAITS = "int main(void) { ready(); wait_for_end(); return 0; }"


@pytest.fixture(scope="module")
def waits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("waits"), "waits", WAITS)


def reasons(pid: int, *, needed: int = 1 << 20, quiescent: bool = True) -> list[str]:
    with TargetMemory(pid) as memory:
        maps = procfs.read_maps(pid)
        threads = [c.thread for c in find_candidates(pid, maps)]
        facts = target_facts.gather(memory, maps, threads, quiescent=quiescent)
    return [r.reason for r in find_refusals(facts, needed_bytes=needed, quiescent=quiescent)]


def settle(process: Program) -> None:
    wait_until(lambda: procfs.read_stat(process.pid).state == "S")


def test_a_plain_process_has_no_reason_against_it(waits: Path) -> None:
    with running([waits]) as process:
        assert process.line() == "ready"
        settle(process)
        assert reasons(process.pid) == []


def test_a_stopped_process_may_be_changed(waits: Path) -> None:
    with running([waits]) as process:
        assert process.line() == "ready"
        os.kill(process.pid, signal.SIGSTOP)
        wait_until(lambda: procfs.read_stat(process.pid).state == "T")
        assert reasons(process.pid) == []


def test_a_traced_process(tmp_path: Path) -> None:
    source = """
    #include <sys/ptrace.h>
    int main(void)
    {
        pid_t child = fork();
        if (!child) for (;;) pause();
        ptrace(PTRACE_SEIZE, child, 0, PTRACE_O_EXITKILL); say(child); ready(); wait_for_end();
    }
    """
    with running([compile_program(tmp_path, "tracer", source)]) as tracer:
        (child,) = tracer.numbers_until_ready()
        with TargetMemory(child) as memory:
            facts = target_facts.gather(memory, procfs.read_maps(child), (), quiescent=False)
        (refusal,) = find_refusals(facts, needed_bytes=0, quiescent=False)
        assert refusal.reason == "traced"
        assert f"tracer (process {tracer.pid})" in refusal.cause


def refused_when_opened(pid: int) -> str:
    with pytest.raises(TargetRefusedError) as refused:
        TargetMemory.of(procfs.read_key(pid))
    return refused.value.reason


def test_tasks_without_memory(waits: Path, tmp_path: Path) -> None:
    kernel_thread = a_kernel_thread()
    assert refused_when_opened(kernel_thread) == "kernel-thread"
    with running([waits]) as process:
        assert process.line() == "ready"
        process.process.kill()
        wait_until(lambda: procfs.read_stat(process.pid).state == "Z")
        assert refused_when_opened(process.pid) == "zombie"
    source = """
    #include <pthread.h>
    static void *other(void *unused) { ready(); wait_for_end(); return 0; }
    int main(void) { pthread_t t; pthread_create(&t, 0, other, 0); pthread_exit(0); }
    """
    with running([compile_program(tmp_path, "leaderless", source, "-pthread")]) as process:
        assert process.line() == "ready"
        wait_until(lambda: procfs.read_stat(process.pid).state == "Z")
        assert refused_when_opened(process.pid) == "leader-exited"


def test_a_32_bit_program(tmp_path: Path) -> None:
    with running([write_tiny_elf32(tmp_path / "tiny")]) as process:
        assert process.line() == "ready"
        assert target_facts.program_class(process.pid) == 1
        assert "32-bit" in reasons(process.pid)


def test_no_room_under_the_address_space_limit(waits: Path) -> None:
    with running(["prlimit", "--as=67108864", waits]) as process:
        assert process.line() == "ready"
        settle(process)
        used = procfs.read_status(process.pid).address_space
        assert reasons(process.pid, needed=(64 << 20) - used) == []
        assert reasons(process.pid, needed=(64 << 20) - used + 1) == ["address-space-limit"]


def test_shared_memory_without_being_threads(tmp_path: Path) -> None:
    source = """
    #include <sched.h>
    #include <signal.h>
    static int other(void *unused) { for (;;) pause(); }
    int main(void)
    {
        say(clone(other, (char *)malloc(65536) + 65536, CLONE_VM | SIGCHLD, 0));
        say(fork() ?: (pause(), 0)); ready(); wait_for_end(); kill(0, SIGKILL);
    }
    """
    program = compile_program(tmp_path, "shares", source)
    with running(["setsid", program]) as process:
        sharer, fork = process.numbers_until_ready()
        try:
            spaces = AddressSpaces()
            assert spaces.sharers(process.pid) == (sharer,)
            assert spaces.sharers(sharer) == (process.pid,)
            assert spaces.sharers(fork) == ()
            assert reasons(process.pid) == ["shared-address-space"]
            assert reasons(fork) == []
        finally:
            for pid in (sharer, fork):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def frozen(pid: int) -> Iterator[str]:
    """The process in a group of its own that is frozen, in whichever hierarchy can do that."""
    mounts = sorted(cgroups.own_mounts(), key=lambda mount: mount.version)
    group = Path(mounts[0].point) / f"naht-test-{pid}"
    group.mkdir()
    switch, on, off = (
        (group / "freezer.state", "FROZEN", "THAWED") if mounts[0].version == 1
        else (group / "cgroup.freeze", "1", "0")
    )  # fmt: skip
    home = Path(mounts[0].point) / "cgroup.procs"
    try:
        (group / "cgroup.procs").write_text(str(pid))
        switch.write_text(on)
        yield group.name
    finally:
        switch.write_text(off)
        with suppress(OSError):
            home.write_text(str(pid))
        wait_until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def test_a_frozen_group(waits: Path) -> None:
    with running([waits]) as process:
        assert process.line() == "ready"
        settle(process)
        assert target_facts.frozen_group(process.pid) == ""
        with frozen(process.pid) as name:
            assert target_facts.frozen_group(process.pid).endswith(name)
            assert "frozen" in reasons(process.pid)
        assert reasons(process.pid) == []


SECCOMP = """
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#define WORD(field) {0x20, 0, 0, offsetof(struct seccomp_data, field)}
#define ALLOW {0x06, 0, 0, SECCOMP_RET_ALLOW}
#define DENY {0x06, 0, 0, SECCOMP_RET_ERRNO | EPERM}
static void filter(struct sock_filter *code, unsigned short count)
{
    struct sock_fprog program = {count, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) _exit(1);
}
#define FILTER(...) do { struct sock_filter code[] = {__VA_ARGS__}; \\
    filter(code, sizeof code / sizeof *code); } while (0)
static void *sandboxed(void *unused)
{
    FILTER(WORD(nr), {0x15, 0, 1, SYS_mmap}, DENY, ALLOW);
    say(syscall(SYS_gettid)); for (;;) pause();
}
int main(int argc, char **argv)
{
    pthread_t thread;
    switch (atoi(argv[1])) {
    case 0: FILTER(WORD(nr), {0x15, 0, 1, SYS_mmap}, DENY, ALLOW); break;
    case 1: FILTER(WORD(nr), {0x15, 0, 1, SYS_rt_sigreturn}, DENY, ALLOW); break;
    case 2: FILTER(WORD(nr), {0x15, 0, 1, SYS_munmap}, DENY, ALLOW); break;
    case 3: FILTER(WORD(nr), {0x15, 0, 3, SYS_mmap}, WORD(args[2]), {0x45, 0, 1, PROT_EXEC},
            DENY, ALLOW); break;
    case 4: FILTER(WORD(nr), {0x15, 0, 3, SYS_mmap}, WORD(args[2]), {0x15, 0, 1, 7}, DENY, ALLOW);
            break;
    case 5: FILTER(WORD(nr), {0x15, 0, 1, SYS_mprotect}, DENY, ALLOW); FILTER(ALLOW); break;
    case 6: FILTER(WORD(nr), {0x15, 0, 1, SYS_ptrace}, DENY, ALLOW);
            FILTER(WORD(nr), {0x15, 0, 1, SYS_munmap}, DENY, ALLOW); break;
    case 7: ready(); prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT); wait_for_end(); break;
    case 8: pthread_create(&thread, 0, sandboxed, 0); usleep(20000); break;
    }
    ready(); wait_for_end(); return 0;
}
"""


@pytest.fixture(scope="module")
def sandboxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("seccomp"), "sandbox", SECCOMP, "-pthread")


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (0, ["seccomp-filter"]),  # mmap denied
        (1, ["seccomp-filter"]),  # rt_sigreturn denied
        (2, ["seccomp-filter"]),  # munmap denied
        (3, ["seccomp-filter"]),  # executable memory denied
        (4, []),  # only memory that is writable and executable denied, as systemd does
        (5, []),  # two filters that don't matter
        (6, ["seccomp-filter"]),  # the older of two filters denies
        (7, ["seccomp-strict"]),
        (8, []),  # only another thread is in a sandbox
    ],
)
def test_seccomp(sandboxes: Path, case: int, expected: list[str]) -> None:
    with running([sandboxes, str(case)]) as process:
        threads = process.numbers_until_ready()
        wait_until(lambda: case != 7 or procfs.read_status(process.pid).seccomp_mode == 1)
        settle(process)
        assert reasons(process.pid) == expected
        assert procfs.read_status(process.pid).tracer == 0
        for thread in threads:
            assert not judge_thread(process.pid, thread).allows
            assert judge_thread(process.pid, process.pid).allows


def test_the_judgement_is_what_the_kernel_does(sandboxes: Path, tmp_path: Path) -> None:
    """The calls that we ask for, made by a process under each filter: denied where we say so."""
    calls = """
    #define TRY(flags, protection) (mmap((void *)0x7000000000, 4096, protection, 0x22 | (flags), \\
        -1, 0) == MAP_FAILED && errno == EPERM)
    """
    tries = "".join(
        f"say(TRY({place:#x}, {protection}));"
        for protection in (1, 2, 3, 5)
        for place in (0x10, 0x100000, 0x104000)
    )
    source = SECCOMP.replace("int main(", calls + "int main(").replace(
        "    ready(); wait_for_end(); return 0;\n}\n",
        "    " + tries + "say(syscall(SYS_munmap, 0x7000000000, 4096) && errno == EPERM);"
        "    ready(); wait_for_end(); return 0;\n}\n",
    )
    program = compile_program(tmp_path, "tries", source, "-pthread")
    for case in (0, 2, 3, 4, 5, 6):
        with running([program, str(case)]) as process:
            denied = process.numbers_until_ready()
            settle(process)
            said = {d.request for d in judge_thread(process.pid, process.pid).denials}
            judged = [request in said for request in REQUESTS[:13]]
            assert judged == [bool(d) for d in denied], case


def test_signs_of_hidden_stacks(tmp_path: Path) -> None:
    context = """
    #include <ucontext.h>
    int main(void)
    {
        ucontext_t context;
        if (getenv("NEVER")) makecontext(&context, 0, 0);
        ready(); wait_for_end(); return 0;
    }
    """
    uses = compile_program(tmp_path, "contexts", context)
    boost = compile_library(tmp_path, "libboost_context.so", "void jump_fcontext(void) { }")
    go = compile_program(
        tmp_path, "go",
        '__asm__(".pushsection .note.go.buildid,\\"a\\",@note; .align 4; .long 4, 4, 4;'
        '.asciz \\"Go\\"; .byte 0; .asciz \\"abc\\"; .popsection");' + WAITS,
    )  # fmt: skip
    links = compile_program(
        tmp_path, "links", WAITS, "-Wl,--no-as-needed", str(boost), f"-Wl,-rpath,{tmp_path}"
    )
    for program in (uses, go, links):
        with running([program]) as process:
            assert process.line() == "ready"
            settle(process)
            assert reasons(process.pid) == ["hidden-stacks"], program.name
            assert reasons(process.pid, quiescent=False) == []


def test_libcrypto_alone_is_no_sign_of_hidden_stacks(tmp_path: Path) -> None:
    """It uses contexts for ASYNC jobs, which wait only where somebody calls ASYNC_pause_job."""
    crypto = compile_library(
        tmp_path, "libcrypto.so.3",
        "#include <ucontext.h>\nvoid ASYNC_pause_job(void) { }"
        "void job(ucontext_t *c) { makecontext(c, 0, 0); }",
    )  # fmt: skip
    pauses = compile_library(
        tmp_path, "libengine.so", "void ASYNC_pause_job(void); void w(void) { ASYNC_pause_job(); }",
        str(crypto), f"-Wl,-rpath,{tmp_path}",
    )  # fmt: skip
    for name, libraries, expected in (
        ("serves", [crypto], []), ("accelerates", [crypto, pauses], ["hidden-stacks"]),
    ):  # fmt: skip
        program = compile_program(
            tmp_path, name, WAITS, "-Wl,--no-as-needed", *map(str, libraries),
            f"-Wl,-rpath,{tmp_path}",
        )  # fmt: skip
        with running([program]) as process:
            assert process.line() == "ready"
            settle(process)
            assert reasons(process.pid) == expected, name


def test_a_user_who_may_not(waits: Path) -> None:
    """Read by nobody, a root process is refused, with what would allow it."""
    with running([waits]) as process:
        assert process.line() == "ready"
        child = os.fork()
        if child == 0:
            os.setgid(65534)
            os.setuid(65534)
            try:
                TargetMemory(process.pid)
            except TargetRefusedError as error:
                os._exit(7 if error.reason == "no-permission" and "root" in error.next_step else 8)
            os._exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
