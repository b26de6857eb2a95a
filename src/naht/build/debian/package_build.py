"""Builds one source package whole, as the distribution's build daemons do (dpkg-buildpackage in a
clean root, as an unprivileged account, without network), recorded.

Refuses nothing; a build that fails is a ToolError that shows the end of its log. The result is
never written again: later builds see it through overlays.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from naht.build.debian.build_path import FIXED, build_path
from naht.build.debian.cache import Entry
from naht.build.debian.changelog import read_changelog
from naht.build.debian.clean_root import QUICK, CleanRoot
from naht.build.debian.enclosure import BUILDER, ENVIRONMENT, Layered
from naht.build.native.toolchain import Recorder, install_recorder
from naht.errors import ToolError

RECORDER = "/naht/recorder"
_RULES = "make -f debian/rules"  # through the PATH, so that the recorder sees the makes below it
_SHEBANG = re.compile(rb"\A#!\s*/usr/bin/make\s+")
_TAIL = 30
_HOW = "build.json"


@dataclass(frozen=True)
class BuiltPackage:
    """`build` is what was at `place`, `recorder` what was at RECORDER."""

    path: Path
    root: CleanRoot
    tree_name: str

    @property
    def build(self) -> Path:
        return self.path / "build"

    @property
    def recorder(self) -> Path:
        return self.path / "recorder"

    @property
    def place(self) -> str:
        """Inside."""
        return str(json.loads((self.path / _HOW).read_text()).get("place", FIXED))

    @property
    def tree(self) -> str:
        """Inside."""
        return f"{self.place}/{self.tree_name}"


def build_package(
    entry: Entry,
    tree: Path,
    tree_name: str,
    root: CleanRoot,
    *,
    timestamp: int,
    jobs: int,
    profiles: tuple[str, ...] = QUICK,
) -> BuiltPackage:
    """`tree`: the unpacked source, copied to its place. timestamp: seconds, of its changelog."""
    if entry.failure:
        raise _failed(entry)
    built = BuiltPackage(entry.path, root, tree_name)
    shutil.copytree(tree, built.build / tree_name, symlinks=True)
    _find_make_by_path(built.build / tree_name / "debian/rules")
    built.recorder.mkdir()
    how = _how(tree, timestamp, jobs, profiles)
    (entry.path / _HOW).write_text(json.dumps(how))
    mounts = (
        Layered(built.place, (str(built.build),)),
        Layered(RECORDER, (str(built.recorder),)),
    )
    enclosure = root.enclosure(entry.path / "scratch", mounts)
    log = entry.path / "build.log"
    enclosure.call("naht.build.debian.package_build:prepare", {"tree": built.tree}, log)
    status = enclosure.run(
        how["command"], log, cwd=built.tree, user=BUILDER, environment=how["environment"]
    )
    if status:
        entry.fail(f"{tree_name} does not build (status {status}):\n{_tail(log)}")
        raise _failed(entry)
    shutil.rmtree(entry.path / "scratch", ignore_errors=True)
    return built


def _failed(entry: Entry) -> ToolError:
    return ToolError(
        entry.failure,
        f"All of its output is in {entry.path}/build.log; remove that directory to try again.",
    )


def _how(tree: Path, timestamp: int, jobs: int, profiles: tuple[str, ...]) -> dict[str, Any]:
    """All that a second build of the same tree needs to know."""
    source = read_changelog(tree)[0].text.partition(" ")[0]
    return {
        "place": build_path(source, timestamp),
        "command": [
            "dpkg-buildpackage", "-B", "-uc", "-us", f"-P{','.join(profiles)}",
            f"--rules-file={_RULES}",
        ],
        "environment": {
            **recorded_environment(timestamp),
            "DEB_BUILD_OPTIONS": f"{' '.join(profiles)} parallel={jobs}",
        },
    }  # fmt: skip


def _find_make_by_path(rules: Path) -> None:
    """`dh` runs the rules as a script. $(MAKE) is then what its first line names, and an absolute
    name would hide those makes from the recorder."""
    text = rules.read_bytes()
    rules.write_bytes(_SHEBANG.sub(b"#!/usr/bin/env -S make ", text, count=1))


def build_whole(tree: Path, log: Path, how: Path) -> None:
    """Inside: the same build again, of the tree that is there now. `how`: as the first left it."""
    job = json.loads(how.read_text())
    subprocess.run(["chown", "-R", f"{BUILDER}:{BUILDER}", str(tree)], check=True)
    with log.open("ab") as stream:
        done = subprocess.run(
            job["command"], cwd=tree, env=job["environment"], user=BUILDER, group=BUILDER,
            extra_groups=[], stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            umask=0o022, check=False,
        )  # fmt: skip
    if done.returncode:
        raise ToolError(
            f"The changed {tree.name} does not build (status {done.returncode}):\n{_tail(log)}",
            f"All of its output is in {log.name} beside the result.",
        )


def recorded_environment(timestamp: int) -> dict[str, str]:
    recorder = Recorder(Path(RECORDER), ())
    return recorder.environment({**ENVIRONMENT, "SOURCE_DATE_EPOCH": str(timestamp)})


def prepare(tree: str) -> None:
    """Inside: the recorder for the tools of the root, and everything owned by the builder."""
    home = Path(RECORDER)
    install_recorder(home, ENVIRONMENT["PATH"])
    for top in (home, Path(tree).parent):
        for directory, _, files in os.walk(top):
            for path in (directory, *(os.path.join(directory, f) for f in files)):  # noqa: PTH118
                os.lchown(path, BUILDER, BUILDER)


def _tail(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 65536))
        return "\n".join(stream.read().decode(errors="replace").splitlines()[-_TAIL:])
