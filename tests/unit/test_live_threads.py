"""Which threads may be borrowed, and in which order: the rule over recorded facts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naht.live.native.procfs import BlockedCall, parse_maps
from naht.live.native.threads import PLAIN_CALLS, STACK_ROOM, ThreadFacts, choose_threads, is_plain

PID = 100
MAPS = parse_maps(
    b"""\
500000000000-500000100000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000001000 ---p 00000000 00:00 0 
7f0000001000-7f0000801000 rw-p 00000000 00:00 0 
7f0000801000-7f0000802000 ---p 00000000 00:00 0 
7f0000802000-7f0001002000 rw-p 00000000 00:00 0 
7f1000000000-7f1000800000 rw-p 00000000 00:00 0 
7f2000000000-7f2000001000 ---p 00000000 00:00 0 
7f2000001000-7f2000801000 rw-p 00000000 08:01 5                          /srv/shared
7f3000000000-7f3000001000 ---p 00000000 00:00 0 
7f3000001000-7f3000801000 rwxp 00000000 00:00 0 
7ffd00000000-7ffd00100000 rw-p 00000000 00:00 0                          [stack]
"""  # noqa: W291
)
MAIN_STACK, FIRST_STACK, SECOND_STACK = 0x7FFD000F0000, 0x7F00007F0000, 0x7F0000FF0000
POLL, FUTEX, READ = 7, 202, 0


def blocked(
    thread: int, number: int, pointer: int, state: str = "S", descriptor: str = ""
) -> ThreadFacts:
    call = BlockedCall(number, (0,) * 6, pointer, 0x40_1000)
    return ThreadFacts(thread, state, call, descriptor)


def running(thread: int) -> ThreadFacts:
    return ThreadFacts(thread, "R", None)


def chosen(*facts: ThreadFacts) -> list[int]:
    return [candidate.thread for candidate in choose_threads(PID, MAPS, facts)]


def test_plain_first_then_blocked_then_running() -> None:
    facts = (
        running(PID),
        blocked(102, FUTEX, FIRST_STACK),
        blocked(101, POLL, SECOND_STACK),
    )
    candidates = choose_threads(PID, MAPS, facts)
    assert [(c.thread, c.plain, c.call) for c in candidates] == [
        (101, True, POLL), (102, False, FUTEX), (PID, False, -1)
    ]  # fmt: skip


def test_the_floor_is_the_start_of_the_threads_own_stack() -> None:
    main, first = choose_threads(
        PID, MAPS, (blocked(101, POLL, FIRST_STACK), blocked(PID, POLL, MAIN_STACK))
    )
    assert (main.thread, main.stack_floor, main.stack_end) == (
        PID, 0x7FFD00000000, 0x7FFD00100000
    )  # fmt: skip
    assert (first.stack_floor, first.stack_end) == (0x7F0000001000, 0x7F0000801000)


@pytest.mark.parametrize(
    ("why", "facts"),
    [
        ("the first thread on another's stack", blocked(PID, POLL, FIRST_STACK)),
        ("the first thread on the heap", blocked(PID, POLL, 0x5000000F0000)),
        ("a thread on the heap", blocked(101, POLL, 0x5000000F0000)),
        ("a thread on the first thread's stack", blocked(101, POLL, MAIN_STACK)),
        ("no guard below", blocked(101, POLL, 0x7F1000700000)),
        ("a shared file as stack", blocked(101, POLL, 0x7F2000700000)),
        ("an executable stack", blocked(101, POLL, 0x7F3000700000)),
        ("no mapping at all", blocked(101, POLL, 0x1000)),
        ("too little room", blocked(101, POLL, 0x7F0000001000 + STACK_ROOM - 8)),
        ("too little room on the first stack", blocked(PID, POLL, 0x7FFD00000000 + 100)),
        ("uninterruptible", blocked(PID, POLL, MAIN_STACK, "D")),
        ("zombie", blocked(PID, POLL, MAIN_STACK, "Z")),
        ("traced", blocked(PID, POLL, MAIN_STACK, "t")),
        ("running, stack not known", running(101)),
    ],
)
def test_not_to_be_borrowed(why: str, facts: ThreadFacts) -> None:
    assert chosen(facts) == [], why


def test_just_enough_room() -> None:
    assert chosen(blocked(101, POLL, 0x7F0000001000 + STACK_ROOM)) == [101]


@pytest.mark.parametrize(
    ("descriptor", "plain"),
    [
        ("pipe:[43074]", True),
        ("socket:[1]", True),
        ("anon_inode:[eventfd]", True),
        ("/dev/pts/3", True),
        ("/usr/lib/x86_64-linux-gnu/libz.so.1", False),  # the loader reading, its lock held
        ("", False),
    ],
)
def test_a_read_is_plain_only_where_no_loader_reads(descriptor: str, plain: bool) -> None:
    assert is_plain(blocked(PID, READ, MAIN_STACK, descriptor=descriptor)) is plain


def test_calls_made_with_locks_held_are_never_plain() -> None:
    futex, mmap, munmap, brk, openat, write = 202, 9, 11, 12, 257, 1
    for number in (futex, mmap, munmap, brk, openat, write, -1):
        assert number not in PLAIN_CALLS
        assert not is_plain(blocked(PID, number, MAIN_STACK))


def test_a_stopped_thread_comes_after_one_that_only_waits() -> None:
    facts = (blocked(PID, POLL, MAIN_STACK, "T"), blocked(101, POLL, FIRST_STACK))
    assert chosen(*facts) == [101, PID]


@given(st.permutations([
    running(PID), blocked(101, POLL, FIRST_STACK), blocked(102, FUTEX, SECOND_STACK),
    blocked(103, POLL, 0x1000),
]))  # fmt: skip
def test_the_order_of_the_facts_does_not_matter(facts: list[ThreadFacts]) -> None:
    assert chosen(*facts) == [101, 102, PID]
