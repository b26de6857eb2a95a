"""Sentences on a terminal: wrapped between words. Piped, each stays one line, for grep."""

from __future__ import annotations

import shutil
import textwrap

from naht.cli.terminal import Style, clean, is_terminal, paint, write

NARROWEST = 40


def write_sentence(text: str, *, label: str = "", style: Style | None = None) -> None:
    """`label` is painted in `style`; without one, the whole text is."""
    first, *rest = _lines(clean(text), label)
    if label:
        write(paint(label, style) + first[len(label) :])
    for line in rest if label else [first, *rest]:
        write(line if label else paint(line, style))


def _lines(text: str, label: str) -> list[str]:
    whole = f"{label} {text}" if label else text
    if not is_terminal():
        return [whole]
    width = max(NARROWEST, shutil.get_terminal_size().columns)
    indent = "  " if label else ""
    return textwrap.wrap(
        whole, width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    ) or [whole]
