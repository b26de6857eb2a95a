"""`heal`, and what `scan` says of a library: lines, documents, exit codes, the apt hook. The engine
is scripted here; tests/live heals real processes.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from msgspec.structs import replace

from naht.cli import apt_hook, library_argument
from naht.cli.exit_codes import of_healing
from naht.cli.main import main
from naht.domain.build_id import BuildId
from naht.domain.package import ShippedVersion
from naht.domain.process import (
    HotpatchInProcess,
    LoadedObject,
    Outcome,
    ProcessKey,
    ProcessOutcome,
    ScannedObject,
    ScannedProcess,
)
from naht.hotpatch.container import pack_hotpatch, read_hotpatch
from tests.builders.scripted_engine import ScriptedEngine
from tests.builders.small_hotpatch import SmallHotpatch

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
NEW = "cd" * 20
FAR = 1 << 23  # no PID is as high: nothing of a real process is looked at


@pytest.fixture
def library(small_hotpatch: SmallHotpatch, tmp_path: Path) -> Path:
    file = read_hotpatch(small_hotpatch.path)
    manifest = replace(
        file.manifest, brings_to=(ShippedVersion(version="1.2-4", build_id=NEW),)
    )  # fmt: skip
    folder = tmp_path / "library"
    folder.mkdir(mode=0o755)
    path = folder / "small.naht"
    path.write_bytes(pack_hotpatch(manifest, file.images))
    path.chmod(0o644)
    return folder


class Host(ScriptedEngine):
    """Its processes are healed by what is applied to them."""

    def apply(self, hotpatch, key, *, retry, dry_run):  # type: ignore[no-untyped-def]
        outcome = super().apply(hotpatch, key, retry=retry, dry_run=dry_run)
        if outcome.outcome == "applied":
            self.scanned = [
                healed(p, hotpatch) if p.key == key else p for p in self.scanned
            ]  # fmt: skip
        return outcome


def healed(process: ScannedProcess, hotpatch: Any) -> ScannedProcess:
    manifest = hotpatch.manifest
    active = HotpatchInProcess(
        id=manifest.id, state="active", detail="", digest=hotpatch.digest, level=manifest.level,
        build_id="", object_path="", advisories=(), functions=(), record_address=1,
        memory_bytes=1, brings_to=manifest.brings_to,
    )  # fmt: skip
    item = replace(process.objects[0], applied=(manifest.id,), hotpatches=(active,))
    return replace(process, objects=(item,))


def process(pid: int, build_id: str, disk: str = NEW) -> ScannedProcess:
    path = "/lib/libsmall.so.1"
    loaded = LoadedObject(BuildId(build_id), 0, 0, 4096, path, "08:01", 3)
    item = ScannedObject(loaded, disk, disk != build_id, False, (), path)
    return ScannedProcess(ProcessKey(FAR + pid, 1), "server", (item,))


def host(
    monkeypatch: pytest.MonkeyPatch, *scanned: ScannedProcess, **outcomes: Outcome
) -> Host:  # fmt: skip
    """`outcomes`: by "pN"; the others are applied."""
    said = {
        p.key.pid: ProcessOutcome(
            p.key, p.command, "SMALL-1", outcomes.get(f"p{p.key.pid - FAR}", "applied"),
            pause_ns=5_000,
        )
        for p in scanned
    }  # fmt: skip
    engine = Host(outcomes=said, scanned=list(scanned))
    for command in ("scan", "heal"):
        monkeypatch.setattr(f"naht.cli.{command}.make_engine", lambda: engine)
    return engine


def old_build_id(small_hotpatch: SmallHotpatch) -> str:
    return small_hotpatch.manifest.images[0].target.build_id


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    document = json.loads(capsys.readouterr().out)
    name = document["schema"].removeprefix("naht.").removesuffix("/1")
    jsonschema.validate(document, json.loads((SCHEMAS / f"{name}.json").read_text()))
    return document


def heal(library: Path, *words: str) -> int:
    return main(["heal", "--hotpatches", str(library), "--unsigned-dev", *words])


def test_old_code_is_healed_once(
    library: Path, small_hotpatch: SmallHotpatch, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    old = old_build_id(small_hotpatch)
    engine = host(monkeypatch, process(1, old), process(2, old), process(3, NEW))
    assert heal(library, "--json", "--attempts", "7") == 0
    document = answer(capsys)
    assert [p["outcome"] for p in document["processes"]] == ["applied", "applied"]
    assert {f["state"] for f in document["findings"]} == {"healed"}
    assert sorted(engine.calls) == [
        ("apply SMALL-1", FAR + 1, False, 7), ("apply SMALL-1", FAR + 2, False, 7),
    ]  # fmt: skip
    assert heal(library) == 0
    assert "No process runs old code of a package any more." in capsys.readouterr().out
    assert len(engine.calls) == 2


def test_a_dry_run_changes_nothing(
    library: Path, small_hotpatch: SmallHotpatch, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    engine = host(monkeypatch, process(1, old_build_id(small_hotpatch)), p1="would-apply")
    assert heal(library, "--dry-run") == 0
    assert "1 hotpatch would be applied" in capsys.readouterr().out
    assert [call[2] for call in engine.calls] == [True]


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ({}, 0),
        ({"p1": "refused"}, 8),
        ({"p1": "refused", "p2": "refused"}, 4),
        ({"p1": "busy", "p2": "busy"}, 5),
        ({"p1": "gone"}, 0),
        ({"p1": "failed", "p2": "busy"}, 7),
    ],
)
def test_exit_codes(
    outcomes: dict[str, Outcome], code: int, library: Path, small_hotpatch: SmallHotpatch,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    old = old_build_id(small_hotpatch)
    host(monkeypatch, process(1, old), process(2, old), **outcomes)
    assert heal(library) == code
    shown = capsys.readouterr().out
    assert ("still run" in shown) == (code != 0)


def test_what_no_hotpatch_closes_is_exit_9_and_beside_good_ones_8(
    library: Path, small_hotpatch: SmallHotpatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package owns neither file here; only what the library knows by build-id is meant."""
    old = old_build_id(small_hotpatch)
    host(monkeypatch, process(1, old, disk="ee" * 20))
    assert heal(library) == 0
    applied = ProcessOutcome(ProcessKey(1, 1), "", "", "applied")
    assert of_healing([], remaining=False, interrupted=False) == 0
    assert of_healing([], remaining=True, interrupted=False) == 9
    assert of_healing([applied], remaining=True, interrupted=False) == 8
    assert of_healing([applied], remaining=True, interrupted=True) == 130


def test_what_cannot_be_read_is_never_called_healed(
    library: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host(monkeypatch, ScannedProcess(ProcessKey(FAR + 1, 1), "server", (), "Not permitted."))
    assert heal(library) == 0
    shown = capsys.readouterr().out
    assert "1 process could not be read" in shown
    assert "no process that could be read runs old code" in shown
    assert heal(library, "--json") == 0
    assert answer(capsys)["unreadable"] == 1


def test_nobody_vouches(
    library: Path, small_hotpatch: SmallHotpatch, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    engine = host(monkeypatch, process(1, old_build_id(small_hotpatch)))
    assert main(["heal", "--hotpatches", str(library)]) == 2
    assert "--unsigned-dev" in capsys.readouterr().err
    assert engine.calls == []
    assert heal(library) == 0
    assert "nobody vouches" in capsys.readouterr().err


def test_a_package_that_is_nowhere_is_a_mistake(
    library: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host(monkeypatch)
    assert heal(library, "dpkg") == 0  # installed, and nothing runs old code of it
    assert heal(library, "dpgk") == 2
    assert "'dpgk'" in capsys.readouterr().err


def test_other_packages_are_left_alone(
    library: Path, small_hotpatch: SmallHotpatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = host(monkeypatch, process(1, old_build_id(small_hotpatch)))
    assert heal(library, "dpkg") == 0
    assert engine.calls == []


def test_without_a_library_everything_else_is_still_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(library_argument, "DEFAULT", tmp_path / "none")
    host(monkeypatch, process(1, "ab" * 20))
    assert main(["heal"]) == 0
    assert main(["heal", "--hotpatches", str(tmp_path / "none")]) == 2
    capsys.readouterr()
    assert main(["scan"]) == 0
    assert f"There are no hotpatches in {tmp_path / 'none'}." in capsys.readouterr().out


def test_a_file_of_the_library_that_is_not_usable_is_said(
    library: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (library / "bad\x1b.naht").write_bytes(b"PK")
    host(monkeypatch)
    assert main(["scan", "--hotpatches", str(library), "--json"]) == 0
    captured = capsys.readouterr()
    assert "bad\\x1b.naht is not used: Not a hotpatch" in captured.err
    document = json.loads(captured.out)
    assert document["library"]["hotpatches"] == 1
    assert len(document["library"]["problems"]) == 1


def test_scan_says_what_closes_it_and_what_does_not(
    library: Path, small_hotpatch: SmallHotpatch, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    old = old_build_id(small_hotpatch)
    outcomes: dict[str, Outcome] = dict.fromkeys((f"p{n}" for n in range(1, 6)), "would-apply")
    outcomes["p6"] = "refused"
    many = [process(n, old) for n in range(1, 7)]
    engine = host(monkeypatch, *many, process(7, "ef" * 20), **outcomes)
    assert main(["scan", "--hotpatches", str(library)]) == 0
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if "hotpatch SMALL-1" in line)
    assert row.startswith(f"{FAR + 1} {FAR + 2} {FAR + 3} {FAR + 4} +1  ")  # alike share a row
    assert "restart (no-hotpatch)" in shown
    assert "restart (refused)" in shown
    assert "7 processes run old code, 5 can be healed without a restart, 2 need" in shown
    assert f"next: naht heal --dry-run --hotpatches {library}" in shown
    assert all(dry for _, _, dry, _ in engine.calls)
    engine.calls.clear()
    assert main(["scan", "--hotpatches", str(library), "--no-trial", "--json"]) == 0
    assert engine.calls == []
    remedies = {f["key"]["pid"] - FAR: f["remedy"] for f in answer(capsys)["findings"]}
    assert remedies == dict.fromkeys(range(1, 7), "hotpatch") | {7: "restart"}


# --- the apt hook ------------------------------------------------------------------------------


@pytest.fixture
def hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "95naht-heal"
    monkeypatch.setattr(apt_hook, "PATH", path)
    program = tmp_path / "naht"
    program.write_text('#!/bin/sh\necho "$@" >"$0.ran"\necho healed\nexit 9\n')
    program.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(program)])
    return path


def test_the_hook_is_written_and_removed(
    hook: Path, library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["heal", "--install-apt-hook", "--hotpatches", str(library), "--beyond"]
    assert main(words) == 2  # nobody would vouch for what it applies
    assert not hook.exists()
    assert main([*words, "--unsigned-dev"]) == 0
    assert main([*words, "--unsigned-dev"]) == 0  # again: the same
    command = (
        f"{hook.parent}/naht heal --hotpatches {library} --attempts 12 --longest-loan 10 "
        "--beyond --unsigned-dev"
    )
    assert f"timeout --kill-after=30 300 {command} </dev/null" in hook.read_text()
    assert main(["heal", "--remove-apt-hook"]) == 0
    assert not hook.exists()
    assert main(["heal", "--remove-apt-hook"]) == 0
    hook.write_text("// somebody else's\n")
    assert main(["heal", "--remove-apt-hook"]) == 2
    assert main([*words, "--unsigned-dev"]) == 2
    assert hook.read_text() == "// somebody else's\n"


def script_of(hook: Path) -> str:
    """What apt's own parser would have the shell run."""
    command = ["apt-config", "-c", str(hook), "dump"]
    dumped: str = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (script,) = [
        line.partition('"')[2].removesuffix('";')
        for line in dumped.splitlines()
        if line.startswith("DPkg::Post-Invoke::") and str(hook.parent) in line
    ]
    return script


def test_apt_reads_the_hook_and_the_shell_runs_it(hook: Path, library: Path) -> None:
    """A failing heal, or none at all, ends well."""
    assert main(["heal", "--install-apt-hook", "--unsigned-dev", "--hotpatches", str(library)]) == 0
    script = script_of(hook)
    done = subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True)
    assert "healed" in done.stderr
    ran = hook.parent / "naht.ran"
    assert ran.read_text().split()[0] == "heal"
    ran.unlink()
    (hook.parent / "naht").unlink()
    done = subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_the_hook_leaves_alone_what_apt_wrote_to_a_file_before(
    hook: Path, library: Path, tmp_path: Path
) -> None:
    assert main(["heal", "--install-apt-hook", "--unsigned-dev", "--hotpatches", str(library)]) == 0
    script = script_of(hook)
    log = tmp_path / "upgrade.log"
    with log.open("w") as stream:
        stream.write("what apt did\n")
        stream.flush()
        subprocess.run(["sh", "-c", script], check=True, stdout=stream, stderr=stream)
    assert log.read_text().startswith("what apt did\n")
    assert "healed" in log.read_text()


@pytest.mark.parametrize("hung", ["naht", "logger"])
def test_the_hook_waits_for_nobody(
    hook: Path, library: Path, hung: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a heal nor a journal that hangs keeps apt: without limits this test has no end."""
    monkeypatch.setattr(apt_hook, "TIME_LIMIT", 1)
    monkeypatch.setattr(apt_hook, "GRACE", 1)
    assert main(["heal", "--install-apt-hook", "--unsigned-dev", "--hotpatches", str(library)]) == 0
    stuck = hook.parent / hung
    stuck.write_text("#!/bin/sh\ntrap '' TERM\nexec sleep infinity\n")
    stuck.chmod(0o755)
    monkeypatch.setenv("PATH", f"{hook.parent}:{os.environ['PATH']}")
    subprocess.run(["sh", "-c", script_of(hook)], check=True, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("words", [["dpkg"], ["--dry-run"], ["--json"]])
def test_the_hook_takes_no_other_options(hook: Path, words: list[str]) -> None:
    assert main(["heal", "--install-apt-hook", "--unsigned-dev", *words]) == 2
    assert not hook.exists()
