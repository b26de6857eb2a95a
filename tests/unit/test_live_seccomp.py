"""Seccomp filters: the evaluator against programs whose meaning is known, and against any bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naht.errors import HostileInputError
from naht.live.native.seccomp import (
    AUDIT_ARCH_X86_64,
    RET_ALLOW,
    RET_ERRNO,
    RET_KILL_PROCESS,
    RET_KILL_THREAD,
    RET_LOG,
    RET_TRACE,
    RET_TRAP,
    RET_USER_NOTIF,
    Request,
    evaluate,
    is_permission,
    judge_filters,
    possible_results,
)

LD, JEQ, JGT, JGE, JSET, JA, RET, RET_A, AND = 0x20, 0x15, 0x25, 0x35, 0x45, 0x05, 0x06, 0x16, 0x54
MMAP = Request("mmap", 9, (None, None, 5, 0x22, (1 << 64) - 1, 0))
SIGRETURN = Request("rt_sigreturn", 15)


def program(*instructions: tuple[int, int, int, int]) -> bytes:
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in instructions)


ALLOW_ALL = program((RET, 0, 0, RET_ALLOW))
# What libseccomp makes of "allow all but mmap with PROT_EXEC": architecture, x32, number, argument.
NO_EXECUTABLE_MEMORY = program(
    (LD, 0, 0, 4), (JEQ, 0, 7, AUDIT_ARCH_X86_64),
    (LD, 0, 0, 0), (JGE, 5, 0, 0x40000000),
    (JEQ, 0, 3, 9),
    (LD, 0, 0, 32), (JSET, 0, 1, 4), (RET, 0, 0, RET_ERRNO | 1),
    (RET, 0, 0, RET_ALLOW), (RET, 0, 0, RET_KILL_THREAD),
)  # fmt: skip


def words(number: int, *arguments: int) -> tuple[int, ...]:
    return tuple(w or 0 for w in Request("", number, (*arguments, *(0,) * 6)[:6]).words)


def test_a_filter_on_an_argument() -> None:
    assert evaluate(NO_EXECUTABLE_MEMORY, words(9, 0, 4096, 5)) == RET_ERRNO | 1
    assert evaluate(NO_EXECUTABLE_MEMORY, words(9, 0, 4096, 3)) == RET_ALLOW
    assert evaluate(NO_EXECUTABLE_MEMORY, words(15)) == RET_ALLOW
    assert evaluate(NO_EXECUTABLE_MEMORY, words(9 | 0x40000000)) == RET_KILL_THREAD


def test_requests_are_judged_for_every_address() -> None:
    readable = Request("mmap", 9, (None, None, 1, 0x22, (1 << 64) - 1, 0))
    assert judge_filters([NO_EXECUTABLE_MEMORY], [readable, SIGRETURN]) == []
    (denial,) = judge_filters([NO_EXECUTABLE_MEMORY], [MMAP])
    assert denial.description == "mmap: return an error"


def test_a_filter_that_looks_at_the_address_is_not_surely_allowing() -> None:
    only_one_place = program(
        (LD, 0, 0, 16), (JEQ, 0, 1, 0x1000), (RET, 0, 0, RET_ALLOW), (RET, 0, 0, RET_TRAP)
    )
    assert possible_results(only_one_place, MMAP.words) == {RET_ALLOW, RET_TRAP}
    assert judge_filters([only_one_place], [MMAP])
    assert evaluate(only_one_place, words(9, 0x1000)) == RET_ALLOW


def test_a_mask_that_leaves_nothing_decides() -> None:
    harmless = program(
        (LD, 0, 0, 16), (AND, 0, 0, 0), (JEQ, 0, 1, 0),
        (RET, 0, 0, RET_ALLOW), (RET, 0, 0, RET_KILL_PROCESS),
    )  # fmt: skip
    assert judge_filters([harmless], [MMAP]) == []


def test_every_filter_must_allow() -> None:
    assert judge_filters([ALLOW_ALL, ALLOW_ALL], [MMAP]) == []
    assert judge_filters([ALLOW_ALL, NO_EXECUTABLE_MEMORY], [MMAP])
    assert judge_filters([NO_EXECUTABLE_MEMORY, ALLOW_ALL], [MMAP])


@pytest.mark.parametrize(
    ("action", "allowed"),
    [
        (RET_ALLOW, True), (RET_LOG, True), (RET_LOG | 5, True),
        (RET_KILL_PROCESS, False), (RET_KILL_THREAD, False), (RET_TRAP, False),
        (RET_ERRNO | 13, False), (RET_TRACE, False), (RET_USER_NOTIF, False),
        (0x12340000, False),
    ],
)  # fmt: skip
def test_actions(action: int, allowed: bool) -> None:
    assert is_permission(action) is allowed
    assert (judge_filters([program((RET, 0, 0, action))], [MMAP]) == []) is allowed


def test_a_returned_unknown_is_no_permission() -> None:
    returns_address = program((LD, 0, 0, 16), (RET_A, 0, 0, 0))
    (denial,) = judge_filters([returns_address], [MMAP])
    assert denial.action is None
    assert "not known" in denial.description


def test_arithmetic_and_memory() -> None:
    computed = program(
        (0x00, 0, 0, 6), (0x02, 0, 0, 3), (0x01, 0, 0, 7), (0x2C, 0, 0, 0),  # A=6 M[3]=A X=7 A*=X
        (0x61, 0, 0, 3), (0x0C, 0, 0, 0), (0x07, 0, 0, 0),  # X=M[3]; A+=X; X=A
        (0x64, 0, 0, 4), (0x84, 0, 0, 0), (0x1C, 0, 0, 0), (RET_A, 0, 0, 0),  # A<<=4; A=-A; A-=X
    )  # fmt: skip
    assert evaluate(computed, words(0)) == (-(48 << 4) - 48) & 0xFFFFFFFF
    assert evaluate(program((0x80, 0, 0, 0), (RET_A, 0, 0, 0)), words(0)) == 64  # A = the length


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x06\0\0\0",
        program((RET, 0, 0, RET_ALLOW)) * 4097,
        program((LD, 0, 0, 0)),  # no return
        program((JA, 0, 0, 99), (RET, 0, 0, RET_ALLOW)),  # jumps out
        program((LD, 0, 0, 64), (RET, 0, 0, RET_ALLOW)),  # reads behind the data
        program((LD, 0, 0, 2), (RET, 0, 0, RET_ALLOW)),  # not aligned
        program((0x60, 0, 0, 16), (RET, 0, 0, RET_ALLOW)),  # no such memory word
        program((0x30, 0, 0, 0), (RET, 0, 0, RET_ALLOW)),  # a byte load: not in seccomp
        program((0x94, 0, 0, 2), (RET, 0, 0, RET_ALLOW)),  # modulo: not in seccomp
        program((0x65, 0, 0, 2), (RET, 0, 0, RET_ALLOW)),  # no such jump
        program((0x3C, 0, 0, 0), (RET, 0, 0, RET_ALLOW)),  # divides by X, which is zero
    ],
)
def test_what_the_kernel_would_not_have_taken_is_refused(raw: bytes) -> None:
    with pytest.raises(HostileInputError):
        possible_results(raw, MMAP.words)


def test_a_maze_of_unknown_branches_ends() -> None:
    """Every branch depends on an unknown word and leaves its mark in memory: 2 to the 16 states."""
    maze = []
    for slot in range(16):
        maze += [(LD, 0, 0, 16), (JSET, 0, 2, 1 << slot), (0x00, 0, 0, 1), (0x02, 0, 0, slot)]
    with pytest.raises(HostileInputError, match="too many ways"):
        possible_results(program(*maze, (RET, 0, 0, RET_ALLOW)), MMAP.words)


KNOWN_CODES = [
    0x20, 0x80, 0x81, 0x00, 0x01, 0x60, 0x61, 0x02, 0x03, 0x07, 0x87, 0x06, 0x16, 0x05, 0x84,
    0x04, 0x0C, 0x14, 0x1C, 0x24, 0x2C, 0x34, 0x44, 0x4C, 0x54, 0x5C, 0x64, 0x6C, 0x74, 0x7C,
    0xA4, 0xAC, 0x15, 0x1D, 0x25, 0x2D, 0x35, 0x3D, 0x45, 0x4D,
]  # fmt: skip
VALUES = st.one_of(st.integers(0, 15), st.sampled_from([16, 20, 24, 28, 32, 60, 0x7FFF0000]),
                   st.integers(0, 0xFFFFFFFF))  # fmt: skip
INSTRUCTIONS = st.tuples(st.sampled_from(KNOWN_CODES), st.integers(0, 4), st.integers(0, 4), VALUES)
PROGRAMS = st.lists(INSTRUCTIONS, max_size=24).map(
    lambda body: program(*body, *[(RET, 0, 0, RET_ALLOW), (RET_A, 0, 0, 0)] * 3)
)
WORDS = st.lists(st.integers(0, 0xFFFFFFFF), min_size=16, max_size=16)


@given(PROGRAMS, WORDS, st.integers(0, 0xFFFF))
def test_what_may_happen_covers_what_does(raw: bytes, known: list[int], hidden: int) -> None:
    """Whatever is hidden from it, the evaluator's answer holds for the call as it is."""
    partly = [None if hidden >> i & 1 else word for i, word in enumerate(known)]
    try:
        concrete = evaluate(raw, known)
    except HostileInputError:
        return
    try:
        possible = possible_results(raw, partly)
    except HostileInputError:
        return  # refusing is always sound
    assert concrete in possible or None in possible


@given(st.binary(max_size=8 * 64))
def test_any_bytes_end_in_an_answer_or_a_refusal(raw: bytes) -> None:
    try:
        results = possible_results(raw, SIGRETURN.words)
    except HostileInputError:
        return
    assert results
    assert all(r is None or 0 <= r <= 0xFFFFFFFF for r in results)
