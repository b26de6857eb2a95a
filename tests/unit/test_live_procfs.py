"""The texts of /proc: recorded ones are understood, damaged ones are refused."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from naht.errors import HostileInputError, TargetGoneError
from naht.live.native import procfs
from naht.live.native.procfs import Mapping

MAPS = b"""\
5595e0279000-5595e027a000 r--p 00000000 fe:00 26723                      /usr/bin/python3.11
55961eb65000-55961ecf4000 rw-p 00000000 00:00 0                          [heap]
7fac420b3000-7fac421e6000 -w-p 00000000 00:00 0 
7fac4220b000-7fac4220c000 r-xp 1234567000 08:11 9999999999               /srv/a b (deleted)
7ffd3d9d2000-7ffd3d9f3000 rw-p 00000000 00:00 0                          [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
"""  # noqa: W291

STAT = (
    b"4242 (evil) R 1 (x)) S 7 4242 4242 0 -1 4194560 100 0 3 0 5 2 0 0 20 0 9 0 123456 "
    b"99999744 1000 18446744073709551615 94000000000000 94000000001000 140730000000000 0 0 0 "
    b"0 4096 0 0 0 0 17 1 0 0 0 0 0 94000000005000 94000000006000 94000000100000 1 2 3 4 0\n"
)

STATUS = b"""\
Name:\tnginx
Umask:\t0022
State:\tt (tracing stop)
Tgid:\t4242
Pid:\t4250
PPid:\t1
TracerPid:\t77
Uid:\t33\t33\t33\t33
NSpid:\t4242\t12
VmSize:\t   16564 kB
Threads:\t9
Seccomp:\t2
Seccomp_filters:\t3
x86_Thread_features:\tshstk wrss
"""


def test_maps_are_read_with_all_their_oddities() -> None:
    found = procfs.parse_maps(MAPS)
    assert found[0] == Mapping(
        0x5595E0279000, 0x5595E027A000, "r--p", 0, "fe:00", 26723, "/usr/bin/python3.11"
    )
    assert [m.anonymous for m in found] == [False, False, True, False, False, False]
    assert found[2].path == ""
    assert (found[3].path, found[3].offset, found[3].inode) == (
        "/srv/a b (deleted)", 0x1234567000, 9999999999
    )  # fmt: skip
    assert found[3].executable
    assert not found[4].executable
    assert found[5].end == 0xFFFFFFFFFF601000


def test_mapping_at_finds_the_edges() -> None:
    found = procfs.parse_maps(MAPS)
    heap = found[1]
    assert procfs.mapping_at(found, heap.start) is heap
    assert procfs.mapping_at(found, heap.end - 1) is heap
    assert procfs.mapping_at(found, heap.end) is None
    assert procfs.mapping_at(found, heap.start - 1) is None
    assert procfs.mapping_at(found, 0) is None
    assert procfs.mapping_at((), 5) is None


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"1000-2000 r-xp",
        b"1000-2000 rxp 00000000 00:00 0 ",
        b"1000 r-xp 00000000 00:00 0 ",
        b"1000-xyz r-xp 00000000 00:00 0 ",
        b"1000-2000 r-xp 00000000 00:00 - /x",
        b"1000-2000 \xff-xp 00000000 00:00 0 ",
    ],
)
def test_damaged_maps_are_refused(line: bytes) -> None:
    with pytest.raises(HostileInputError):
        procfs.parse_maps(MAPS + line + b"\n")


PATHS = st.text(
    st.characters(codec="utf-8", exclude_characters="\n\r\0", exclude_categories=["Zs", "Cc"]),
    min_size=1,
).map(lambda name: "/" + name)
RANGES = st.tuples(st.integers(0, (1 << 47) - 1), st.integers(1, 1 << 40))


@given(RANGES, st.sampled_from(["r-xp", "rw-s", "---p"]), st.integers(0, 1 << 52), PATHS)
def test_any_mapping_reads_back(
    place: tuple[int, int], permissions: str, offset: int, path: str
) -> None:
    start, size = place
    line = f"{start:08x}-{start + size:08x} {permissions} {offset:08x} fe:01 77".ljust(73)
    (found,) = procfs.parse_maps(f"{line}{path}\n".encode())
    assert found == Mapping(start, start + size, permissions, offset, "fe:01", 77, path)


@given(st.binary(max_size=400))
@example(b"1-2 rwxp 0 0:0 0 \n\n\n")
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    for parse in (procfs.parse_maps, procfs.parse_stat, procfs.parse_status, procfs.parse_syscall):
        try:
            parse(text)
        except HostileInputError:
            continue


def test_a_command_cannot_forge_stat_fields() -> None:
    stat = procfs.parse_stat(STAT)
    assert (stat.command, stat.state, stat.parent) == ("evil) R 1 (x)", "S", 7)
    assert (stat.threads, stat.start_time) == (9, 123456)
    assert (stat.start_code, stat.start_stack) == (94000000000000, 140730000000000)
    assert not stat.kernel_thread


def test_a_kernel_thread_is_known_by_its_flag() -> None:
    assert procfs.parse_stat(STAT.replace(b"4194560", b"69238848")).kernel_thread


def test_status_fields() -> None:
    status = procfs.parse_status(STATUS)
    assert (status.name, status.state, status.group, status.tracer) == ("nginx", "t", 4242, 77)
    assert (status.user, status.namespace_pids, status.threads) == (33, (4242, 12), 9)
    assert status.address_space == 16564 << 10
    assert (status.seccomp_mode, status.seccomp_filters) == (2, 3)
    assert status.thread_features == {"shstk", "wrss"}


def test_status_of_a_kernel_without_the_newer_lines() -> None:
    lines = [
        line for line in STATUS.splitlines(keepends=True) if line[:4] not in (b"Secc", b"x86_")
    ]
    status = procfs.parse_status(b"".join(lines))
    assert (status.seccomp_mode, status.thread_features) == (0, frozenset())


def test_blocked_calls() -> None:
    call = procfs.parse_syscall(
        b"0 0x3 0x5643ab797250 0x2000 0x1000 0x0 0x0 0x7ffcb799 0x7f26aad1\n"
    )
    assert call is not None
    assert (call.number, call.arguments[0]) == (0, 3)
    assert (call.stack_pointer, call.program_counter) == (0x7FFCB799, 0x7F26AAD1)
    assert procfs.parse_syscall(b"running\n") is None
    outside = procfs.parse_syscall(b"-1 0x7ffd 0x55d0\n")
    assert outside is not None
    assert (outside.number, outside.arguments) == (-1, ())
    assert (outside.stack_pointer, outside.program_counter) == (0x7FFD, 0x55D0)


def test_names_are_safe_on_a_terminal() -> None:
    shown = procfs.printable(b"a\x1b[31m\nb\xff\xc3\xa9")
    assert shown == "a\\x1b[31m\\nb\\xffé"
    assert shown.isprintable()


def test_this_process() -> None:
    pid = os.getpid()
    assert procfs.read_stat(pid).parent == os.getppid()
    assert procfs.read_status(pid).group == pid
    assert pid in procfs.list_threads(pid)
    assert pid in procfs.list_pids()
    assert "python" in procfs.read_command(pid)
    assert procfs.mapping_at(procfs.read_maps(pid), id(pid)) is not None
    procfs.check_key(procfs.read_key(pid))


def test_a_pid_that_nobody_has() -> None:
    pid = (1 << 22) + 1  # above the kernel's largest pid_max
    for read in (procfs.read_stat, procfs.read_status, procfs.read_maps, procfs.list_threads,
                 procfs.read_command, procfs.mount_namespace):  # fmt: skip
        with pytest.raises(TargetGoneError):
            read(pid)
