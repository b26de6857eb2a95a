"""`naht status`: which hotpatches are truly in memory, as the processes themselves say."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from naht.cli import exit_codes
from naht.cli.documents import StatusDocument
from naht.cli.operation import add_json_argument, make_engine, parse_pid
from naht.cli.output import Cell, Table, print_document, print_table
from naht.cli.terminal import Style, clean, clean_command, paint, write
from naht.cli.units import count, memory
from naht.domain.process import HotpatchInProcess, ProcessState

DESCRIPTION = """\
Shows which hotpatches are in the memory of live processes. The answer comes from the processes:
from the record each hotpatch keeps there and from the code bytes, not from notes of ours.

states:
  active    every function goes to the hotpatch's code, and that code is intact
  pending   an apply was cut short; the old code runs; the next apply or revert finishes it
  inactive  reverted; its memory waits to be given back
  altered   code or record is not what was written
  unloaded  its object is no longer mapped
  orphan    memory taken by an apply that was cut short before its record was written

Exit code 3: something is altered. 8: some processes could not be read. 4: none could."""

EXAMPLES = """\
  naht status                       every process that holds a hotpatch
  naht status --pid 4711 4712
  naht status --json | jq '.processes[].hotpatches[].state'"""

_STYLE: dict[str, Style] = {
    "active": "good", "pending": "warn", "inactive": "dim",
    "altered": "bad", "unloaded": "dim", "orphan": "warn",
}  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pid", type=parse_pid, nargs="+", action="extend", metavar="PID",
        help="these processes only (default: all that hold a hotpatch)",
    )  # fmt: skip
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    states = make_engine().status(arguments.pid)
    code = exit_code(states)
    if arguments.json:
        print_document(StatusDocument(processes=tuple(states), exit_code=code))
    else:
        print_states(states)
    return code


def exit_code(states: Sequence[ProcessState]) -> int:
    if any(h.state == "altered" for s in states for h in s.hotpatches):
        return exit_codes.HOSTILE
    unread = sum(bool(s.error) for s in states)
    if not unread:
        return exit_codes.GOOD
    return exit_codes.MIXED if unread < len(states) else exit_codes.REFUSED


def print_states(states: Sequence[ProcessState]) -> None:
    table = Table(
        ("PID", "COMMAND", "HOTPATCH", "STATE", "LEVEL", "FUNCTIONS", "MEMORY", "OBJECT"),
        right=("PID", "LEVEL", "FUNCTIONS", "MEMORY"),
    )
    for state in states:
        for hotpatch in state.hotpatches:
            add_row(table, state, hotpatch)
        if not state.hotpatches and not state.error:
            table.add(
                str(state.key.pid), clean_command(state.command), Cell("none", "dim"), *[""] * 5
            )
    if table.rows:
        print_table(table)
    elif not states:
        write("No live process holds a hotpatch.")
    for line in remarks(states):
        write(line)


def add_row(table: Table, state: ProcessState, hotpatch: HotpatchInProcess) -> None:
    table.add(
        str(state.key.pid),
        clean_command(state.command),
        Cell(hotpatch.id or "?", "name"),
        Cell(hotpatch.state, _STYLE[hotpatch.state]),
        str(hotpatch.level) if hotpatch.id else "",
        str(len(hotpatch.functions)) if hotpatch.id else "",
        memory(hotpatch.memory_bytes),
        hotpatch.object_path,
    )


def remarks(states: Sequence[ProcessState]) -> list[str]:
    """What does not fit into the table: unreadable processes, details, threads in old code."""
    lines = []
    for state in states:
        who = f"{state.key.pid} {clean_command(state.command)}"
        if state.error:
            lines.append(f"{paint(who, 'bad')}: {clean(state.error)}")
        for hotpatch in state.hotpatches:
            label = f"{who}: {clean(hotpatch.id) or 'orphan'}"
            if hotpatch.detail:
                lines.append(f"{label}: {clean(hotpatch.detail)}")
            if hotpatch.threads_in_old_code:
                lines.append(f"{label}: {old_code_remark(hotpatch.threads_in_old_code)}")
    return lines


def old_code_remark(threads: Sequence[int]) -> str:
    shown = ", ".join(map(str, threads[:20])) + (" …" if len(threads) > 20 else "")
    how_many = paint(f"{count(len(threads), 'thread')} still in old code", "warn")
    return f"{how_many} ({shown}); every new call runs the hotpatch"
