"""Whether a process can be changed at all, before anything is touched.

Owns the rules, which are pure: facts in, refusals out, each with a reason code, a cause and a next
step. `target_facts` gathers the facts. Mapping memory is not judged against MemoryDenyWriteExecute:
the engine never asks for memory that is writable and executable, nor changes a mapping to be so.
"""

from __future__ import annotations

import msgspec

from naht.errors import TargetRefusedError
from naht.live.native.no_memory import no_memory_refusal
from naht.live.native.procfs import Stat, Status
from naht.live.native.seccomp import Judged

RESTART = "Restart the process with the fixed object on disk."


class TargetFacts(msgspec.Struct, frozen=True):
    pid: int
    stat: Stat
    status: Status
    tracer: str  # the name of the tracer; "" where there is none or it is not visible
    elf_class: int  # of the program: 1 is 32-bit, 2 is 64-bit, 0 not known
    shadow_stack: bool  # on for any thread that was looked at
    frozen_group: str
    address_space_limit: int | None  # bytes; None: unlimited
    forced_access: bool  # the kernel lets us write through page protection
    threads: tuple[Judged, ...]  # those that could be borrowed
    sharers: tuple[int, ...]  # other processes in the same address space
    hidden_stacks: tuple[str, ...]  # signs of stacks that belong to no thread


def find_refusals(
    facts: TargetFacts, *, needed_bytes: int, quiescent: bool
) -> list[TargetRefusedError]:
    """Every reason against; empty when there is none. `needed_bytes`: memory to be mapped."""
    if refusal := no_memory_refusal(facts.pid, facts.stat):
        return [refusal]  # nothing else that is known of it means anything
    rules = (
        _traced(facts), _kind(facts), _shadow_stack(facts), _frozen(facts),
        _no_room(facts, needed_bytes), _protected(facts), _seccomp(facts), _shared(facts),
        _hidden(facts) if quiescent else None,
    )  # fmt: skip
    return [refusal for refusal in rules if refusal]


def check(facts: TargetFacts, *, needed_bytes: int, quiescent: bool) -> None:
    """Raises the first refusal, if there is one."""
    for refusal in find_refusals(facts, needed_bytes=needed_bytes, quiescent=quiescent):
        raise refusal


def _refuse(reason: str, cause: str, next_step: str = RESTART) -> TargetRefusedError:
    return TargetRefusedError(reason, cause, next_step)


def _traced(facts: TargetFacts) -> TargetRefusedError | None:
    tracer = facts.status.tracer
    if not tracer:
        return None
    who = f"{facts.tracer} (process {tracer})" if facts.tracer else f"process {tracer}"
    return _refuse(
        "traced",
        f"Process {facts.pid} is being traced by {who}.",
        "Detach that debugger or tracer, then run it again.",
    )


def _kind(facts: TargetFacts) -> TargetRefusedError | None:
    if facts.elf_class != 1:
        return None
    return _refuse("32-bit", f"Process {facts.pid} is a 32-bit program; naht patches 64-bit code.")


def _shadow_stack(facts: TargetFacts) -> TargetRefusedError | None:
    if not facts.shadow_stack:
        return None
    return _refuse(
        "shadow-stack",
        f"Process {facts.pid} uses a hardware shadow stack, on which no call can be prepared.",
        "Restart the process with the fixed object on disk, or without glibc's SHSTK tunable.",
    )


def _frozen(facts: TargetFacts) -> TargetRefusedError | None:
    if not facts.frozen_group:
        return None
    return _refuse(
        "frozen",
        f"Process {facts.pid} is frozen with its control group {facts.frozen_group}.",
        "Thaw the group (systemctl thaw UNIT, docker unpause), then run it again.",
    )


def _no_room(facts: TargetFacts, needed: int) -> TargetRefusedError | None:
    limit, used = facts.address_space_limit, facts.status.address_space
    if limit is None or used + needed <= limit:
        return None
    return _refuse(
        "address-space-limit",
        f"Process {facts.pid} has {used} of {limit} bytes of address space (RLIMIT_AS); "
        f"the hotpatch needs {needed} more.",
        f"Raise it: prlimit --pid {facts.pid} --as={used + 2 * needed}",
    )


def _protected(facts: TargetFacts) -> TargetRefusedError | None:
    if facts.forced_access:
        return None
    return _refuse(
        "proc-mem-restricted",
        "This kernel does not let /proc/PID/mem write through page protection.",
        "Boot with proc_mem.force_override=always.",
    )


def _seccomp(facts: TargetFacts) -> TargetRefusedError | None:
    if not facts.threads or any(judged.allows for judged in facts.threads):
        return None
    return seccomp_refusal(facts.pid, facts.threads[0])


def seccomp_refusal(pid: int, judged: Judged) -> TargetRefusedError | None:
    """Why this thread's seccomp state forbids borrowing it; None when it does not."""
    if judged.allows:
        return None
    if judged.mode == 1:
        return _refuse(
            "seccomp-strict",
            f"Thread {judged.thread} of process {pid} is in seccomp strict mode: a system call "
            "made for us would kill it.",
        )
    if judged.unread:
        return _refuse(
            "seccomp-unknown",
            f"The seccomp filters of thread {judged.thread} of process {pid} cannot be judged: "
            f"{judged.unread}",
            "Run naht as root with CAP_SYS_ADMIN, itself outside any seccomp filter.",
        )
    denied = "; ".join(dict.fromkeys(denial.description for denial in judged.denials))
    return _refuse(
        "seccomp-filter",
        f"A seccomp filter of process {pid} stands in the way ({denied}).",
        "Allow mmap, munmap and rt_sigreturn in its filter, or restart the process with the "
        "fixed object on disk.",
    )


def _shared(facts: TargetFacts) -> TargetRefusedError | None:
    if not facts.sharers:
        return None
    others = ", ".join(map(str, facts.sharers[:8]))
    return _refuse(
        "shared-address-space",
        f"Process {facts.pid} shares its memory with process {others}, which would run on "
        "while its code changes.",
        "Try again when that process (a vfork child, mostly) is gone, or restart both.",
    )


def _hidden(facts: TargetFacts) -> TargetRefusedError | None:
    if not facts.hidden_stacks:
        return None
    return _refuse(
        "hidden-stacks",
        f"Process {facts.pid} may keep stacks that belong to no thread: "
        f"{'; '.join(facts.hidden_stacks[:4])}.",
        "Use a hotpatch that allows old and new code side by side (--consistency overlap), or "
        "restart the process with the fixed object on disk.",
    )
