"""What a make wrote again as it was keeps its time: the next make compiles nothing for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from naht.build.debian.kept_times import keep_times

BEFORE, NOW = 1_000_000_000 * 10**9, 1_700_000_000 * 10**9


@pytest.fixture
def layers(tmp_path: Path) -> tuple[Path, Path]:
    """(upper and shown at once, below)"""
    upper, below = tmp_path / "upper", tmp_path / "below"
    for directory in (upper, below):
        (directory / "sub").mkdir(parents=True)
    return upper, below


def write(path: Path, content: str, time: int) -> Path:
    path.write_text(content)
    os.utime(path, ns=(time, time))
    return path


@pytest.mark.parametrize(
    ("name", "written", "time"),
    [
        pytest.param("sub/config.h", "one", BEFORE, id="as before"),
        pytest.param("sub/config.h", "two", NOW, id="another content of the same size"),
        pytest.param("sub/unit.o", "one", NOW, id="a compiler wrote it"),
        pytest.param("sub/unit.lo", "one", NOW, id="libtool's stamp of an object"),
    ],
)
def test_only_what_is_as_before_gets_its_time_back(
    layers: tuple[Path, Path], name: str, written: str, time: int
) -> None:
    upper, below = layers
    write(below / name, "one", BEFORE)
    file = write(upper / name, written, NOW)
    keep_times(upper, below, upper, {upper / "sub/unit.o"})
    assert file.stat().st_mtime_ns == time


def test_what_is_new_or_of_another_kind_is_left_alone(layers: tuple[Path, Path]) -> None:
    upper, below = layers
    new = write(upper / "new.h", "one", NOW)
    write(below / "real.h", "one", BEFORE)
    (below / "was-link.h").symlink_to("real.h")
    replaced = write(upper / "was-link.h", "one", NOW)
    os.mkfifo(upper / "pipe")
    (upper / "link.h").symlink_to("nowhere")
    write(below / "link.h", "one", BEFORE)
    keep_times(upper, below, upper, set())
    assert new.stat().st_mtime_ns == replaced.stat().st_mtime_ns == NOW
