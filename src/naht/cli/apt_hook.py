"""The opt-in hook that runs `naht heal` after every apt run.

Owns one file of apt's configuration. Whatever happens in the hook, apt's own run succeeds: it is
bounded in time, its exit status is dropped, and its output goes to the terminal and the journal.
Refuses to touch a file that it did not write.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from naht.cli import exit_codes
from naht.cli.library_argument import DEFAULT
from naht.cli.terminal import paint, symbols, write
from naht.errors import UsageError
from naht.releases.client.settings import SETTINGS, forbid_unsigned, has_repository

PATH = Path("/etc/apt/apt.conf.d/95naht-heal")
MARK = "// Written by `naht heal --install-apt-hook`; `naht heal --remove-apt-hook` removes it."
TIME_LIMIT = 300  # seconds; heal then ends between two processes
GRACE = 30
LOG_TAG = "naht-heal"


def change(arguments: argparse.Namespace) -> int:
    if arguments.packages or arguments.dry_run or arguments.json:
        raise UsageError(
            "The apt hook takes no packages, no --dry-run and no --json.",
            "Give it --hotpatches, --beyond, --attempts, --longest-loan and --unsigned-dev only.",
        )
    _check_ours()
    if arguments.remove_apt_hook:
        return _remove()
    if arguments.unsigned_dev:
        forbid_unsigned()
    elif arguments.hotpatches or not has_repository():
        raise UsageError(
            "The hook could apply nothing: no signed repository is configured, or not chosen.",
            f"Write {SETTINGS} (docs/repository.md), and leave --hotpatches away. For development, "
            "add --unsigned-dev: the hook will then run with it, too.",
        )
    _write(hook_text(_command(arguments)))
    _say(f"apt will run `naht heal`: {PATH}")
    return exit_codes.GOOD


def hook_text(command: list[str]) -> str:
    """apt runs it with `sh -c`. A program that is gone (naht was removed) is nothing to complain
    about; what is said also goes to the journal, where there is one, and never waits for it. Where
    apt's output goes to a file, tee must not begin that file anew."""
    program = shlex.quote(command[0])
    bounded = ["timeout", f"--kill-after={GRACE}", str(TIME_LIMIT), *command]
    log = f"timeout --kill-after={GRACE} {TIME_LIMIT + GRACE} logger -t {LOG_TAG}"
    script = (
        f"test -x {program} || exit 0; {shlex.join(bounded)} </dev/null 2>&1 | "
        f"tee -a /dev/stderr | {log} 2>/dev/null; exit 0"
    )
    if '"' in script or "\\" in script or "\n" in script:
        raise UsageError("A path holds a character that apt cannot quote.", "Rename it.")
    return f'{MARK}\nDPkg::Post-Invoke {{ "{script}"; }};\n'


def _command(arguments: argparse.Namespace) -> list[str]:
    command = [_own_program(), "heal"]
    if arguments.unsigned_dev:
        command += ["--hotpatches", str((arguments.hotpatches or DEFAULT).absolute())]
    command += ["--attempts", str(arguments.attempts)]
    command += ["--longest-loan", str(arguments.longest_loan)]
    command += ["--beyond"] if arguments.beyond else []
    return [*command, "--unsigned-dev"] if arguments.unsigned_dev else command


def _own_program() -> str:
    program = Path(sys.argv[0]).absolute()
    if program.name == "naht" and os.access(program, os.X_OK):
        return str(program)
    raise UsageError(
        f"{program} is not the installed command.", "Run the hook's installation as `naht heal …`."
    )


def _check_ours() -> None:
    try:
        ours = PATH.read_text().startswith(MARK)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"Cannot read {PATH}: {error.strerror}.", "Run it as root.") from error
    if not ours:
        raise UsageError(f"{PATH} was not written by naht.", "Move it out of the way first.")


def _write(text: str) -> None:
    draft = PATH.with_name(f".{PATH.name}.draft")  # apt reads no hidden files
    try:
        draft.write_text(text)
        draft.chmod(0o644)
        draft.replace(PATH)
    except OSError as error:
        raise UsageError(f"Cannot write {PATH}: {error.strerror}.", "Run it as root.") from error


def _remove() -> int:
    try:
        PATH.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"Cannot remove {PATH}: {error.strerror}.", "Run it as root.") from error
    _say(f"apt no longer runs `naht heal`: {PATH} is gone")
    return exit_codes.GOOD


def _say(text: str) -> None:
    write(paint(f"{symbols()['good']} {text}", "good"))
