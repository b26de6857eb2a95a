"""The evaluator of seccomp filters against the kernel itself, on programs that chance makes."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from naht.errors import HostileInputError
from naht.live.native.seccomp import (
    ACTION_MASK,
    RET_ALLOW,
    RET_ERRNO,
    RET_LOG,
    RET_TRACE,
    RET_USER_NOTIF,
    Request,
    possible_results,
)
from tests.builders.live_programs import Program, compile_program, running

pytestmark = [pytest.mark.live, pytest.mark.compiler]

# For each filter on its input, a child makes one call that does not exist and leaves its errno in
# shared memory; a child that the filter kills leaves nothing. 4096: not taken, 4097: killed.
TRIES = """
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
static volatile int *result;
static void child(struct sock_fprog *program)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program)) { *result = 4096; for (;;) pause(); }
    errno = 0;
    syscall(NUMBER, 0x11, 0x2200000000, 0x33, 0x4400000000000000, 0x55, 0x66);
    *result = errno;
    for (;;) ;
}
int main(void)
{
    struct sock_filter code[4096]; unsigned short count;
    result = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ready();
    while (read(0, &count, 2) == 2) {
        read(0, code, count * sizeof *code);
        struct sock_fprog program = {count, code};
        *result = -1;
        pid_t pid = fork();
        if (!pid) child(&program);
        while (*result == -1 && !waitpid(pid, 0, WNOHANG)) usleep(200);
        kill(pid, SIGKILL); waitpid(pid, 0, 0);
        say(*result == -1 ? 4097 : *result);
    }
    return 0;
}
"""
NUMBER = 999
NOT_TAKEN, KILLED, ENOSYS = 4096, 4097, 38
ARGUMENTS = (0x11, 0x2200000000, 0x33, 0x4400000000000000, 0x55, 0x66)
CODES = [
    0x20, 0x80, 0x81, 0x00, 0x01, 0x60, 0x61, 0x02, 0x03, 0x07, 0x87, 0x06, 0x16, 0x05, 0x84,
    0x04, 0x0C, 0x14, 0x1C, 0x24, 0x2C, 0x34, 0x3C, 0x44, 0x4C, 0x54, 0x5C, 0x64, 0x6C, 0x74,
    0x7C, 0xA4, 0xAC, 0x15, 0x1D, 0x25, 0x2D, 0x35, 0x3D, 0x45, 0x4D,
]  # fmt: skip
LOADS = st.tuples(
    st.just(0x20), st.just(0), st.just(0), st.sampled_from([*range(0, 64, 4), 0, 16, 20, 28, 44])
)
OTHERS = st.tuples(
    st.sampled_from(CODES), st.integers(0, 3), st.integers(0, 3),
    st.one_of(st.integers(0, 15), st.sampled_from([0x11, 0x22, 0x33, 0x44000000, NUMBER]),
              st.integers(0, 0xFFFFFFFF)),
)  # fmt: skip
ENDINGS = [
    (0x06, 0, 0, RET_ERRNO | 7), (0x06, 0, 0, RET_ALLOW), (0x54, 0, 0, 0xFFF),
    (0x44, 0, 0, RET_ERRNO), (0x16, 0, 0, 0), (0x06, 0, 0, 0),
]  # fmt: skip


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("tries")
    return compile_program(where, "tries", TRIES, f"-DNUMBER={NUMBER}")


def ask(process: Program, raw: bytes) -> int:
    assert process.process.stdin
    process.process.stdin.write(struct.pack("<H", len(raw) // 8) + raw)
    process.process.stdin.flush()
    return process.number()


def effect(result: int) -> int:
    action = result & ACTION_MASK
    if action in (RET_ALLOW, RET_LOG, RET_TRACE, RET_USER_NOTIF):
        return ENOSYS  # nobody traces or supervises: these fail like the call itself
    return min(result & 0xFFFF, 4095) if action == RET_ERRNO else KILLED


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs=st.lists(st.lists(st.one_of(LOADS, OTHERS), max_size=16), min_size=8, max_size=8))
def test_the_kernel_does_what_we_say_it_may(
    kernel: Path, programs: list[list[tuple[int, int, int, int]]]
) -> None:
    words = Request("", NUMBER, ARGUMENTS).words
    with running([kernel]) as process:
        assert process.line() == "ready"
        for body in programs:
            raw = b"".join(struct.pack("<HBBI", *row) for row in [*body, *ENDINGS])
            happened = ask(process, raw)
            if happened == NOT_TAKEN:
                continue
            try:
                possible = possible_results(raw, words)
            except HostileInputError:
                continue  # refused, which is always safe
            assert None in possible or happened in {effect(r) for r in possible if r is not None}


def test_known_programs_have_their_known_effects(kernel: Path) -> None:
    """So that the comparison above compares something."""
    with running([kernel]) as process:
        assert process.line() == "ready"
        for result in (RET_ALLOW, RET_ERRNO | 5, 0, RET_TRACE, 0x00030000, 0x80000000, 0x12340000):
            raw = struct.pack("<HBBI", 0x06, 0, 0, result)
            assert ask(process, raw) == effect(result), hex(result)
        assert ask(process, struct.pack("<HBBI", 0x30, 0, 0, 0)) == NOT_TAKEN
        third = [(0x20, 0, 0, 32), (0x44, 0, 0, RET_ERRNO), (0x16, 0, 0, 0)]
        assert ask(process, b"".join(struct.pack("<HBBI", *row) for row in third)) == 0x33
