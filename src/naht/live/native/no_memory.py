"""Tasks that have no memory to change: kernel threads, and processes that have ended.

Owns that rule, which is pure. Reading such a task's memory looks to the reader as if it were gone;
this says what it really is.
"""

from __future__ import annotations

from naht.errors import TargetRefusedError
from naht.live.native.procfs import Stat

_ENDED = "ZX"


def no_memory_refusal(pid: int, stat: Stat) -> TargetRefusedError | None:
    if stat.kernel_thread:
        return TargetRefusedError(
            "kernel-thread",
            f"{pid} is a kernel thread.",
            "Kernel code is patched by the kernel's own live patching.",
        )
    if stat.state in _ENDED and stat.threads > 1:
        return TargetRefusedError(
            "leader-exited",
            f"The first thread of process {pid} has exited while others run; "
            "the kernel does not show such a process's memory.",
            "Restart the process with the fixed object on disk.",
        )
    if stat.state in _ENDED:
        return TargetRefusedError(
            "zombie",
            f"Process {pid} has ended and waits for its parent {stat.parent}.",
            "Nothing to do: it runs no code.",
        )
    return None
