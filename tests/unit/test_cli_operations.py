"""`apply`, `revert`, `status`, `scan`: lines, summaries, documents and exit codes for every kind of
outcome. The engine is scripted here; tests/contract and tests/live use the real one.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from naht.cli.main import main
from naht.cli.schemas import SCHEMAS as CONTRACTS
from naht.domain.build_id import BuildId
from naht.domain.process import (
    HotpatchInProcess,
    LoadedObject,
    Outcome,
    ProcessKey,
    ProcessOutcome,
    ProcessState,
    ScannedObject,
    ScannedProcess,
)
from naht.hotpatch.verified import VerifiedHotpatch
from naht.live.engine import RetryPolicy
from scripts.write_schemas import schema_text
from tests.builders.scripted_engine import ScriptedEngine
from tests.builders.small_hotpatch import SmallHotpatch

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"

GOOD = ProcessOutcome(
    ProcessKey(101, 1), "server", "SMALL-1", "applied", functions=3, threads=17,
    pause_ns=241_000, attempts=2, memory_bytes=12_288, replaced=("SMALL-0",),
    notes=("2 threads are still in old code",),
)  # fmt: skip
BUSY = ProcessOutcome(
    ProcessKey(102, 1), "ser\x1bver", "SMALL-1", "busy", "in-function", "answer, thread 103.",
    "Try again with --attempts 100.", attempts=12,
)  # fmt: skip


def use(monkeypatch: pytest.MonkeyPatch, engine: ScriptedEngine) -> ScriptedEngine:
    for command in ("apply", "revert", "status", "scan"):
        monkeypatch.setattr(f"naht.cli.{command}.make_engine", lambda: engine)
    return engine


def scripted(*outcomes: ProcessOutcome) -> ScriptedEngine:
    return ScriptedEngine(outcomes={o.key.pid: o for o in outcomes})


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    """The document, checked against its published schema."""
    document = json.loads(capsys.readouterr().out)
    name = document["schema"].removeprefix("naht.").removesuffix("/1")
    jsonschema.validate(document, json.loads((SCHEMAS / f"{name}.json").read_text()))
    return document


def test_apply_refuses_what_nobody_vouches_for(
    small_hotpatch: SmallHotpatch,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = use(monkeypatch, scripted(GOOD))
    assert main(["apply", str(small_hotpatch.path), "--all"]) == 2
    assert "--unsigned-dev" in capsys.readouterr().err
    assert engine.calls == []


def test_apply_warns_in_red_and_prints_a_line_each(
    small_hotpatch: SmallHotpatch,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, scripted(GOOD, BUSY))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["apply", str(small_hotpatch.path), "--all", "--unsigned-dev"]) == 8
    assert "\x1b[1;31mwarning: " in capsys.readouterr().err


def test_apply_shows_figures_reasons_and_next_steps(
    small_hotpatch: SmallHotpatch,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, scripted(GOOD, BUSY))
    assert main(["apply", str(small_hotpatch.path), "--all", "--unsigned-dev"]) == 8
    shown = capsys.readouterr().out
    facts = (
        "applied", "101", "3 functions, 17 threads, pause 241 µs, 12 KiB, 2 attempts",
        "replaces SMALL-0", "note: 2 threads are still in old code", "busy", r"ser\x1bver",
        "answer, thread 103. [in-function]", "next: Try again with --attempts 100.",
        "1 of 2 processes good, 1 busy; longest pause 241 µs",
    )  # fmt: skip
    for fact in facts:
        assert fact in shown


def test_apply_json_says_the_same(
    small_hotpatch: SmallHotpatch,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = use(monkeypatch, scripted(GOOD, BUSY))
    words = ["apply", str(small_hotpatch.path), "--all", "--unsigned-dev", "--dry-run", "--json"]
    assert main([*words, "--attempts", "77"]) == 8
    document = answer(capsys)
    assert {p["key"]["pid"]: p["outcome"] for p in document["processes"]} == {
        101: "applied", 102: "busy",
    }  # fmt: skip
    assert document["hotpatch"]["origin"] == "unsigned-dev"
    assert document["summary"]["longest_pause_ns"] == 241_000
    assert (document["exit_code"], document["dry_run"]) == (8, True)
    assert sorted(engine.calls) == [
        ("apply SMALL-1", 101, True, 77), ("apply SMALL-1", 102, True, 77),
    ]  # fmt: skip


def test_apply_all_without_a_process_is_exit_9(
    small_hotpatch: SmallHotpatch,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, scripted())
    words = ["apply", str(small_hotpatch.path), "--all", "--unsigned-dev"]
    assert main(words) == 9
    build_id = small_hotpatch.manifest.images[0].target.build_id
    assert f"Nothing to do: no live process has {build_id} mapped." in capsys.readouterr().err
    assert main([*words, "--json"]) == 9
    assert answer(capsys)["error"]["kind"] == "NothingToDoError"


def test_a_pid_that_does_not_live_is_gone_and_the_others_go_on(
    small_hotpatch: SmallHotpatch,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = ProcessOutcome(ProcessKey(os.getpid(), 1), "pytest", "SMALL-1", "applied")
    use(monkeypatch, scripted(ours))
    pids = [str(os.getpid()), "4194303", str(os.getpid())]  # the highest PID there can be
    words = ["apply", str(small_hotpatch.path), "--unsigned-dev", "--json", "--pid", *pids]
    assert main(words) == 8
    found = {p["key"]["pid"]: p["outcome"] for p in answer(capsys)["processes"]}
    assert found == {os.getpid(): "applied", 4194303: "gone"}


def test_revert_finds_by_record(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = ProcessOutcome(ProcessKey(7, 1), "s", "SMALL-1", "reverted-memory-kept", notes=("n",))
    other = ProcessOutcome(ProcessKey(8, 1), "s", "OTHER", "reverted")
    engine = use(monkeypatch, scripted(kept, other))
    assert main(["revert", "SMALL-1", "--all", "--json"]) == 0
    document = answer(capsys)
    assert [p["outcome"] for p in document["processes"]] == ["reverted-memory-kept"]
    assert {call[1] for call in engine.calls} == {7}
    assert main(["revert", "NOPE", "--all"]) == 9
    assert "'NOPE'" in capsys.readouterr().err


def state(pid: int, how: str, threads: Sequence[int] = (), error: str = "") -> ProcessState:
    if error:
        return ProcessState(ProcessKey(pid, 1), "server", (), error)
    hotpatch = HotpatchInProcess(
        id="SMALL-1", state=how, detail="A detail.", digest="a" * 64, level=2,  # type: ignore[arg-type]
        build_id="ab" * 20, object_path="/lib/li\x1bb.so", advisories=("CVE-2024-0001",),
        functions=("answer",), record_address=0x7F00, memory_bytes=16_384,
        threads_in_old_code=tuple(threads),
    )  # fmt: skip
    return ProcessState(ProcessKey(pid, 1), "server", (hotpatch,))


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([], 0),
        ([state(1, "active"), state(2, "inactive"), state(3, "pending")], 0),
        ([state(1, "active"), state(2, "altered")], 3),
        ([state(1, "active"), state(2, "", error="Not permitted.")], 8),
        ([state(2, "", error="Not permitted.")], 4),
    ],
)
def test_status_exit_codes_and_document(
    states: list[ProcessState],
    code: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, ScriptedEngine(states=states))
    assert main(["status", "--json"]) == code
    document = answer(capsys)
    assert document["exit_code"] == code
    assert [p["key"]["pid"] for p in document["processes"]] == [s.key.pid for s in states]


def test_status_shows_states_details_and_threads_in_old_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [state(1, "active", threads=[11, 12]), state(2, "", error="Not permitted.")]
    use(monkeypatch, ScriptedEngine(states=states))
    assert main(["status"]) == 8
    shown = capsys.readouterr().out
    facts = (
        "SMALL-1", "active", "16 KiB", r"/lib/li\x1bb.so", "A detail.",
        "2 threads still in old code (11, 12)", "2 server: Not permitted.",
    )  # fmt: skip
    for fact in facts:
        assert fact in shown


def test_status_of_a_process_without_hotpatches_says_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, ScriptedEngine(states=[ProcessState(ProcessKey(5, 1), "server", ())]))
    assert main(["status", "--pid", "5"]) == 0
    assert "none" in capsys.readouterr().out


def scanned(pid: int, *, stale: bool, fits: bool, applied: tuple[str, ...] = ()) -> ScannedProcess:
    path = f"/lib/lib{pid}.so"
    loaded = LoadedObject(BuildId("ab" * 20), 0, 0, 4096, path, "08:01", 3)
    disk = "cd" * 20 if stale else "ab" * 20
    active = tuple(h for s in applied for h in state(pid, "active").hotpatches if h.id == s)
    item = ScannedObject(loaded, disk, stale, fits, applied, path, active)
    return ScannedProcess(ProcessKey(pid, 1), "server", (item,))


def test_scan_lists_what_matters(
    small_hotpatch: SmallHotpatch,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processes = [
        scanned(1, stale=False, fits=False),
        scanned(2, stale=True, fits=False),
        scanned(3, stale=False, fits=True),
        scanned(4, stale=False, fits=True, applied=("SMALL-1",)),
    ]
    use(monkeypatch, ScriptedEngine(scanned=processes))
    listed = {
        (): {2, 4},
        ("--hotpatch", str(small_hotpatch.path)): {3, 4},
        ("--verbose",): {1, 2, 3, 4},
    }
    for words, pids in listed.items():
        assert main(["scan", *words]) == 0
        shown = capsys.readouterr().out
        assert {n for n in range(1, 5) if f"lib{n}.so" in shown} == pids
        assert "4 processes read" in shown
        assert "1 process runs old code" in shown
    assert main(["scan", "--hotpatch", str(small_hotpatch.path), "--json"]) == 0
    document = answer(capsys)
    assert len(document["processes"]) == 4
    assert document["hotpatch"]["id"] == "SMALL-1"


def test_inspect_and_errors_follow_their_schemas(
    small_hotpatch: SmallHotpatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(small_hotpatch.path), "--json"]) == 0
    assert answer(capsys)["schema"] == "naht.inspect/1"
    assert main(["inspect", "/nonexistent", "--json"]) == 2
    assert answer(capsys)["schema"] == "naht.error/1"


def test_a_path_that_is_no_text_still_makes_a_document(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = ProcessState(ProcessKey(5, 1), "s\udcff", ())
    use(monkeypatch, ScriptedEngine(states=[odd]))
    assert main(["status", "--json"]) == 0
    assert answer(capsys)["processes"][0]["command"] == r"s\udcff"


@pytest.mark.parametrize("name", CONTRACTS)
def test_published_schemas_are_current(name: str) -> None:
    """`make schemas` writes them."""
    assert (SCHEMAS / f"{name}.json").read_text() == schema_text(name)


def test_a_schema_refuses_what_no_document_holds(
    small_hotpatch: SmallHotpatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(small_hotpatch.path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    document["manifest"]["severity"] = "terrible"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json.loads((SCHEMAS / "inspect.json").read_text()))


OUTCOMES: tuple[Outcome, ...] = (
    "applied", "already-applied", "would-apply", "reverted", "reverted-memory-kept",
    "not-applied", "would-revert", "refused", "busy", "gone", "failed",
)  # fmt: skip


def test_every_outcome_has_a_line(
    small_hotpatch: SmallHotpatch,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = [ProcessOutcome(ProcessKey(n, 1), "s", "SMALL-1", o) for n, o in enumerate(OUTCOMES, 1)]
    use(monkeypatch, scripted(*made))
    assert main(["apply", str(small_hotpatch.path), "--all", "--unsigned-dev"]) == 8
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[1] for line in lines if line.endswith("  s")} == set(OUTCOMES)


class InterruptedEngine(ScriptedEngine):
    """Somebody presses Ctrl-C (or sends SIGTERM) while the first process is being changed."""

    signal_number = signal.SIGINT

    def apply(
        self, hotpatch: VerifiedHotpatch, key: ProcessKey, *, retry: RetryPolicy, dry_run: bool
    ) -> ProcessOutcome:
        outcome = super().apply(hotpatch, key, retry=retry, dry_run=dry_run)
        os.kill(os.getpid(), self.signal_number)
        time.sleep(0.01)  # as long as a real process takes, so that there is a "meanwhile"
        return outcome


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_reports_what_was_done_and_begins_nothing_more(
    number: signal.Signals,
    small_hotpatch: SmallHotpatch,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many = [ProcessOutcome(ProcessKey(n, 1), "s", "SMALL-1", "applied") for n in range(1, 501)]
    engine = InterruptedEngine(outcomes={o.key.pid: o for o in many})
    engine.signal_number = number
    use(monkeypatch, engine)
    before = signal.getsignal(number)
    assert main(["apply", str(small_hotpatch.path), "--all", "--unsigned-dev", "--json"]) == 130
    document = answer(capsys)
    assert (document["interrupted"], document["exit_code"]) == (True, 130)
    reported = {p["key"]["pid"] for p in document["processes"]}
    assert reported == {call[1] for call in engine.calls}
    assert 0 < len(reported) < len(many)
    assert signal.getsignal(number) is before
