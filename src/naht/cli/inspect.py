"""`naht inspect`: what a hotpatch is for, what it changes, and what a human allowed it."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from naht.cli import exit_codes
from naht.cli.documents import InspectDocument
from naht.cli.operation import add_json_argument
from naht.cli.output import Cell, Table, print_document, print_table
from naht.cli.terminal import Style, clean, paint, symbols, write
from naht.cli.units import count, memory
from naht.elf.file import ElfFile
from naht.hotpatch.container import HotpatchFile, read_hotpatch
from naht.hotpatch.image import HotpatchImage, check_image
from naht.hotpatch.manifest import Function, Image, Manifest

if TYPE_CHECKING:
    from naht.cli.disassembly import DiffLine

DESCRIPTION = """\
Shows what a hotpatch is for, what it changes and how, and which refusals a human overrode.
The file is checked as `apply` checks it, but nobody's signature is judged here."""

EXAMPLES = """\
  naht inspect fix.naht
  naht inspect fix.naht --diff | less -R      old and new instructions, function by function
  naht inspect fix.naht --json | jq '.manifest.images[].functions[].name'"""

CONSISTENCY = {
    "quiescent": "all functions change together, and only while no thread is inside one of them",
    "overlap": "old and new calls may run side by side; each function changes by itself",
}
ESCAPES = {
    "none": "",
    "data": "the program may keep pointers to its data: after revert that memory stays",
    "code": "the program may keep pointers to its code: after revert that memory stays",
}
CONTEXT_LINES = 3
_SEVERITY: dict[str, Style] = {
    "critical": "bad", "important": "bad", "moderate": "warn", "low": "dim", "unknown": "dim",
}  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the hotpatch")
    parser.add_argument("--diff", action="store_true", help="also show old and new instructions")
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    file = read_hotpatch(arguments.file)
    views = [
        (image, check_image(ElfFile(file.images[image.member]), image))
        for image in file.manifest.images
    ]
    if arguments.json:
        print_document(document(file))
        return exit_codes.GOOD
    print_manifest(file)
    for image, view in views:
        print_image(image, view)
        if arguments.diff:
            print_diff(image, view)
    print_provenance(file.manifest)
    return exit_codes.GOOD


def document(file: HotpatchFile) -> InspectDocument:
    size = sum(len(content) for content in file.images.values())
    return InspectDocument(digest=file.digest, size=size, manifest=file.manifest)


def print_manifest(file: HotpatchFile) -> None:
    manifest = file.manifest
    severity = paint(manifest.severity, _SEVERITY[manifest.severity])
    write(f"{paint(clean(manifest.id), 'bold')}  level {manifest.level}  {severity}")
    if manifest.title:
        write(clean(manifest.title))
    write("")
    field("closes", ", ".join(manifest.advisories) or "no advisory")
    field("component", f"{manifest.component.name}  {manifest.component.purl}")
    for shipped in manifest.brings_to:
        field("brings to", f"{shipped.version}  {shipped.build_id}")
    if manifest.supersedes:
        field("replaces", ", ".join(manifest.supersedes))
    field("consistency", f"{manifest.consistency}: {CONSISTENCY[manifest.consistency]}")
    field("needs", f"engine {manifest.minimum_engine} or later")
    field("digest", f"sha256:{file.digest}")


def field(name: str, value: str, style: Style | None = None) -> None:
    write(f"  {paint(f'{name:<12}', 'dim')}{paint(clean(value), style)}")


def print_image(image: Image, view: HotpatchImage) -> None:
    write("")
    write(f"{paint(clean(image.target.name), 'bold')}  {image.target.kind}, {image.architecture}")
    field("build-id", image.target.build_id)
    field("bindings", bindings_summary(image))
    field("size", size_summary(view))
    for name in ("pre_apply", "post_apply", "pre_revert"):
        if hook := getattr(image.hooks, name):
            field(name.replace("_", "-"), f"hook {hook} runs in the process", "warn")
    if ESCAPES[image.escapes]:
        field("escapes", ESCAPES[image.escapes], "warn")
    write("")
    print_table(function_table(image.functions), indent=2)


def bindings_summary(image: Image) -> str:
    """Such as: 9 to the running object, 2 imports (memcpy@GLIBC_2.14, puts)."""
    kinds = Counter(b.kind for b in image.bindings)
    imports = [b.name + (f"@{b.version}" if b.version else "") for b in image.bindings if b.name]
    shown = ", ".join(imports[:8]) + (", …" if len(imports) > 8 else "")
    parts = [
        f"{kinds['object']} to the running object" if kinds["object"] else "",
        f"{count(len(imports), 'import')} ({shown})" if imports else "",
        f"{kinds['tls_module']} to its TLS module" if kinds["tls_module"] else "",
    ]
    return ", ".join(part for part in parts if part) or "none"


def size_summary(view: HotpatchImage) -> str:
    sizes: Counter[str] = Counter()
    for section in view.sections:
        sizes[section.kind] += section.size
    kinds = {"code": "code", "constant": "read-only data", "data": "writable data"}
    return ", ".join(f"{memory(sizes[k])} {name}" for k, name in kinds.items() if sizes[k])


def function_table(functions: Sequence[Function]) -> Table:
    table = Table(("FUNCTION", "CHANGE", "OLD", "NEW", "WHY"), right=("OLD", "NEW"))
    for function in functions:
        why = function.reason + ("" if function.returns else "; never returns")
        table.add(
            Cell(function.name, "name"),
            Cell(function.change, "added" if function.change == "new" else None),
            str(function.old_size) if function.parts else "",
            str(function.new_size),
            why.removeprefix("; "),
        )
    return table


def print_diff(image: Image, view: HotpatchImage) -> None:
    from naht.cli.disassembly import diff_function  # noqa: PLC0415  (needs naht[build])

    for function in image.functions:
        sizes = f"{function.old_size} {symbols()['arrow']} {function.new_size} bytes"
        write("")
        write(f"{paint(clean(function.name), 'bold')}  {sizes}")
        for text in diff_text(diff_function(function, image, view)):
            write(text)


_MARK_STYLE: dict[str, Style | None] = {" ": None, "-": "removed", "+": "added", "~": "warn"}


def diff_text(lines: Sequence[DiffLine]) -> Iterator[str]:
    """Changed lines with a few around them, as `diff -u` would show them."""
    changed = [n for n, line in enumerate(lines) if line.mark != " "]
    shown = {m for n in changed for m in range(n - CONTEXT_LINES, n + CONTEXT_LINES + 1)}
    skipped = False
    for number, line in enumerate(lines):
        if number not in shown:
            skipped = True
            continue
        if skipped:
            yield paint("       …", "dim")
        skipped = False
        note = paint(f"   ; {clean(line.line.note)}", "dim") if line.line.note else ""
        code = f"{line.mark} {line.line.offset:>6x}  {clean(line.line.text)}"
        yield paint(code, _MARK_STYLE[line.mark]) + note
    if skipped:
        yield paint("       …", "dim")


def print_provenance(manifest: Manifest) -> None:
    built = manifest.provenance
    write("")
    field("built by", "; ".join((built.builder, *built.compilers)))
    field("command", built.command)
    for source in built.sources:
        what = "added" if not source.old_digest else "changed" if source.new_digest else "removed"
        field("source", f"{source.path} ({what})")
    for written in built.authors_patches:
        instead = ", ".join(written.replaces) or "what the distribution changed"
        field("author", f"{written.patch} by {written.author}, in place of {instead}")
        if written.description:
            field("", written.description)
    if built.dropped:
        differing = count(len(built.dropped), "function")
        field("dropped", f"{differing} with no difference but line numbers or paths")
    if built.allowances:
        write("")
        write(paint("  A human overrode these refusals:", "bad"))
    for allowance in built.allowances:
        write(f"  {paint(clean(f'{allowance.switch} {allowance.subject}'), 'bad')}: "
              f"{clean(allowance.cause)}")  # fmt: skip
