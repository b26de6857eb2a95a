"""A source package that does what it can to leave its clean root: its own code runs while it is
built, and so do the tools that it names."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from naht.build.debian.cache import Cache
from naht.build.debian.change import SourceTrees, build_change
from naht.build.debian.change_job import Told
from naht.build.debian.whole_build import SourceState, Workshop
from naht.build.native.recording import Invocation, read_records
from naht.build.native.toolchain import Recorder
from tests.builders.test_debian_change import FILES

pytestmark = pytest.mark.compiler

# Works as the compiler that it stands for, and leaves a mark where only root may write: /naht/out
# is a directory of the host.
EVIL = """\
#!/bin/sh
touch /naht/out/written-by-the-package 2>/dev/null
exec /usr/bin/gcc "$@"
"""
RULES = FILES["debian/rules"].replace(
    "build-arch build:\n",
    "build-arch build:\n\tchmod +x evil && ln -sf $(CURDIR)/evil /naht/recorder/real/gcc\n",
)


def test_tools_that_the_package_names_never_run_as_root(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name, text in {**FILES, "evil": EVIL, "debian/rules": RULES}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    (tree / "debian/rules").chmod(0o755)
    description = tmp_path / "pond_1.0-1.dsc"
    description.write_text("Format: 3.0 (quilt)\nSource: pond\nVersion: 1.0-1\n")
    workshop = Workshop(Cache(tmp_path / "cache"), "none", "", 2, print, in_place=True)
    built = workshop.whole_build(SourceState("pond", "1.0-1", tree, description))

    fixed = tmp_path / "fixed"
    shutil.copytree(tree, fixed)
    (fixed / "depth.c").write_text(FILES["depth.c"].replace("-1", "-2"))
    out = tmp_path / "out"
    told = Told(id="pond-1.0-2", version="1.0-2")
    result = build_change(built, SourceTrees(tree, None, fixed), out, told, print)

    assert f"{built.tree}/evil" in {str(i.tool) for i in _compilers(built.recorder)}
    assert all(o.hotpatch for o in result.objects if o.shipped_as)
    assert not (out / "written-by-the-package").exists()


def _compilers(home: Path) -> list[Invocation]:
    recorder = Recorder(home, ())
    return [r for r in read_records(recorder, recorder.records) if r.kind == "driver"]
