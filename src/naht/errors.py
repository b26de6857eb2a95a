"""Every error that naht raises on purpose, and nothing else.

    NahtError
    ├── UsageError            the command line or its input is wrong            exit 2
    ├── HostileInputError     a file, record or target memory is malformed      exit 3
    ├── RefusedError          cannot be proved safe; nothing was touched        exit 4
    │   ├── BuildRefusedError     … by the builder
    │   ├── TargetRefusedError    … by the engine, for one process
    │   └── UntrustedError        … because nobody who may vouches for it
    ├── BusyError             safe later: a thread is in the way now            exit 5
    ├── TargetGoneError       the process exited or exec'ed meanwhile           exit 6
    ├── ToolError             a compiler, a build command or the kernel failed  exit 7
    └── NothingToDoError      no live process matches                           exit 9

Each error carries a cause and the exact next step.
"""

from __future__ import annotations


class NahtError(Exception):
    """An expected failure: `cause` says what happened, `next_step` what to do about it."""

    exit_code = 1

    def __init__(self, cause: str, next_step: str, *, where: str = "") -> None:
        super().__init__(f"{cause} {next_step}")
        self.cause = cause
        self.next_step = next_step
        self.where = where


class UsageError(NahtError):
    exit_code = 2


class HostileInputError(NahtError):
    exit_code = 3


class RefusedError(NahtError):
    """A refusal has a stable `reason` code, so that tests and reports can name it."""

    exit_code = 4

    def __init__(self, reason: str, cause: str, next_step: str, *, where: str = "") -> None:
        super().__init__(cause, next_step, where=where)
        self.reason = reason


class BuildRefusedError(RefusedError):
    pass


class TargetRefusedError(RefusedError):
    pass


class UntrustedError(RefusedError):
    pass


class BusyError(NahtError):
    exit_code = 5


class TargetGoneError(NahtError):
    exit_code = 6


class ToolError(NahtError):
    exit_code = 7


class NothingToDoError(NahtError):
    exit_code = 9
