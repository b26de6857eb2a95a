"""What status says is what is in the process: records and code bytes put there by the test."""

from __future__ import annotations

import hashlib
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from naht.domain.process import HotpatchInProcess
from naht.live.engine import RetryPolicy
from naht.live.native import procfs, status
from naht.live.native import record as records
from naht.live.native.discovery import inspect_process
from naht.live.native.engine import NativeEngine
from naht.live.native.memory import PAGE, TargetMemory
from naht.live.native.record import EntryChange, Payload, Range, Redirect, Region
from tests.builders.live_programs import Program, compile_program, running, wait_until

pytestmark = [pytest.mark.live, pytest.mark.compiler]

# A process that maps, at one place, what an engine would: a write-only record, code behind it.
SOURCE = """
#include <sys/mman.h>
#include <sys/prctl.h>
__attribute__((noinline, aligned(16))) int old_code(void)
{
    ready();
    for (char byte; read(0, &byte, 1) > 0;) {
        int child = fork();
        if (!child) for (;;) pause();
        say(child);
    }
    return 1;
}
__attribute__((noinline, aligned(16))) int quiet(void) { __asm__ volatile("nop"); return 2; }
int main(int argc, char **argv)
{
    unsigned long page = 4096, where = 0x50000000;
    int size = atoi(argv[1]), reserve = atoi(argv[2]);
    mmap((void *)where, size * page, PROT_WRITE,
         MAP_PRIVATE | MAP_ANONYMOUS | (reserve ? 0 : MAP_NORESERVE), -1, 0);
    if (argc > 3) mmap((void *)(where + size * page), page, PROT_READ | PROT_EXEC,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    say((unsigned long)old_code); say((unsigned long)quiet);
    return old_code() + quiet();
}
"""
RECORD = 0x50000000  # within reach of a jump from a program that is not relocated
CODE = RECORD + PAGE
NEW = bytes.fromhex("b82a000000c3")
DIGEST = hashlib.sha256(NEW.ljust(PAGE, b"\0")).hexdigest()


@dataclass
class Host:
    """The process, and the payload that fits it."""

    process: Program
    old_code: int
    quiet: int
    original: bytes = b""
    payload: Payload = field(init=False)

    def __post_init__(self) -> None:
        (program,) = [o for o in inspect_process(self.process.pid)[1] if "hosts" in o.path]
        with TargetMemory(self.process.pid) as memory:
            self.original = memory.read(self.quiet, 5)
        jump = b"\xe9" + (CODE - self.quiet - 5 & 0xFFFFFFFF).to_bytes(4, "little")
        self.jump = jump
        self.between = b"\xe9\x11\x22\x33\x44"
        redirect = Redirect(
            name="quiet", address=self.quiet, original=self.original.hex(), jump=jump.hex(),
            parts=(Range(self.quiet, 6),), new_address=CODE, new_size=len(NEW),
            between=self.between.hex(),
        )  # fmt: skip
        change = EntryChange(
            address=self.quiet, before=self.original.hex(), between=self.between.hex(),
            after=jump.hex(),
        )  # fmt: skip
        self.payload = Payload(
            id="TEST-1", digest="ab" * 32, level=2, supersedes=(), advisories=("CVE-2026-0001",),
            severity="low", build_id=program.build_id, object_path=program.path,
            bias=program.bias, consistency="quiescent", escapes="none",
            regions=(Region("record", RECORD, PAGE), Region("code", CODE, PAGE, DIGEST)),
            redirects=(redirect,), changes=(change,), engine="0",
        )  # fmt: skip

    def write(self, address: int, data: bytes) -> None:
        descriptor = os.open(f"/proc/{self.process.pid}/mem", os.O_WRONLY)
        assert os.pwrite(descriptor, data, address) == len(data)
        os.close(descriptor)

    def install(self, state: int, **changes: Any) -> None:
        payload = msgspec.structs.replace(self.payload, **changes)
        self.write(RECORD, records.encode_record(payload, state))
        self.write(CODE, NEW.ljust(PAGE, b"\0"))

    def apply(self, **changes: Any) -> None:
        self.install(records.STATE_ACTIVE, **changes)
        self.write(self.quiet, self.jump)

    def hotpatches(self) -> tuple[HotpatchInProcess, ...]:
        state = status.read_state(self.process.pid)
        assert state is not None
        assert state.error == ""
        return state.hotpatches

    def only(self) -> HotpatchInProcess:
        (hotpatch,) = self.hotpatches()
        return hotpatch


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("hosts"), "hosts", SOURCE, "-no-pie")


@pytest.fixture
def host(program: Path) -> Any:
    with running([program, "1", "0", "code"]) as process:
        yield start(process)


def start(process: Program) -> Host:
    old_code, quiet = process.numbers_until_ready()
    wait_until(lambda: procfs.read_stat(process.pid).state == "S")
    return Host(process, old_code, quiet)


def test_an_active_hotpatch(host: Host) -> None:
    host.apply()
    found = host.only()
    assert (found.state, found.detail) == ("active", "")
    assert (found.id, found.level, found.advisories) == ("TEST-1", 2, ("CVE-2026-0001",))
    assert (found.functions, found.record_address) == (("quiet",), RECORD)
    assert found.memory_bytes == 2 * PAGE
    assert found.threads_in_old_code == ()


def test_forked_children_show_it_too(host: Host, program: Path) -> None:
    host.apply()
    host.process.send("f")
    child = host.process.number()
    try:
        states = {state.key.pid: state for state in status.read_states(None)}
        for pid in (host.process.pid, child):
            assert [(h.id, h.state) for h in states[pid].hotpatches] == [("TEST-1", "active")]
            assert states[pid].command.startswith(str(program))
        assert os.getpid() not in states
    finally:
        os.kill(child, signal.SIGKILL)


def lying(host: Host, lie: str) -> dict[str, Any]:
    (redirect,) = host.payload.redirects
    record, code = host.payload.regions

    def with_redirect(**changes: Any) -> dict[str, Any]:
        return {"redirects": (msgspec.structs.replace(redirect, **changes),)}

    lies: dict[str, dict[str, Any]] = {
        "nothing": {"redirects": ()},
        "no digest": {"regions": (record, msgspec.structs.replace(code, digest=""))},
        "elsewhere": with_redirect(jump=host.between.hex()),
        "no jump": with_redirect(jump="90" + host.jump.hex()[2:]),
        "no hex": with_redirect(between="no hex at all"),
        "too short": with_redirect(between="e9"),
        "too long": with_redirect(original="90" * 60),
    }
    return lies[lie]


@pytest.mark.parametrize(
    "lie", ["nothing", "no digest", "elsewhere", "no jump", "no hex", "too short", "too long"]
)
def test_a_record_that_no_engine_writes(host: Host, lie: str) -> None:
    host.install(records.STATE_ACTIVE, **lying(host, lie))
    assert [h.state for h in host.hotpatches()] == ["altered"]
    key = procfs.read_key(host.process.pid)
    outcome = NativeEngine().revert("TEST-1", key, retry=RetryPolicy(), dry_run=False)
    assert outcome.outcome == "not-applied"


def test_a_function_outside_of_its_object(host: Host) -> None:
    (redirect,) = host.payload.redirects
    address = CODE + 0x100
    jump = b"\xe9" + (CODE - address - 5 & 0xFFFFFFFF).to_bytes(4, "little")
    claim = msgspec.structs.replace(redirect, address=address, jump=jump.hex())
    host.install(records.STATE_ACTIVE, redirects=(claim,))
    host.write(address, jump)
    found = host.only()
    assert (found.state, "outside of its object" in found.detail) == ("altered", True)


def test_altered_entry(host: Host) -> None:
    host.apply()
    host.write(host.quiet, b"\xcc")
    found = host.only()
    assert found.state == "altered"
    assert f"quiet at {host.quiet:#x}" in found.detail


def test_altered_code(host: Host) -> None:
    host.apply()
    host.write(CODE + 100, b"\x90")
    found = host.only()
    assert (found.state, "code at" in found.detail) == ("altered", True)


def test_altered_record(host: Host) -> None:
    host.apply()
    host.write(RECORD + records.HEADER_SIZE + 9, b"~")
    found = host.only()
    assert (found.state, found.id, found.record_address) == ("altered", "", RECORD)


def test_a_state_that_nobody_writes(host: Host) -> None:
    host.apply()
    host.write(RECORD + records.STATE_OFFSET, b"\x09")
    assert host.only().state == "altered"


def test_code_that_is_no_longer_mapped(host: Host) -> None:
    host.apply(regions=(Region("record", RECORD, PAGE), Region("code", CODE, 64 * PAGE, DIGEST)))
    assert host.only().state == "altered"


def test_an_apply_that_was_cut_short(host: Host) -> None:
    host.install(records.STATE_READY)
    assert (host.only().state, "old code runs" in host.only().detail) == ("pending", True)
    host.write(host.quiet, host.between)
    assert host.only().state == "pending"
    host.write(host.quiet, host.jump)
    assert (host.only().state, "switched to" in host.only().detail) == ("pending", True)
    host.write(host.quiet, b"\xcc")
    assert host.only().state == "altered"


@pytest.mark.parametrize("now", ["original", "between"])
def test_a_revert_that_was_cut_short(host: Host, now: str) -> None:
    host.apply()
    host.write(host.quiet, getattr(host, now))
    assert (host.only().state, "revert" in host.only().detail) == ("pending", True)


def test_an_inactive_hotpatch(host: Host) -> None:
    host.install(records.STATE_INACTIVE)
    assert host.only().state == "inactive"
    host.write(host.quiet, b"\xe9\x01\x02\x03\x04")  # a successor's
    assert host.only().state == "inactive"
    host.write(host.quiet, host.jump)
    assert host.only().state == "altered"


@pytest.mark.parametrize("changes", [{"bias": 0x1000}, {"build_id": "00" * 20}])
def test_its_object_is_not_there(host: Host, changes: dict[str, Any]) -> None:
    host.apply(**changes)
    assert host.only().state == "unloaded"


def test_threads_in_old_code(host: Host) -> None:
    old = Range(host.old_code, 64)
    redirect = msgspec.structs.replace(host.payload.redirects[0], parts=(old,))
    host.apply(redirects=(redirect,), consistency="overlap")
    assert host.only().threads_in_old_code == (host.process.pid,)
    host.apply(redirects=(redirect,))
    assert host.only().threads_in_old_code == ()  # quiescent: it was proved when it was applied


def test_orphans_and_what_is_not_ours(program: Path) -> None:
    with running([program, "3", "0"]) as process:
        host = start(process)
        assert (host.only().state, host.only().memory_bytes) == ("orphan", 3 * PAGE)
        host.write(RECORD + 8, b"a record whose magic was still to come")
        assert host.only().state == "orphan"
        with TargetMemory(process.pid) as memory:
            (orphan,) = status.find_orphans(memory, procfs.read_maps(process.pid))
        assert (orphan.start, orphan.size) == (RECORD, 3 * PAGE)
        host.write(RECORD, b"somebody")
        assert host.hotpatches() == ()
    with running([program, "1", "1"]) as process:  # reserved, so not mapped as we map
        assert start(process).hotpatches() == ()


def test_many_bogus_mappings_cost_little(tmp_path: Path) -> None:
    source = """
    #include <sys/mman.h>
    int main(void)
    {
        for (unsigned long i = 0; i < 2000; i++) {
            char *at = mmap((void *)(0x500000000 + i * 8192), 4096, 2, 0x4022, -1, 0);
            if (i % 2) memcpy(at, "NAHTREC\\1\\1\\0\\0\\0\\2\\0\\0\\0", 16);
            if (i % 2) memset(at + 24, 255, 8);
        }
        ready(); wait_for_end(); return 0;
    }
    """
    with running([compile_program(tmp_path, "bogus", source)]) as process:
        assert process.line() == "ready"
        state = status.read_state(process.pid)
        assert state is not None
        assert {h.state for h in state.hotpatches} == {"orphan", "altered"}
        assert len(state.hotpatches) <= 256


def test_processes_that_are_gone_or_have_no_memory(program: Path) -> None:
    with running([program, "1", "0"]) as process:
        start(process)
        assert process.pid in status.processes_with_records()
        process.process.send_signal(signal.SIGKILL)
        wait_until(lambda: procfs.read_stat(process.pid).state == "Z")
        zombie = status.read_state(process.pid)
        assert zombie is not None
        assert "has ended" in zombie.error
    assert status.read_state(process.pid) is None
    assert process.pid not in status.processes_with_records()
