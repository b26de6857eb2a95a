"""Entry point of `naht`: finds the command, runs it, turns errors into words and exit codes.

Only the chosen command's module is imported, because what it needs decides how soon it starts.
Refuses to guess: an unknown command or option is an error with the nearest right one.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn, Protocol, cast

from naht import __version__
from naht.cli import exit_codes
from naht.cli.terminal import Style, clean, paint, write
from naht.errors import NahtError, RefusedError, UsageError

COMMANDS = {
    "build native": ("naht.cli.build_native", "turn a source change of C or C++ into a hotpatch"),
    "build debian": (
        "naht.cli.build_debian",
        "turn a Debian security update into hotpatches for what is installed",
    ),
    "inspect": ("naht.cli.inspect", "show what a hotpatch is for and what it changes"),
    "apply": ("naht.cli.apply", "put a hotpatch into live processes"),
    "revert": ("naht.cli.revert", "take a hotpatch out of live processes"),
    "status": ("naht.cli.status", "show which hotpatches are truly in memory"),
    "scan": ("naht.cli.scan", "show which live processes run which code"),
    "heal": ("naht.cli.heal", "after an upgrade: bring what runs to what is installed"),
    "calendar": ("naht.cli.calendar", "releases of a year, and the restarts that they mean"),
    "next": ("naht.cli.next_release", "what a device takes next, and whether it restarts"),
    "windows assess": ("naht.cli.windows_assess", "where a Windows device truly stands"),
    "windows import": ("naht.cli.windows_import", "add updates to the Windows record"),
    "repo key": ("naht.cli.repo.key", "make keys for a signed repository"),
    "repo init": ("naht.cli.repo.init", "found a signed repository of hotpatches"),
    "repo add": ("naht.cli.repo.add", "put hotpatches into its first channel"),
    "repo promote": ("naht.cli.repo.promote", "let a hotpatch go on to the next channel"),
    "repo withdraw": ("naht.cli.repo.withdraw", "offer a hotpatch no more, and say why"),
    "repo sign": ("naht.cli.repo.sign", "complete what waits for signatures, keep the rest fresh"),
    "repo rekey": ("naht.cli.repo.rekey", "give a role other keys"),
    "repo status": ("naht.cli.repo.status", "show what a repository has, and what expires when"),
    "repo verify": ("naht.cli.repo.verify", "judge a whole repository as a host would"),
}
GROUPS = {
    "build": "what can be built",
    "windows": "about Windows devices",
    "repo": "the signed repository",
}


class Command(Protocol):
    DESCRIPTION: str
    EXAMPLES: str

    def configure(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", f"See `{self.prog} --help`.")


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return dispatch(words)
    except NahtError as error:
        return report_error(error, as_json="--json" in words)
    except KeyboardInterrupt:
        write("interrupted", sys.stderr)
        return exit_codes.INTERRUPTED
    except Exception as error:  # noqa: BLE001  (a bug of ours still ends in words and a code)
        return report_bug(error, as_json="--json" in words)


def dispatch(words: list[str]) -> int:
    name = command_name(words)
    if not name:
        return general_help(words)
    command = cast("Command", import_module(COMMANDS[name][0]))
    parser = command_parser(name, command)
    return command.run(parser.parse_args(words[len(name.split()) :]))


def command_name(words: list[str]) -> str:
    return next((c for c in COMMANDS if words[: len(c.split())] == c.split()), "")


def command_parser(name: str, command: Command) -> Parser:
    parser = Parser(
        prog=f"naht {name}",
        description=command.DESCRIPTION,
        epilog=f"examples:\n{command.EXAMPLES.rstrip()}\n\n{exit_codes.EXPLAINED}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.configure(parser)
    return parser


def general_help(words: list[str]) -> int:
    if not words or words in (["--help"], ["-h"], ["help"]):
        write(help_text())
        return exit_codes.GOOD
    if words == ["--version"]:
        write(f"naht {__version__}")
        return exit_codes.GOOD
    if words[0] == "help":
        return dispatch([*words[1:], "--help"])
    if words[0] in GROUPS and set(words[1:]) <= {"-h", "--help"}:
        write(group_text(words[0]))
        return exit_codes.GOOD
    name = " ".join(words[:2]) if words[0] in GROUPS else words[0]
    raise UsageError(f"There is no command {name!r}.", suggestion(name))


def suggestion(name: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415  (only after a typing mistake)

    near = get_close_matches(name, COMMANDS, n=1)
    return f"Did you mean `naht {near[0]}`?" if near else "`naht --help` lists the commands."


def help_text() -> str:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {n:<{width}}  {summary}" for n, (_, summary) in COMMANDS.items())
    return f"""\
usage: naht COMMAND [OPTIONS]

Puts security fixes into running processes: same PID, same connections, no restart.

commands, in the order in which they are used:
{commands}

`naht COMMAND --help` explains one of them, with examples. Only `build` needs a compiler, only
`repo` keys; `apply` and `revert` need the right to trace the process (root, or its user).

{exit_codes.EXPLAINED}"""


def group_text(group: str) -> str:
    members = [(n, summary) for n, (_, summary) in COMMANDS.items() if n.startswith(f"{group} ")]
    width = max(len(name) for name, _ in members)
    lines = "\n".join(f"  naht {name:<{width}}  {summary}" for name, summary in members)
    return f"{GROUPS[group]}:\n{lines}\n\n`naht {group} NAME --help` explains one, with examples."


def report_error(error: NahtError, *, as_json: bool) -> int:
    if as_json:
        report_error_as_json(error)
        return error.exit_code
    where = f"{clean(error.where)}: " if error.where else ""
    write_labelled("error:", "bad", where, error.cause)
    write_labelled("next:", "bold", "", error.next_step)
    return error.exit_code


def write_labelled(label: str, style: Style, prefix: str, text: str) -> None:
    """The text's first line behind the label, the others under it."""
    lines = [clean(line) for line in text.splitlines()] or [""]
    head = paint(f"{label:<7}", style, sys.stderr)
    write("\n       ".join([head + prefix + lines[0], *lines[1:]]), sys.stderr)


def report_error_as_json(error: NahtError) -> None:
    from naht.cli.documents import ErrorDetail, ErrorDocument  # noqa: PLC0415  (msgspec types)
    from naht.cli.output import print_document  # noqa: PLC0415

    detail = ErrorDetail(
        kind=type(error).__name__,
        reason=error.reason if isinstance(error, RefusedError) else "",
        cause=error.cause,
        next_step=error.next_step,
        where=error.where,
    )
    print_document(ErrorDocument(error=detail, exit_code=error.exit_code))


def report_bug(error: Exception, *, as_json: bool) -> int:
    if os.environ.get("NAHT_DEBUG"):
        raise error
    cause = f"naht failed: {type(error).__name__}: {error}"
    next_step = "Run it again with NAHT_DEBUG=1 and report what it prints."
    return report_error(NahtError(cause, next_step), as_json=as_json)


if __name__ == "__main__":
    sys.exit(main())
