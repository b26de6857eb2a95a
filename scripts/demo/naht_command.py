"""Runs the real `naht` command, shown as a person types it; any exit code but 0 ends the demo."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from scripts.demo.screen import Screen

TIMEOUT = 900.0  # a guard against hanging


class DemoFailedError(Exception):
    """Something that the demo promises does not hold."""


class NahtCommand:
    def __init__(self, screen: Screen, folder: Path) -> None:
        self._screen = screen
        self._folder = folder
        self._program = str(Path(sys.executable).with_name("naht"))

    def show(self, *words: str) -> None:
        """Runs it in the open: its output is for whoever watches."""
        self._screen.command(["naht", *words])
        self._run(words, None)

    def show_into(self, name: str, *words: str) -> Any:
        """Runs it with its JSON going to a file, and returns what is in there."""
        self._screen.command(["naht", *words], output=name)
        return self._json(name, words)

    def ask(self, *words: str) -> Any:
        """Runs it out of sight, for the demo's own checks."""
        return self._json("answer.json", words)

    def _json(self, name: str, words: tuple[str, ...]) -> Any:
        path = self._folder / name
        with path.open("wb") as output:
            self._run(words, output.fileno())
        return json.loads(path.read_text())

    def _run(self, words: tuple[str, ...], output: int | None) -> None:
        sys.stdout.flush()
        try:
            result = subprocess.run(
                [self._program, *words], cwd=self._folder, stdout=output, timeout=TIMEOUT,
                check=False,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise DemoFailedError(f"{self._program} is missing: run `make setup`.") from error
        except subprocess.TimeoutExpired as error:
            raise DemoFailedError(f"`naht {words[0]}` took over {TIMEOUT:.0f} s.") from error
        if result.returncode != 0:
            raise DemoFailedError(f"`naht {words[0]}` ended with exit code {result.returncode}.")
