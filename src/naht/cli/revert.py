"""`naht revert`: takes a hotpatch out of live processes."""

from __future__ import annotations

import argparse
from functools import partial

from naht.cli.documents import RevertDocument
from naht.cli.operation import (
    add_operation_arguments,
    make_engine,
    print_result,
    retry_policy,
    run_operation,
)
from naht.cli.output import print_document
from naht.errors import NothingToDoError

DESCRIPTION = """\
Takes a hotpatch out of live processes: their own code runs again, and the hole is open again.

This needs no quiet moment, so it works at once even on a function that never leaves the stack. The
hotpatch's memory is given back when no thread can return to it: now, or on the next visit."""

EXAMPLES = """\
  naht status                                       which hotpatches are in memory, by id
  naht revert CVE-2024-0001-libfoo --all            out of every process
  naht revert CVE-2024-0001-libfoo --pid 4711 --dry-run"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="the hotpatch's id, as `naht status` shows it")
    add_operation_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    engine = make_engine()
    result = run_operation(
        arguments,
        search=lambda: engine.find_record(arguments.id),
        operation=partial(
            engine.revert, arguments.id, retry=retry_policy(arguments), dry_run=arguments.dry_run
        ),
        nothing=NothingToDoError(
            f"Nothing to do: no live process holds hotpatch {arguments.id!r}.",
            "`naht status` lists the ids that are in memory.",
        ),
    )
    if not arguments.json:
        print_result(result)
        return result.exit_code
    print_document(
        RevertDocument(
            hotpatch=arguments.id,
            dry_run=arguments.dry_run,
            processes=result.outcomes,
            summary=result.summary,
            exit_code=result.exit_code,
            interrupted=result.interrupted,
        )
    )
    return result.exit_code
