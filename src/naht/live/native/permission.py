"""Why a process may not be read or traced, and what would allow it.

Owns the explanation only: the kernel has already refused. Follows the order of the kernel's own
checks (kernel/ptrace.c, __ptrace_may_access; security/yama). Reads nothing but /proc.
"""

from __future__ import annotations

import os

CAP_SYS_PTRACE = 19
_YAMA = "/proc/sys/kernel/yama/ptrace_scope"


def explain(pid: int) -> tuple[str, str]:
    """The cause, and the next step."""
    subject = f"Process {pid} may not be read by this user"
    scope = _read(_YAMA)
    if scope == "3":
        return (
            f"{subject}: kernel.yama.ptrace_scope is 3, which forbids tracing until a reboot.",
            "Boot with kernel.yama.ptrace_scope at 2 or less.",
        )
    if not _has_capability():
        return _explain_unprivileged(pid, subject, scope)
    return (
        f"{subject}, although it has CAP_SYS_PTRACE here: the process belongs to a user namespace "
        "above, has capabilities that this user lacks, or a security module protects it.",
        "Run naht as root of the host, outside any container.",
    )


def _explain_unprivileged(pid: int, subject: str, scope: str) -> tuple[str, str]:
    if _owner(pid) != os.geteuid():
        why = "it belongs to another user, or the kernel protects it as not dumpable"
    elif scope in ("1", "2"):
        why = f"kernel.yama.ptrace_scope is {scope}"
    else:
        why = "it has other groups or capabilities"
    return (f"{subject}: {why}.", "Run naht as root, or give it CAP_SYS_PTRACE.")


def _has_capability() -> bool:
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_SYS_PTRACE & 1)
    return False


def _owner(pid: int) -> int:
    """The owner of /proc/PID: root's for a process that is not dumpable (proc(5))."""
    try:
        return os.stat(f"/proc/{pid}").st_uid  # noqa: PTH116
    except OSError:
        return -1


def _read(path: str) -> str:
    try:
        with open(path, "rb") as stream:  # noqa: PTH123
            return stream.read(65536).decode("utf-8", "replace").strip()
    except OSError:
        return ""
