"""Which of the makes that a build ran are run again, and with what."""

from __future__ import annotations

from pathlib import Path

import pytest

from naht.build.debian import replay
from naht.build.native.recording import Invocation


def maker(
    tree: Path, *arguments: str, number: int = 1, tool: str = "make", **more: str
) -> Invocation:
    return Invocation(
        id=f"{number:08}-7",
        kind="maker",
        tool=Path("/usr/bin") / tool,
        cwd=tree,
        arguments=arguments,
        environment=more,
        succeeded=True,
    )


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    monkeypatch.setattr(replay, "_run", lambda record, log: found.append(record.arguments))
    return found


def run(tree: Path, *makers: Invocation, shipped: tuple[str, ...] = ()) -> None:
    replay.replay(makers, shipped, tree, tree / "log", lambda: None)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-j4", "all"),
        ("-C", "lib", "V=1"),
        ("-f", "Makefile"),
        ("--file=Makefile", "all"),
        ("latest",),  # is no test
        ("-Wq.c", "all"),  # a value, not a cluster of options
        ("-Ivpath", "all"),
    ],
)
def test_what_makes_something_is_run_again(
    tmp_path: Path, ran: list[tuple[str, ...]], arguments: tuple[str, ...]
) -> None:
    (tmp_path / "Makefile").touch()
    run(tmp_path, maker(tmp_path, *arguments))
    assert ran == [arguments]


@pytest.mark.parametrize(
    "arguments",
    [
        ("check",),
        ("-j2", "run-tests", "test"),
        ("distclean",),
        ("lib/clean",),
        ("-n", "all"),
        ("-sn",),
        ("-Rrnpsf", "debian/rules", "debhelper-fail-me"),
        ("--dry-run",),
        ("-v",),
        ("-f", "-"),
        ("-f", "conftest.make"),  # configure made it, and removed it
    ],
)
def test_what_makes_nothing_is_not(
    tmp_path: Path, ran: list[tuple[str, ...]], arguments: tuple[str, ...]
) -> None:
    run(tmp_path, maker(tmp_path, *arguments))
    assert ran == []


def test_only_in_directories_that_are_still_there(
    tmp_path: Path, ran: list[tuple[str, ...]]
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    run(tree, maker(tree / "gone", "all"), maker(tmp_path, "outside"))
    assert ran == []


def test_ninja_prints_with_other_letters(tmp_path: Path, ran: list[tuple[str, ...]]) -> None:
    run(tmp_path, maker(tmp_path, "-v", "-j2", tool="ninja"))
    assert ran == [("-v", "-j2")]


def test_installing_is_run_again_only_if_it_links_what_ships(
    tmp_path: Path, ran: list[tuple[str, ...]]
) -> None:
    build = maker(tmp_path, "all", number=10)
    install = maker(tmp_path, "install", "DESTDIR=/x", number=20)
    run(tmp_path, build, install, shipped=("00000015-9",))
    assert ran == [("all",)]
    ran.clear()
    run(tmp_path, build, install, shipped=("00000025-9",))
    assert ran == [("all",), ("install", "DESTDIR=/x")]


def test_what_failed_is_not_run_again(tmp_path: Path, ran: list[tuple[str, ...]]) -> None:
    failed = Invocation(
        id="1", kind="maker", tool=Path("/usr/bin/make"), cwd=tmp_path, arguments=(),
        environment={}, succeeded=False,
    )  # fmt: skip
    run(tmp_path, failed)
    assert ran == []
