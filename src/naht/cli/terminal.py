"""What reaches the terminal: colours (or none), and text that cannot command it.

Process names, paths and manifests are written by others, so every such string goes through `clean`
before it is shown. It refuses to fail when the reader of standard output has gone away.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from typing import Literal, TextIO

Style = Literal["good", "bad", "warn", "dim", "bold", "name", "added", "removed"]

_CODES: dict[Style, str] = {
    "good": "32",
    "bad": "1;31",
    "warn": "33",
    "dim": "2",
    "bold": "1",
    "name": "36",
    "added": "32",
    "removed": "31",
}


def colours(stream: TextIO | None = None) -> bool:
    """See no-color.org; FORCE_COLOR is its counterpart, for pagers and recordings."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_terminal(stream) and os.environ.get("TERM") != "dumb"


def is_terminal(stream: TextIO | None = None) -> bool:
    try:
        return (stream or sys.stdout).isatty()
    except ValueError:  # closed
        return False


def paint(text: str, style: Style | None, stream: TextIO | None = None) -> str:
    if style is None or not text or not colours(stream):
        return text
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m"


def clean(text: str) -> str:
    """`text` with control, bidirectional and unassigned characters written as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _is_harmless(c) else _escape(c) for c in text)


def clean_command(command: str, width: int = 40) -> str:
    """A process's command line, for people: they know it by its beginning."""
    text = clean(command) or "?"
    return text if len(text) <= width else text[: width - 1] + ("…" if symbols_fit() else "+")


def _is_harmless(character: str) -> bool:
    # Cc: control, Cf: format (bidi overrides), Cs: surrogates, Co/Cn: private and unassigned,
    # Zl/Zp: line and paragraph separators.
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def write(text: str, stream: TextIO | None = None) -> None:
    """Writes a line. A closed pipe ends the output, not the work (`naht apply --all | head`)."""
    target = stream or sys.stdout
    try:
        target.write(text + "\n")
        target.flush()
    except UnicodeEncodeError:
        encoding = target.encoding or "ascii"
        target.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        target.flush()
    except BrokenPipeError:
        mute(target)


def mute(stream: TextIO) -> None:
    """Lets the stream write into nothing, so that the interpreter's last flush is quiet, too."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, stream.fileno())
    os.close(nothing)


def warn(text: str) -> None:
    write(paint("warning: ", "bad", sys.stderr) + paint(text, "bad", sys.stderr), sys.stderr)


def symbols_fit(stream: TextIO | None = None) -> bool:
    encoding = (stream or sys.stdout).encoding or ""
    return encoding.lower().replace("-", "") == "utf8"


def symbols(stream: TextIO | None = None) -> dict[str, str]:
    if symbols_fit(stream):
        return {"good": "✓", "bad": "✗", "neutral": "·", "arrow": "→"}
    return {"good": "+", "bad": "x", "neutral": "-", "arrow": "->"}
