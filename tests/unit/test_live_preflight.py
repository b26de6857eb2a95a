"""Each reason against changing a process, by its rule; and that a plain process has none."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from naht.live.native.preflight import TargetFacts, check, find_refusals, seccomp_refusal
from naht.live.native.procfs import Stat, Status
from naht.live.native.seccomp import RET_ERRNO, Denial, Judged, Request
from naht.live.native.target_facts import address_space_limit

STAT = Stat("nginx", "S", 1, 0x400100, 2, 99, 0x5500_0000_0000, 0x7FFD_0000_0000)
STATUS = Status("nginx", "S", 42, 0, 33, (42,), 2, 100 << 20, 0, 0, frozenset())
PLAIN = TargetFacts(
    pid=42, stat=STAT, status=STATUS, tracer="", elf_class=2, shadow_stack=False,
    frozen_group="", address_space_limit=None, forced_access=True,
    threads=(Judged(42, 0), Judged(43, 0)), sharers=(), hidden_stacks=(),
)  # fmt: skip
DENIAL = Denial(Request("mmap of r-x", 9), RET_ERRNO | 1)


def reasons(facts: TargetFacts, *, quiescent: bool = True) -> list[str]:
    return [r.reason for r in find_refusals(facts, needed_bytes=1 << 20, quiescent=quiescent)]


def test_a_plain_process_may_be_changed() -> None:
    assert reasons(PLAIN) == []
    check(PLAIN, needed_bytes=1 << 20, quiescent=True)


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("kernel-thread", {"stat": replace(STAT, flags=0x00200040)}),
        ("zombie", {"stat": replace(STAT, state="Z", threads=1)}),
        ("leader-exited", {"stat": replace(STAT, state="Z", threads=3)}),
        ("traced", {"status": replace(STATUS, tracer=7), "tracer": "gdb"}),
        ("32-bit", {"elf_class": 1}),
        ("shadow-stack", {"shadow_stack": True}),
        ("frozen", {"frozen_group": "/system.slice/x.service"}),
        ("address-space-limit", {"address_space_limit": (100 << 20) + (1 << 20) - 1}),
        ("proc-mem-restricted", {"forced_access": False}),
        ("seccomp-strict", {"threads": (Judged(42, 1),)}),
        ("seccomp-filter", {"threads": (Judged(42, 2, (DENIAL,)),)}),
        ("seccomp-unknown", {"threads": (Judged(42, 2, (), "Permission denied."),)}),
        ("shared-address-space", {"sharers": (50, 51)}),
        ("hidden-stacks", {"hidden_stacks": ("the program uses makecontext",)}),
    ],
)
def test_reasons(reason: str, changes: dict[str, Any]) -> None:
    (refusal,) = find_refusals(replace(PLAIN, **changes), needed_bytes=1 << 20, quiescent=True)
    assert refusal.reason == reason
    assert refusal.cause.endswith(".")
    assert refusal.next_step


def test_what_the_refusals_name() -> None:
    facts = replace(
        PLAIN, status=replace(STATUS, tracer=7), tracer="gdb", sharers=(50,),
        threads=(Judged(42, 2, (DENIAL, DENIAL)),),
    )  # fmt: skip
    causes = " ".join(r.cause for r in find_refusals(facts, needed_bytes=1, quiescent=True))
    assert "gdb (process 7)" in causes
    assert "process 50" in causes
    assert causes.count("mmap of r-x: return an error") == 1


def test_every_reason_is_told_at_once() -> None:
    facts = replace(PLAIN, status=replace(STATUS, tracer=7), frozen_group="/x", elf_class=1)
    assert reasons(facts) == ["traced", "32-bit", "frozen"]


def test_exactly_enough_address_space() -> None:
    assert reasons(replace(PLAIN, address_space_limit=(100 << 20) + (1 << 20))) == []


def test_hidden_stacks_do_not_matter_where_old_and_new_may_overlap() -> None:
    facts = replace(PLAIN, hidden_stacks=("it holds code of the Go language",))
    assert reasons(facts, quiescent=False) == []


def test_one_thread_that_may_be_borrowed_is_enough() -> None:
    sandboxed = Judged(43, 2, (DENIAL,))
    assert reasons(replace(PLAIN, threads=(sandboxed, Judged(42, 0)))) == []
    assert reasons(replace(PLAIN, threads=(sandboxed, Judged(42, 2)))) == []
    assert seccomp_refusal(42, Judged(42, 2)) is None
    assert seccomp_refusal(42, sandboxed) is not None


def test_no_thread_to_borrow_is_not_judged_here() -> None:
    assert reasons(replace(PLAIN, threads=())) == []


def test_a_process_that_runs_no_code_has_one_reason_only() -> None:
    facts = replace(PLAIN, stat=replace(STAT, state="Z", threads=1), elf_class=1, sharers=(5,))
    assert reasons(facts) == ["zombie"]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (
            b"Max open files 1 2 files\nMax address space         unlimited   unlimited bytes\n",
            None,
        ),
        (b"Max address space         1073741824           unlimited    bytes\n", 1 << 30),
        (b"Max cpu time unlimited\n", None),
    ],
)
def test_limits(limits: bytes, expected: int | None) -> None:
    assert address_space_limit(limits) == expected
