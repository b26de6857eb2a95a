"""The wheel stands alone: installed elsewhere, run from another folder, it patches a process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.builders.door import HOTPATCH_ID, ROOT, build_fix, make_door, running_door

pytestmark = [pytest.mark.live, pytest.mark.compiler]

SOURCES = ("src", "csrc", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that neither an earlier build nor the checkout gets mixed in."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            unwanted = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")
            shutil.copytree(source, folder / name, ignore=unwanted)
        else:
            shutil.copy(source, folder / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(folder)]
    subprocess.run(command, cwd=folder, check=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`naht` in a fresh environment that has the locked run-time dependencies and nothing else."""
    environment = tmp_path_factory.mktemp("host") / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "-q"]
    lock = str(ROOT / "requirements" / "run.txt")
    subprocess.run([*pip, "--require-hashes", "-r", lock], check=True)
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
    return environment / "bin" / "naht"


def test_one_wheel_serves_all_python_versions(wheel: Path) -> None:
    assert "-cp311-abi3-" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    assert "naht/_core.abi3.so" in names
    assert {"naht/py.typed", "naht/hotpatch/include/naht.h"} <= set(names)
    assert not [name for name in names if name.startswith(("tests", "scripts", "csrc"))]


def test_every_data_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "src/naht"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.removeprefix("src/") for name in listed} <= names


def test_it_inspects_and_patches_from_another_folder(installed: Path, tmp_path: Path) -> None:
    running = make_door(tmp_path)
    fix = build_fix(tmp_path, running)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def run(*words: str) -> str:
        done = subprocess.run(
            [installed, *words], cwd=elsewhere, capture_output=True, text=True, check=True
        )
        return done.stdout

    assert "usage: naht" in run("--help")
    assert HOTPATCH_ID in run("inspect", str(fix))
    with running_door(running) as door:
        assert door.ask("s") == "welcome"
        applied = json.loads(
            run("apply", str(fix), "--pid", str(door.pid), "--unsigned-dev", "--json")
        )
        assert [p["outcome"] for p in applied["processes"]] == ["applied"]
        assert door.ask("s") == "go away"
        assert door.ask("sesame") == "welcome"
        run("revert", HOTPATCH_ID, "--pid", str(door.pid))
        assert door.ask("s") == "welcome"
