"""The frame of the command line: finding commands, errors in words and as JSON, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from naht.cli.main import COMMANDS, main
from naht.errors import BuildRefusedError


def test_without_arguments_it_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    for name, (_, summary) in COMMANDS.items():
        assert name in shown
        assert summary in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*name.split(), "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"  naht {name}" in shown  # an example
    assert "exit codes:" in shown


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["aply"]) == 2
    assert "`naht apply`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["apply"],
        ["apply", "x.naht"],
        ["apply", "x.naht", "--all", "--pid", "1"],
        ["apply", "x.naht", "--pid", "0"],
        ["apply", "x.naht", "--pid", "12x"],
        ["apply", "x.naht", "--all", "--attempts", "0"],
        ["apply", "x.naht", "--al"],
        ["revert", "--all"],
        ["status", "--pid", "-1"],
        ["build", "nativ"],
    ],
)
def test_wrong_usage_is_exit_2_with_a_next_step(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert "\nnext:  " in shown.err


def test_errors_are_one_document_with_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "/nonexistent.naht", "--json"]) == 2
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert document["schema"] == "naht.error/1"
    assert document["exit_code"] == 2
    assert document["error"]["kind"] == "UsageError"
    assert "/nonexistent.naht" in document["error"]["cause"]
    assert document["error"]["next_step"]
    assert shown.err == ""


def test_a_cause_of_several_lines_stays_readable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_words: list[str]) -> int:
        raise BuildRefusedError(
            "layout", "struct a grew.\nstruct \x1bb grew.", "Do.", where="a.c:3"
        )

    monkeypatch.setattr("naht.cli.main.dispatch", refuse)
    assert main([]) == 4
    assert capsys.readouterr().err == (
        "error: a.c:3: struct a grew.\n       struct \\x1bb grew.\nnext:  Do.\n"
    )


def test_a_bug_ends_in_words_and_exit_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_words: list[str]) -> int:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("naht.cli.main.dispatch", fail)
    monkeypatch.delenv("NAHT_DEBUG", raising=False)
    assert main([]) == 1
    assert "ZeroDivisionError: division by zero" in capsys.readouterr().err
    monkeypatch.setenv("NAHT_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main([])


def test_json_needs_neither_rich_nor_a_compiler_s_tools(tmp_path: Path) -> None:
    """Start-up is part of the time from command to effect."""
    program = (
        "import sys\nfrom naht.cli.main import main\n"
        f"main(['apply', {str(tmp_path / 'no.naht')!r}, '--all', '--json', '--unsigned-dev'])\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stderr.split())
    assert "naht.cli.apply" in loaded
    assert not loaded & {"rich", "elftools", "iced_x86", "concurrent.futures", "naht.cli.inspect"}


def test_a_reader_that_goes_away_is_no_error() -> None:
    """The pipe's reading end is closed before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "naht", "--help"],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
