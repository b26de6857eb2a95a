"""`naht build native`: turns a source change of C or C++ into a hotpatch."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import get_args

import msgspec

from naht.cli import exit_codes
from naht.cli.documents import BuildDocument
from naht.cli.hotpatch_argument import load_for_reading, refer_to
from naht.cli.operation import add_json_argument, parse_count
from naht.cli.output import print_document
from naht.cli.terminal import clean, paint, symbols, write
from naht.cli.units import count, duration, memory
from naht.domain.package import ShippedVersion
from naht.errors import UsageError
from naht.hotpatch.manifest import Consistency, Manifest, Severity
from naht.hotpatch.verified import VerifiedHotpatch

DESCRIPTION = """\
Builds the old and the new source with the same command, compares them function by function by
meaning, and writes what changed as one file. What cannot be a hotpatch is refused before anything
is written, with the reason, the place and the way out."""

EXAMPLES = """\
  naht build native --source foo-1.2 --patch fix.patch --command 'make -j2' \\
      --object .libs/libfoo.so.1 --running /usr/lib/x86_64-linux-gnu/libfoo.so.1 \\
      --cve CVE-2024-0001 --severity important -o fix.naht
  naht build native --old a --new b --command 'cmake -B o . && cmake --build o' \\
      --object o/server --id server-login-1 -o fix.naht"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_input_arguments(parser)
    add_manifest_arguments(parser)
    add_judgement_arguments(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="the hotpatch to write"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work here, and leave it behind")
    add_json_argument(parser)


def add_input_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what changes")
    group.add_argument("--old", type=Path, metavar="DIR", help="the source of what runs")
    group.add_argument("--new", type=Path, metavar="DIR", help="the fixed source")
    group.add_argument("--source", type=Path, metavar="DIR", help="in place of --old: one source …")
    group.add_argument(
        "--patch", type=Path, nargs="+", action="extend", metavar="FILE", default=[],
        help="… in place of --new: and what to change in it, in order",
    )  # fmt: skip
    group.add_argument(
        "--command", required=True, metavar="CMD",
        help="builds a tree; a shell runs it in a copy of the tree",
    )  # fmt: skip
    group.add_argument(
        "--object", required=True, metavar="PATH",
        help="the executable or library that the command makes, relative to the tree",
    )  # fmt: skip
    group.add_argument(
        "--running", type=Path, metavar="FILE",
        help="the binary that runs: prove that the old build is the same code",
    )  # fmt: skip


def add_manifest_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what it says about itself")
    group.add_argument("--id", metavar="ID", help="its name (default: the first advisory's)")
    group.add_argument("--title", default="", metavar="TEXT", help="one line on what it fixes")
    for switch in ("--cve", "--advisory"):
        group.add_argument(
            switch, dest="advisories", nargs="+", action="extend", metavar="ID", default=[],
            help="what it closes, such as CVE-2024-0001 or DSA-5000-1",
        )  # fmt: skip
    group.add_argument("--severity", choices=get_args(Severity), default="unknown")
    group.add_argument("--purl", default="", metavar="PURL", help="the component, pkg:deb/…")
    group.add_argument(
        "--level", type=parse_count, default=1, metavar="N",
        help="how far it brings the component; higher replaces lower (default 1)",
    )  # fmt: skip
    group.add_argument(
        "--supersedes", nargs="+", action="extend", default=[], metavar="ID",
        help="hotpatches that it contains and replaces",
    )  # fmt: skip
    group.add_argument(
        "--brings-to", type=parse_shipped_version, nargs="+", action="extend", default=[],
        metavar="VERSION[=BUILD-ID]",
        help="versions whose shipped object has this code; `naht heal` goes by them",
    )  # fmt: skip


def parse_shipped_version(text: str) -> ShippedVersion:
    """Versions hold no "=" (deb-version(7))."""
    version, _, build_id = text.partition("=")
    try:
        return msgspec.convert({"version": version, "build_id": build_id}, ShippedVersion)
    except msgspec.ValidationError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not VERSION or VERSION=BUILD-ID") from error


def add_judgement_arguments(parser: argparse.ArgumentParser) -> None:
    group = add_allowance_arguments(parser)
    group.add_argument(
        "--consistency", choices=get_args(Consistency),
        help="may old and new calls run side by side? (default: judged from the change)",
    )  # fmt: skip


def add_allowance_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    group = parser.add_argument_group(
        "what a human can know better", "Each of these is recorded in the hotpatch."
    )
    group.add_argument(
        "--allow-layout", nargs="+", action="extend", default=[], metavar="TYPE",
        help="this type's new layout meets no live data",
    )  # fmt: skip
    group.add_argument(
        "--allow-data", nargs="+", action="extend", default=[], metavar="NAME",
        help="this datum's new initial value does not matter to what runs",
    )  # fmt: skip
    group.add_argument(
        "--allow-constructor", nargs="+", action="extend", default=[], metavar="NAME",
        help="this static constructor, run at the start, need not run again",
    )  # fmt: skip
    group.add_argument(
        "--allow-ownership", nargs="+", action="extend", default=[], metavar="TYPE",
        help="new code may release objects of this type that old code made, and the reverse",
    )  # fmt: skip
    return group


def run(arguments: argparse.Namespace) -> int:
    try:
        from naht.build.native.builder import build_native  # noqa: PLC0415
        from naht.build.native.request import BuildRequest  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise builder_missing(error) from error

    started = time.monotonic_ns()
    old, new, patches = chosen_trees(arguments)
    request = BuildRequest(
        old=old,
        new=new,
        patches=patches,
        command=arguments.command,
        object=arguments.object,
        running=arguments.running,
        id=arguments.id or default_id(arguments.advisories),
        title=arguments.title,
        advisories=tuple(dict.fromkeys(arguments.advisories)),
        severity=arguments.severity,
        purl=arguments.purl,
        level=arguments.level,
        supersedes=tuple(arguments.supersedes),
        brings_to=tuple(arguments.brings_to),
        consistency=arguments.consistency,
        allow=allowed(arguments),
        keep=arguments.keep,
    )
    content = build_native(request, show_progress)
    write_atomically(arguments.output, content)
    report(arguments, time.monotonic_ns() - started)
    return exit_codes.GOOD


def builder_missing(error: ModuleNotFoundError) -> Exception:
    if error.name not in ("elftools", "iced_x86"):
        return error
    return UsageError(
        f"The builder is not installed: {error.name} is missing.",
        "Install it with `pip install 'naht[build]'`. Hosts that only apply don't need it.",
    )


def chosen_trees(arguments: argparse.Namespace) -> tuple[Path, Path | None, tuple[Path, ...]]:
    """The old tree, and either the new one or patches."""
    pair = arguments.old and arguments.new and not (arguments.source or arguments.patch)
    patched = arguments.source and arguments.patch and not (arguments.old or arguments.new)
    if pair:
        return arguments.old, arguments.new, ()
    if patched:
        return arguments.source, None, tuple(arguments.patch)
    raise UsageError(
        "The change is not given, or given twice.",
        "Give either --old DIR --new DIR, or --source DIR --patch FILE…",
    )


def default_id(advisories: list[str]) -> str:
    if advisories:
        return advisories[0]
    raise UsageError("The hotpatch has no name.", "Give --id ID, or --cve ID.")


def allowed(arguments: argparse.Namespace) -> frozenset[str]:
    """As `kind:name`, of all --allow-… switches."""
    return frozenset(
        f"{switch.removeprefix('allow_')}:{name}"
        for switch, names in vars(arguments).items()
        if switch.startswith("allow_")
        for name in names
    )


def show_progress(step: str) -> None:
    write(paint(f"{symbols(sys.stderr)['neutral']} {clean(step)}", "dim", sys.stderr), sys.stderr)


def write_atomically(path: Path, content: bytes) -> None:
    """A reader sees the old file or the whole new one."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    except OSError as error:
        raise UsageError(
            f"Cannot write {path}: {error.strerror}.", "Check the path after -o."
        ) from error


def report(arguments: argparse.Namespace, elapsed_ns: int) -> None:
    hotpatch = load_for_reading(arguments.output)
    if arguments.json:
        print_document(document(arguments.output, hotpatch, elapsed_ns))
        return
    manifest = hotpatch.manifest
    names = function_names(manifest)
    shown = ", ".join(names[:8]) + (" …" if len(names) > 8 else "")
    size = memory(arguments.output.stat().st_size)
    done = paint(f"{symbols()['good']} {clean(str(arguments.output))}", "good")
    write(f"{done}  {size}, {count(len(names), 'function')}: {clean(shown)}")
    for allowance in manifest.provenance.allowances:
        write(paint(f"  overridden: {clean(f'{allowance.switch} {allowance.subject}')}", "bad"))
    write(f"  took {duration(elapsed_ns)}; look at it with: naht inspect {arguments.output}")


def function_names(manifest: Manifest) -> tuple[str, ...]:
    return tuple(f.name for image in manifest.images for f in image.functions)


def document(path: Path, hotpatch: VerifiedHotpatch, elapsed_ns: int) -> BuildDocument:
    manifest = hotpatch.manifest
    return BuildDocument(
        output=str(path),
        digest=hotpatch.digest,
        size=path.stat().st_size,
        hotpatch=refer_to(hotpatch),
        functions=function_names(manifest),
        dropped=manifest.provenance.dropped,
        allowances=manifest.provenance.allowances,
        elapsed_ns=elapsed_ns,
    )
