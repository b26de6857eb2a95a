"""Text written by others cannot command the terminal; colours obey the environment."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naht.cli.terminal import clean, paint, symbols, write
from naht.cli.units import count, duration, memory


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("nginx: worker", "nginx: worker"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb", r"a\nb"),
        ("evil\u202etxt.exe", r"evil\u202etxt.exe"),
        ("\udcff", r"\udcff"),
        ("Füße ✓", "Füße ✓"),
    ],
)
def test_clean_shows_what_could_command_a_terminal(raw: str, shown: str) -> None:
    assert clean(raw) == shown


@given(st.text())
def test_clean_text_is_harmless_and_stays_so(text: str) -> None:
    shown = clean(text)
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in shown)
    assert clean(shown) == shown


def test_colours_are_off_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert paint("x", "bad", io.StringIO()) == "x"


def test_no_color_wins_over_force_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert paint("x", "bad") == "\x1b[1;31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("x", "bad") == "x"


def test_write_to_a_narrow_encoding_loses_no_line() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    write("µs ✓", stream)
    assert raw.getvalue() == b"\\xb5s \\u2713\n"
    assert symbols(stream)["good"] == "+"


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ns"), (999, "999 ns"), (1_000, "1 µs"), (240_400, "240 µs"), (999_400, "999 µs"),
        (999_600, "1 ms"), (2_412_000, "2.41 ms"), (12_340_000, "12.3 ms"),
        (1_200_000_000, "1.2 s"),
    ],
)  # fmt: skip
def test_duration(nanoseconds: int, text: str) -> None:
    assert duration(nanoseconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (12_288, "12 KiB"), (5 << 20, "5 MiB"),
     (3 << 30, "3 GiB")],
)  # fmt: skip
def test_memory(size: int, text: str) -> None:
    assert memory(size) == text


def test_count_knows_its_plural() -> None:
    assert count(1, "process", "processes") == "1 process"
    assert count(1200, "function") == "1,200 functions"
