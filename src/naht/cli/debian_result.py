"""What `naht build debian` found and made, as a document and for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from naht.cli import exit_codes
from naht.cli.documents import (
    BuildDebianDocument,
    ChangedCopy,
    DebianObject,
    DebianSummary,
)
from naht.cli.output import Cell, Table, print_table
from naht.cli.terminal import clean, paint, symbols, write
from naht.cli.units import count, duration

if TYPE_CHECKING:
    from naht.build.debian.change_job import ObjectChange
    from naht.build.debian.request import DebianResult

_LONGEST_LIST = 12  # names, before "and … more"
_SHORT_BUILD_ID = 12


def described(result: DebianResult) -> BuildDebianDocument:
    objects = tuple(describe_object(item, result) for item in result.objects)
    hotpatches = sum(item.outcome == "hotpatch" for item in objects)
    refused = len(objects) - hotpatches
    return BuildDebianDocument(
        source=result.source,
        from_version=result.from_version,
        to_version=result.to_version,
        directory=result.directory,
        how=result.how,
        patches=result.patches,
        advisories=result.advisories,
        objects=objects,
        copies=tuple(
            ChangedCopy(
                kind=c.kind, name=c.name, shipped_as=c.shipped_as, units=c.units, note=c.note
            )
            for c in result.copies
        ),
        authors_patches=result.authors_patches,
        unread=result.unread,
        unchanged=result.unchanged,
        summary=DebianSummary(
            objects=len(objects),
            hotpatches=hotpatches,
            refused=refused,
            copies=len(result.copies),
            elapsed_ns=int(result.seconds * 1e9),
        ),
        exit_code=exit_codes.of_build(hotpatches, refused),
    )


def describe_object(item: ObjectChange, result: DebianResult) -> DebianObject:
    verdicts = {r.verdict for r in result.references if r.name in item.shipped_as}
    path = str(Path(result.directory) / item.hotpatch) if item.hotpatch else None
    refusal = item.refusal
    return DebianObject(
        shipped_as=item.shipped_as,
        object=item.name,
        build_id=item.build_id,
        outcome="hotpatch" if path else "refused",
        hotpatch=path,
        functions=item.functions,
        reference=", ".join(sorted(verdicts)),
        reason=refusal.reason if refusal else "",
        cause=refusal.cause if refusal else "",
        next_step=refusal.next_step if refusal else "",
        where=refusal.where if refusal else "",
        notes=item.notes,
    )


def print_result(document: BuildDebianDocument) -> None:
    print_heading(document)
    if document.objects:
        print_objects(document)
    for item in document.objects:
        print_refusal(item)
    print_copies(document)
    print_summary(document)


def print_heading(document: BuildDebianDocument) -> None:
    arrow = symbols()["arrow"]
    versions = f"{document.from_version} {arrow} {document.to_version}"
    write(f"{paint(clean(document.source), 'bold')}  {clean(versions)}")
    write(f"  closes      {clean(shortened(document.advisories)) or 'no advisory that is named'}")
    write(f"  old source  {clean(document.how)}")
    if document.patches:
        label = "in place of" if document.authors_patches else "changes"
        write(f"  {label:<11} {clean(shortened(document.patches))}")
    for item in document.authors_patches:
        write(f"  {paint('by author', 'warn')}   {clean(f'{item.patch}, by {item.author}')}")


def shortened(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_LONGEST_LIST])
    return f"{shown} and {len(names) - _LONGEST_LIST} more" if names[_LONGEST_LIST:] else shown


def print_objects(document: BuildDebianDocument) -> None:
    table = Table(
        ["object", "build-id", "as shipped", "outcome", "functions", "file or reason"],
        right=["functions"],
    )
    for item in document.objects:
        for row, name in enumerate(item.shipped_as):
            if row:  # the same object, shipped again
                table.add(name, "", "", "", "", "")
                continue
            good = item.outcome == "hotpatch"
            table.add(
                name,
                item.build_id[:_SHORT_BUILD_ID],
                item.reference,
                Cell(item.outcome, "good" if good else "bad"),
                str(len(item.functions)),
                Path(item.hotpatch).name if item.hotpatch else item.reason,
            )
    write("")
    print_table(table)


def print_refusal(item: DebianObject) -> None:
    if item.outcome == "refused":
        where = f"{clean(item.where)}: " if item.where else ""
        write("")
        write(f"{paint(symbols()['bad'], 'bad')} {clean(item.shipped_as[0])}: {item.reason}")
        for line in (where + clean_lines(item.cause)).splitlines():
            write(f"    {line}")
        for line in clean_lines(item.next_step).splitlines():
            write(f"    next: {line}")


def clean_lines(text: str) -> str:
    return "\n".join(clean(line) for line in text.splitlines())


def print_copies(document: BuildDebianDocument) -> None:
    if not document.copies:
        return
    write("")
    write(paint("holds changed code too, and gets no hotpatch:", "warn"))
    for item in document.copies:
        names = ", ".join(item.shipped_as) or f"{item.name} (not shipped)"
        note = f": {item.note}" if item.note else ""
        write(f"  {item.kind:<11}  {clean(names + note)}")


def print_summary(document: BuildDebianDocument) -> None:
    summary = document.summary
    write("")
    if not summary.objects:
        print_nothing_changed(document)
    else:
        good = not summary.refused
        made = f"{summary.hotpatches} of {count(summary.objects, 'changed object')}"
        mark = paint(symbols()["good" if good else "bad"], "good" if good else "bad")
        verb = "has" if summary.objects == 1 else "have"
        write(f"{mark} {made} {verb} a hotpatch, in {clean(document.directory)}")
        if summary.refused and len(document.patches) != 1:
            write("  one patch may be in the way of the others: --patch NAME… builds some of them")
    write(f"  took {duration(summary.elapsed_ns)}; all of it is in result.json there")


def print_nothing_changed(document: BuildDebianDocument) -> None:
    write("No shipped object changed: there is nothing to hotpatch.")
    # What packages are made with changes with every version.
    files = tuple(name for name in document.unread if not name.startswith("debian/"))
    for names, told in (
        (document.unchanged, "linked anew, and the same code as before"),
        (files, "changed files that enter no compilation"),
    ):
        if names:
            write(f"  {told}: {clean(shortened(names))}")
