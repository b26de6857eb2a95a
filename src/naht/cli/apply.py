"""`naht apply`: puts a hotpatch into live processes."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from naht.cli.documents import ApplyDocument
from naht.cli.hotpatch_argument import load_hotpatch, refer_to
from naht.cli.operation import (
    Result,
    add_operation_arguments,
    make_engine,
    print_result,
    retry_policy,
    run_operation,
)
from naht.cli.output import print_document
from naht.errors import NothingToDoError
from naht.hotpatch.verified import VerifiedHotpatch

DESCRIPTION = """\
Puts a hotpatch into live processes: they keep their PID, their connections and their memory.

The processes are found by the build-id of the mapped object; path, container and "(deleted)" do not
matter. What cannot be changed safely is refused before anything is touched, with the reason.

NAME is the id of a hotpatch in the host's repository (/etc/naht/repository.toml): signed, fresh and
not withdrawn. PRODUCT/ID names one of another product. A bare file takes --unsigned-dev, for
development, and a host's policy (/etc/naht/policy.toml) can forbid that."""

EXAMPLES = """\
  naht apply EXPAT-7 --all --dry-run       what would happen, everywhere
  naht apply EXPAT-7 --all                 every process that runs the hotpatch's target
  naht apply EXPAT-7 --pid $(pidof nginx)
  naht apply EXPAT-7 --pid 4711 --json | jq .summary
  naht apply fix.naht --all --unsigned-dev     a file that nobody vouches for"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the hotpatch: its id, or a file")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--repository", type=Path, metavar="FILE",
        help="settings of another repository than the host's",
    )  # fmt: skip
    source.add_argument(
        "--unsigned-dev", action="store_true",
        help="development only: run code that nobody vouches for",
    )  # fmt: skip
    add_operation_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    hotpatch = load_hotpatch(
        arguments.name, unsigned_dev=arguments.unsigned_dev, repository=arguments.repository
    )
    engine = make_engine()
    result = run_operation(
        arguments,
        search=lambda: engine.find(hotpatch),
        operation=partial(
            engine.apply, hotpatch, retry=retry_policy(arguments), dry_run=arguments.dry_run
        ),
        nothing=nothing_to_do(hotpatch),
    )
    if arguments.json:
        print_document(document(hotpatch, result, dry_run=arguments.dry_run))
    else:
        print_result(result)
    return result.exit_code


def nothing_to_do(hotpatch: VerifiedHotpatch) -> NothingToDoError:
    build_ids = " or ".join(image.target.build_id for image in hotpatch.manifest.images)
    return NothingToDoError(
        f"Nothing to do: no live process has {build_ids} mapped.",
        "`naht scan --hotpatch FILE` lists what runs; build the hotpatch for the build-id you see.",
    )


def document(hotpatch: VerifiedHotpatch, result: Result, *, dry_run: bool) -> ApplyDocument:
    return ApplyDocument(
        hotpatch=refer_to(hotpatch),
        dry_run=dry_run,
        processes=result.outcomes,
        summary=result.summary,
        exit_code=result.exit_code,
        interrupted=result.interrupted,
    )
