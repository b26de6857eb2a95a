"""How the demo speaks: headings, findings, commands as a person types them, one summary."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from scripts.demo.case import Proof

WIDTH = 100
PROOF_STYLE = {"open": "bold red", "closed": "bold green", "unexpected": "bold magenta"}
PROOF_WORD = {"open": "HOLE OPEN", "closed": "HOLE CLOSED", "unexpected": "UNEXPECTED"}


class Screen:
    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._console.width = min(self._console.width, WIDTH)
        self._step = 0

    def title(self, text: str) -> None:
        self._console.print()
        self._console.rule(Text(text, style="bold"), align="left", style="dim")

    def step(self, text: str) -> None:
        self._step += 1
        self._console.print()
        self._console.print(Text.assemble((f"{self._step:2}  ", "bold cyan"), (text, "bold")))

    def say(self, text: str, style: str = "") -> None:
        self._indented(Text(text, style=style))

    def command(self, words: Sequence[str], output: str = "") -> None:
        shown = _wrapped(words) + (f" > {output}" if output else "")
        self._console.print()
        line = Text.assemble(("  $ ", "bold green"), (shown, "bold"))
        self._console.print(line, soft_wrap=True)

    def proof(self, proof: Proof) -> None:
        mark = Text(PROOF_WORD[proof.finding], style=PROOF_STYLE[proof.finding])
        self._console.print()
        self._indented(mark + Text(f"  {proof.question}  →  {proof.answer}", style="default"))
        self._indented(Text(proof.meaning, style="dim"))

    def warn(self, text: str) -> None:
        self._indented(Text(text, style="yellow"))

    def failure(self, text: str) -> None:
        self._console.print()
        self._console.print(Panel(Text(text), title="the demo failed", border_style="red"))

    def _indented(self, text: Text) -> None:
        self._console.print(Padding(text, (0, 0, 0, 4), expand=False))

    def summary(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", justify="right", no_wrap=True)
        table.add_column()
        for name, value in rows:
            table.add_row(name, value)
        self._console.print()
        self._console.print(
            Panel(table, title=f"[bold green]{title}", border_style="green", expand=False)
        )


def _wrapped(words: Sequence[str]) -> str:
    """A long command over several lines, broken before options, as one writes it into a script."""
    lines = [""]
    for option in _options(words):
        if lines[-1] and len(lines[-1]) + len(option) > WIDTH - 14:
            lines.append("")
        lines[-1] += option + " "
    return " \\\n        ".join(line.rstrip() for line in lines)


def _options(words: Sequence[str]) -> list[str]:
    """Each option together with its values."""
    groups: list[list[str]] = [[]]
    for word in words:
        if word.startswith("-"):
            groups.append([])
        groups[-1].append(word)
    return [shlex.join(group) for group in groups]
