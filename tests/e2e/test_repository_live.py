"""From a source change to a live process, through a signed repository on a real web server."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.builders.door import HOTPATCH_ID, build_fix, make_door, naht, running_door
from tests.builders.small_repository import PRODUCT, SmallRepository, serving

pytestmark = [pytest.mark.live, pytest.mark.compiler]


def run_json(*words: str | Path, expect: int = 0) -> Any:
    done = subprocess.run(naht(*words, "--json"), capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_live_process_gets_what_is_signed_and_nothing_else(tmp_path: Path) -> None:
    shipped = make_door(tmp_path)
    fix = build_fix(tmp_path, shipped)
    repository = SmallRepository(tmp_path / "publisher")
    repository.home.mkdir()
    repository.found()
    repository.release(fix.read_bytes(), HOTPATCH_ID)
    with running_door(shipped) as door, serving(repository.served) as server:
        settings = repository.write_settings(server.url)
        apply: list[str | Path] = [
            "apply",
            HOTPATCH_ID,
            "--pid",
            str(door.pid),
            "--repository",
            settings,
        ]
        server.misbehave = lambda handler: (
            handler.path.endswith(".naht") and handler.answer(bytes(len(handler.file())))
        )
        refused = run_json(*apply, expect=4)
        assert refused["error"]["reason"] == "altered"
        assert door.ask("s") == "welcome"  # the hole is still there, and nothing was touched
        server.misbehave = None
        applied = run_json(*apply)
        assert applied["hotpatch"]["origin"] == "repository"
        assert [p["outcome"] for p in applied["processes"]] == ["applied"]
        assert door.ask("s") == "go away"
        repository.withdraw(HOTPATCH_ID, "only a test", PRODUCT)
        assert run_json(*apply, expect=4)["error"]["reason"] == "withdrawn"
        assert door.ask("s") == "go away"  # until it is reverted
        run_json("revert", HOTPATCH_ID, "--pid", str(door.pid))
        assert door.ask("s") == "welcome"
