"""Loaded objects and processes are found by what is in memory, however they came there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from naht.domain.build_id import parse_build_id
from naht.domain.process import LoadedObject
from naht.elf.file import ElfFile
from naht.errors import TargetGoneError
from naht.live.native import procfs
from naht.live.native.discovery import find_objects, find_processes, inspect_process
from naht.live.native.memory import TargetMemory
from tests.builders.live_programs import (
    Program,
    a_kernel_thread,
    build_id_of,
    compile_library,
    compile_program,
    running,
    wait_until,
)

pytestmark = [pytest.mark.live, pytest.mark.compiler]

WAITS = "int main(void) { ready(); wait_for_end(); return 0; }"
LIBRARY = "int answer(void) { return 42; }"
LOADS = """
#include <dlfcn.h>
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        void *handle = argv[i][0] == '+' ? dlmopen(LM_ID_NEWLM, argv[i] + 1, RTLD_NOW)
                                         : dlopen(argv[i], RTLD_NOW);
        if (!handle) { puts(dlerror()); return 1; }
        say((unsigned long long)dlsym(handle, "answer"));
    }
    ready(); wait_for_end(); return 0;
}
"""
MAPS_FILE = """
#include <fcntl.h>
#include <sys/mman.h>
int main(int argc, char **argv)
{
    int fd = open(argv[1], O_RDONLY);
    say((unsigned long long)mmap(0, 65536, PROT_READ, MAP_PRIVATE, fd, 0));
    ready(); wait_for_end(); return 0;
}
"""
SPOILS_HEADER = """
#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>
int main(int argc, char **argv)
{
    struct link_map *map = dlopen(argv[1], RTLD_NOW);
    mprotect((void *)map->l_addr, 4096, PROT_READ | PROT_WRITE);
    memset((void *)map->l_addr, atoi(argv[2]), 4096);
    memcpy((void *)map->l_addr, "\\x7f" "ELF\\2\\1\\1", argv[2][0] == '1' ? 4 : 0);
    ready(); wait_for_end(); return 0;
}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="module")
def library(place: Path) -> Path:
    return compile_library(place, "libanswer.so", LIBRARY)


@pytest.fixture(scope="module")
def loader(place: Path) -> Path:
    return compile_program(place, "loader", LOADS)


def objects(pid: int) -> tuple[LoadedObject, ...]:
    return inspect_process(pid)[1]


def instances(pid: int, path: Path) -> list[LoadedObject]:
    build_id = build_id_of(path)
    return [o for o in objects(pid) if o.build_id == build_id]


def found_pids(path: Path) -> list[int]:
    return [p.key.pid for p in find_processes(parse_build_id(build_id_of(path))).processes]


def symbol(path: Path, name: str) -> int:
    elf = ElfFile(path.read_bytes())
    return next(s.value for s in elf.dynamic_symbols if s.name == name)


@pytest.mark.parametrize(
    "flags",
    [
        (), ("-no-pie",), ("-static",), ("-static-pie",), ("-Wl,-z,noseparate-code",),
        ("-Wl,-z,separate-code",), ("-Wl,-z,max-page-size=2097152",),
    ],
    ids=lambda flags: " ".join(flags) or "default",
)  # fmt: skip
def test_a_program_of_each_kind(tmp_path: Path, flags: tuple[str, ...]) -> None:
    program = compile_program(tmp_path, "program", WAITS, *flags)
    with running([program]) as process:
        assert process.line() == "ready"
        (loaded,) = instances(process.pid, program)
        assert loaded.path == str(program)
        assert (loaded.bias == 0) == (ElfFile(program.read_bytes()).type == 2)
        with TargetMemory(process.pid) as memory:
            header = ElfFile(program.read_bytes())
            assert memory.read(loaded.bias + header.entry, 16) == header.read_address(
                header.entry, 16
            )
        assert found_pids(program) == [process.pid]


def test_libraries_opened_at_run_time(library: Path, loader: Path) -> None:
    with running([loader, library]) as process:
        (address,) = process.numbers_until_ready()
        (loaded,) = instances(process.pid, library)
        assert loaded.bias + symbol(library, "answer") == address
        assert loaded.start <= address < loaded.end
        assert found_pids(library) == [process.pid]


def test_every_instance_of_one_library_counts(library: Path, loader: Path) -> None:
    with running([loader, library, f"+{library}", f"+{library}"]) as process:
        addresses = process.numbers_until_ready()
        offset = symbol(library, "answer")
        found = instances(process.pid, library)
        assert sorted(o.bias + offset for o in found) == sorted(addresses)
        assert len(set(addresses)) == 3
        (seen,) = find_processes(parse_build_id(build_id_of(library))).processes
        assert seen.objects == tuple(found)


def test_deleted_and_replaced_files(tmp_path: Path, loader: Path) -> None:
    library = compile_library(tmp_path, "libgone.so", LIBRARY)
    before = library.read_bytes()
    with running([loader, library]) as process:
        process.numbers_until_ready()
        library.unlink()
        library.write_bytes(b"\x7fELF, but somebody else's")
        (loaded,) = [o for o in objects(process.pid) if "libgone" in o.path]
        assert loaded.path == f"{library} (deleted)"
        assert loaded.build_id == ElfFile(before).build_id


def test_a_library_in_a_memfd(library: Path, loader: Path) -> None:
    memfd = os.memfd_create("answer", 0)
    os.write(memfd, library.read_bytes())
    with running([loader, f"/proc/{os.getpid()}/fd/{memfd}"]) as process:
        process.numbers_until_ready()
        (loaded,) = instances(process.pid, library)
        assert loaded.path == "/memfd:answer (deleted)"
    os.close(memfd)


def test_a_name_that_is_no_text(tmp_path: Path, library: Path, loader: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/lib 00:00 0 \xff\x1b[31m\n 00000000 .so")
    shutil.copy(library, odd)
    with running([loader, odd]) as process:
        process.numbers_until_ready()
        (loaded,) = instances(process.pid, library)
        assert loaded.path.isprintable()
        assert found_pids(library) == [process.pid]


def test_a_file_that_is_only_read_is_not_loaded(tmp_path: Path, library: Path) -> None:
    program = compile_program(tmp_path, "mapper", MAPS_FILE)
    with running([program, library]) as process:
        (address,) = process.numbers_until_ready()
        assert procfs.mapping_at(procfs.read_maps(process.pid), address) is not None
        assert instances(process.pid, library) == []
        assert found_pids(library) == []


@pytest.mark.parametrize("filling", ["0", "1", "255"])
def test_a_process_that_spoils_its_header_hides_only_itself(
    tmp_path: Path, library: Path, loader: Path, filling: str
) -> None:
    spoiler = compile_program(tmp_path, "spoiler", SPOILS_HEADER)
    with running([spoiler, library, filling]) as bad, running([loader, library]) as good:
        assert bad.line() == "ready"
        good.numbers_until_ready()
        assert instances(bad.pid, library) == []
        assert found_pids(library) == [good.pid]


def test_other_mount_and_pid_namespaces(tmp_path: Path, library: Path, loader: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    script = f"mount -t tmpfs none {hidden} && cp {library} {hidden}/lib.so && "
    script += f"{loader} {hidden}/lib.so; exit"
    command = ["unshare", "-mpf", "--kill-child", "sh", "-c", script]
    with running(command) as namespace:
        namespace.numbers_until_ready()
        assert not (hidden / "lib.so").exists()
        (pid,) = found_pids(library)
        assert procfs.read_status(pid).namespace_pids[0] == pid
        assert len(procfs.read_status(pid).namespace_pids) == 2
        (loaded,) = instances(pid, library)
        assert loaded.path == f"{hidden}/lib.so"


def test_stopped_processes_can_be_read(library: Path, loader: Path) -> None:
    with running([loader, library]) as process:
        process.numbers_until_ready()
        os.kill(process.pid, signal.SIGSTOP)
        wait_until(lambda: procfs.read_stat(process.pid).state == "T")
        assert found_pids(library) == [process.pid]


def test_kernel_threads_zombies_and_ourselves_are_skipped(library: Path, loader: Path) -> None:
    with running([loader, library]) as process:
        process.numbers_until_ready()
        process.process.kill()
        wait_until(lambda: procfs.read_stat(process.pid).state == "Z")
        wanted = parse_build_id(build_id_of(library))
        found = find_processes(wanted, [process.pid, a_kernel_thread()])
        assert (found.processes, found.unreadable) == ((), ())
    own = next(o.build_id for o in objects(os.getpid()) if "libc.so" in o.path)
    assert os.getpid() not in [p.key.pid for p in find_processes(own).processes]


def test_a_process_without_its_first_thread_is_reported(tmp_path: Path) -> None:
    source = """
    #include <pthread.h>
    static void *other(void *unused) { ready(); wait_for_end(); return 0; }
    int main(void) { pthread_t t; pthread_create(&t, 0, other, 0); pthread_exit(0); }
    """
    program = compile_program(tmp_path, "leaderless", source, "-pthread")
    with running([program]) as process:
        assert process.line() == "ready"
        wait_until(lambda: procfs.read_stat(process.pid).state == "Z")
        found = find_processes(parse_build_id(build_id_of(program)), [process.pid])
        assert found.processes == ()
        assert [u.pid for u in found.unreadable] == [process.pid]


def test_memory_of_a_process_that_ended_or_became_another(library: Path, loader: Path) -> None:
    with running([loader, library]) as process:
        process.numbers_until_ready()
        key = procfs.read_key(process.pid)
        with TargetMemory.of(key) as memory:
            (loaded,) = [o for o in objects(process.pid) if o.path == str(library)]
            assert memory.read(loaded.start, 4) == b"\x7fELF"
            process.process.kill()
            process.process.wait()
            with pytest.raises(TargetGoneError):
                memory.read(loaded.start, 4)
            with pytest.raises(TargetGoneError):
                find_objects(memory, procfs.read_maps(process.pid))
        with pytest.raises(TargetGoneError):
            TargetMemory.of(key)


def test_an_exec_is_not_read_as_the_old_program(tmp_path: Path) -> None:
    source = """
    int main(int argc, char **argv)
    {
        if (argc > 1) { ready(); wait_for_end(); execl(argv[1], argv[1], (char *)0); }
        ready(); for (;;) pause();
    }
    """
    program = compile_program(tmp_path, "changes", source)
    with running([program, program]) as process:
        assert process.line() == "ready"
        with TargetMemory(process.pid) as memory:
            start = instances(process.pid, program)[0].start
            assert process.process.stdin
            process.process.stdin.close()
            assert process.line() == "ready"
            with pytest.raises(TargetGoneError):
                memory.read(start, 4)


def test_processes_that_come_and_go_do_no_harm(tmp_path: Path, library: Path) -> None:
    program = compile_program(tmp_path, "short", "int main(void) { return 0; }")
    wanted = parse_build_id(build_id_of(library))
    churn = subprocess.Popen(["sh", "-c", f"while :; do {program} & {program}; wait; done"])
    try:
        for _ in range(40):
            assert find_processes(wanted).processes == ()
    finally:
        churn.kill()
        churn.wait()


def test_many_processes_at_once(library: Path, loader: Path) -> None:
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(60):
            processes.append(
                subprocess.Popen([loader, library], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
        for process in processes:
            Program(process).numbers_until_ready()
        assert found_pids(library) == sorted(p.pid for p in processes)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
