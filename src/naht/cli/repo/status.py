"""`naht repo status`: what the repository has, and what expires when."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta

from naht.cli import exit_codes
from naht.cli.documents import RepositoryRole, RepositoryStatusDocument
from naht.cli.operation import add_json_argument
from naht.cli.output import Cell, Table, print_document, print_table
from naht.cli.repo.common import add_folder_argument, now
from naht.cli.terminal import Style, clean, paint, write
from naht.releases.signing.folder import RepositoryFolder
from naht.releases.signing.health import Health, RoleHealth, State, examine

DESCRIPTION = """\
Shows every role of a repository: its version, when it expires, how many of its keys must sign.
Warns early: when the timestamp has lost half of its time, or another role three quarters of it.
Needs no keys.

Exit codes: 0 all is fresh, 8 something expires soon, 4 something has expired."""

EXAMPLES = """\
  naht repo status repo
  naht repo status repo --json | jq -e '.roles | all(.state == "fresh")'"""

_STYLES: dict[State, Style] = {"fresh": "good", "soon": "warn", "expired": "bad"}


def configure(parser: argparse.ArgumentParser) -> None:
    add_folder_argument(parser)
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    folder, at = RepositoryFolder(arguments.repository), now()
    with folder.lock():
        health = examine(folder, at)
    code = exit_code(health)
    if arguments.json:
        print_document(document(health, code))
    else:
        show(health, at)
    return code


def exit_code(health: Health) -> int:
    states = {role.state for role in health.roles}
    if "expired" in states:
        return exit_codes.REFUSED
    return exit_codes.MIXED if "soon" in states else exit_codes.GOOD


def document(health: Health, code: int) -> RepositoryStatusDocument:
    roles = tuple(
        RepositoryRole(
            role=r.role, version=r.version, expires=r.expires, state=r.state, keys=r.keys,
            threshold=r.threshold, bins=r.bins, targets=r.targets,
        )
        for r in health.roles
    )  # fmt: skip
    return RepositoryStatusDocument(roles=roles, staged=health.staged, exit_code=code)


def show(health: Health, at: datetime) -> None:
    table = Table(
        ["ROLE", "STATE", "LEFT", "EXPIRES", "VERSION", "SIGNERS", "TARGETS"],
        right=["LEFT", "VERSION", "TARGETS"],
    )
    for role in health.roles:
        table.add(*row(role, at))
    print_table(table)
    if health.staged:
        write(paint(f"waiting for signatures: {clean(', '.join(health.staged))}", "warn"))
    due = [role.role for role in health.roles if role.state != "fresh"]
    if due:
        write(f"next: naht repo sign, with the keys of {clean(', '.join(due))}")


def row(role: RoleHealth, at: datetime) -> list[Cell | str]:
    bins = f" in {role.bins} bins" if role.bins else ""
    return [
        Cell(clean(role.role), "name"),
        Cell(role.state, _STYLES[role.state]),
        days(role.expires - at),
        f"{role.expires:%Y-%m-%d}",
        str(role.version),
        f"{role.threshold} of {role.keys}",
        f"{role.targets}{bins}" if role.targets or role.bins else "",
    ]


def days(left: timedelta) -> str:
    if abs(left) < timedelta(days=2):
        return f"{left / timedelta(hours=1):.0f} h"
    return f"{left.days} d"
