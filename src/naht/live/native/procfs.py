"""What /proc says about a process: mappings, status, threads, the system call it waits in.

Owns the parsing of those texts into frozen facts, and the translation of "no such process" and
"not permitted" into naht's errors. Works across pid and mount namespaces, because it only ever
follows /proc/PID of the reader's own /proc. It decides nothing and never reads target memory.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence

import msgspec

from naht.domain.process import ProcessKey
from naht.errors import HostileInputError, TargetGoneError, TargetRefusedError, ToolError
from naht.live.native import permission

MAX_TEXT = 256 << 20  # a million mappings; vm.max_map_count is 65530 unless raised
MAX_COMMAND = 4096


class Mapping(msgspec.Struct, frozen=True):
    start: int
    end: int
    permissions: str  # such as "r-xp"
    offset: int
    device: str
    inode: int
    path: str  # "" for anonymous memory; "[stack]", "[vdso]"… for the kernel's own

    @property
    def size(self) -> int:
        return self.end - self.start

    @property
    def executable(self) -> bool:
        return self.permissions[2] == "x"

    @property
    def anonymous(self) -> bool:
        return self.inode == 0 and not self.path

    def __contains__(self, address: int) -> bool:
        return self.start <= address < self.end


class Stat(msgspec.Struct, frozen=True):
    """A part of /proc/PID/stat. The layout fields are constants of one address space."""

    command: str
    state: str  # R, S, D, T, t, Z, X, I
    parent: int
    flags: int
    threads: int
    start_time: int
    start_code: int
    start_stack: int

    @property
    def kernel_thread(self) -> bool:
        return bool(self.flags & 0x00200000)  # PF_KTHREAD, linux/sched.h


class Status(msgspec.Struct, frozen=True):
    """A part of /proc/PID/status."""

    name: str
    state: str
    group: int  # thread group id: the PID
    tracer: int
    user: int  # real uid, in the reader's user namespace
    namespace_pids: tuple[int, ...]  # the outermost first
    threads: int
    address_space: int  # bytes mapped; 0 for kernel threads and zombies
    seccomp_mode: int  # 0 none, 1 strict, 2 filter
    seccomp_filters: int  # how many; 0 also on kernels before 5.9, which don't say
    thread_features: frozenset[str]  # "shstk": a hardware shadow stack is on
    blocked_signals: int = 0  # bit n for signal n + 1


class BlockedCall(msgspec.Struct, frozen=True):
    """A thread that waits in the kernel. `number` is -1 outside of any system call."""

    number: int
    arguments: tuple[int, ...]
    stack_pointer: int
    program_counter: int


def list_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208  (speed)


def list_threads(pid: int) -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208
    except OSError as error:
        raise as_target_error(pid, error) from error


def read_key(pid: int) -> ProcessKey:
    return ProcessKey(pid, read_stat(pid).start_time)


def check_key(key: ProcessKey) -> None:
    """Raises TargetGoneError when the PID now belongs to another process."""
    if read_stat(key.pid).start_time != key.start_time:
        raise gone(key.pid)


def read_stat(pid: int, thread: int = 0) -> Stat:
    return parse_stat(read_text(pid, f"task/{thread}/stat" if thread else "stat"))


def parse_stat(text: bytes) -> Stat:
    # The command may itself hold spaces and parentheses; the last ")" ends it (proc(5)).
    opening, closing = text.find(b"("), text.rfind(b")")
    fields = text[closing + 1 :].split()
    try:
        return Stat(
            command=printable(text[opening + 1 : closing]),
            state=fields[0].decode("ascii"),
            parent=int(fields[1]),
            flags=int(fields[6]),
            threads=int(fields[17]),
            start_time=int(fields[19]),
            start_code=int(fields[23]),
            start_stack=int(fields[25]),
        )
    except (IndexError, ValueError) as error:
        raise unparsable("stat") from error


def read_status(pid: int, thread: int = 0) -> Status:
    return parse_status(read_text(pid, f"task/{thread}/status" if thread else "status"))


def parse_status(text: bytes) -> Status:
    rows = dict(line.partition(b":\t")[::2] for line in text.splitlines())
    try:
        return Status(
            name=printable(rows[b"Name"]),
            state=rows[b"State"][:1].decode("ascii"),
            group=int(rows[b"Tgid"]),
            tracer=int(rows[b"TracerPid"]),
            user=int(rows[b"Uid"].split()[0]),
            namespace_pids=tuple(int(n) for n in rows.get(b"NSpid", b"").split()),
            threads=int(rows.get(b"Threads", b"0")),
            address_space=int(rows.get(b"VmSize", b"0 kB").split()[0]) << 10,
            seccomp_mode=int(rows.get(b"Seccomp", b"0")),
            seccomp_filters=int(rows.get(b"Seccomp_filters", b"0")),
            thread_features=frozenset(
                rows.get(b"x86_Thread_features", b"").decode("ascii", "replace").split()
            ),
            blocked_signals=int(rows.get(b"SigBlk", b"0"), 16),
        )
    except (KeyError, IndexError, ValueError) as error:
        raise unparsable("status") from error


def read_maps(pid: int) -> tuple[Mapping, ...]:
    """Every mapping, by address. Empty for a kernel thread and a zombie."""
    return parse_maps(read_text(pid, "maps"))


def parse_maps(text: bytes) -> tuple[Mapping, ...]:
    try:
        return tuple(parse_mapping(line) for line in text.split(b"\n") if line)
    except (IndexError, ValueError) as error:
        raise unparsable("maps") from error


def parse_mapping(line: bytes) -> Mapping:
    fields = line.split(None, 5)
    start, _, end = fields[0].partition(b"-")
    permissions = fields[1].decode("ascii")
    if len(permissions) != 4:
        raise ValueError(permissions)
    return Mapping(
        start=int(start, 16),
        end=int(end, 16),
        permissions=permissions,
        offset=int(fields[2], 16),
        device=fields[3].decode("ascii"),
        inode=int(fields[4]),
        # Not rstrip(): a file name may end in blanks. An anonymous line ends in one blank.
        path=fields[5].decode("utf-8", "surrogateescape") if len(fields) > 5 else "",
    )


def mapping_at(maps: Sequence[Mapping], address: int) -> Mapping | None:
    """The mapping that holds `address`. `maps` is in address order, as the kernel gives it."""
    index = bisect_right(maps, address, key=lambda mapping: mapping.start) - 1
    return maps[index] if index >= 0 and address in maps[index] else None


def read_blocked_call(pid: int, thread: int) -> BlockedCall | None:
    """Where the thread waits in the kernel; None while it runs."""
    return parse_syscall(read_text(pid, f"task/{thread}/syscall"))


def parse_syscall(text: bytes) -> BlockedCall | None:
    if text.strip() == b"running":
        return None
    fields = text.split()
    try:
        values = [int(field, 16) for field in fields[1:]]
        arguments, pointers = values[:-2], values[-2:]
        return BlockedCall(int(fields[0]), tuple(arguments), pointers[0], pointers[1])
    except (IndexError, ValueError) as error:
        raise unparsable("syscall") from error


def read_command(pid: int) -> str:
    """The command line for people, else the name in brackets, as ps(1) shows it."""
    words = read_text(pid, "cmdline", MAX_COMMAND).rstrip(b"\0").replace(b"\0", b" ")
    return printable(words) if words else f"[{read_stat(pid).command}]"


def mount_namespace(pid: int) -> str:
    """An identity that two processes share when they see the same mounts."""
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")  # noqa: PTH115
    except OSError as error:
        raise as_target_error(pid, error) from error


def read_text(pid: int, name: str, limit: int = MAX_TEXT) -> bytes:
    """A whole file of /proc/PID, or its first `limit` bytes when the caller sets a limit."""
    try:
        descriptor = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _read_all(descriptor, limit)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise as_target_error(pid, error) from error


def _read_all(descriptor: int, limit: int) -> bytes:
    chunks = []
    size = 0
    # seq_file hands out about a page per read, whatever the size asked for.
    while chunk := os.read(descriptor, min(65536, limit - size)):
        chunks.append(chunk)
        size += len(chunk)
    if size >= MAX_TEXT:
        raise HostileInputError(
            "The process has more than 256 MiB of /proc text.", "Look at its mappings by hand."
        )
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def printable(raw: bytes) -> str:
    """Text that is safe on a terminal: a process chooses its own name and arguments."""
    text = raw.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def gone(pid: int) -> TargetGoneError:
    return TargetGoneError(
        f"Process {pid} exited or started another program meanwhile.",
        "Nothing to do for it; run the command again to see what runs now.",
    )


def as_target_error(pid: int, error: OSError) -> TargetGoneError | TargetRefusedError | ToolError:
    """The meaning of an OSError from /proc/PID."""
    if isinstance(error, FileNotFoundError | ProcessLookupError | NotADirectoryError):
        return gone(pid)
    if isinstance(error, PermissionError):
        return TargetRefusedError("no-permission", *permission.explain(pid))
    return ToolError(
        f"/proc/{pid} could not be read: {error.strerror}.", "Look at that process by hand."
    )


def unparsable(name: str) -> HostileInputError:
    return HostileInputError(
        f"/proc/PID/{name} is not in the kernel's format.",
        "Check that /proc is a real procfs and report this kernel's version.",
    )
