"""How many of the objects that Debian ships our rebuilds equal: every package that stands built in
the cache, against the binaries of that very version in the archive.

    python -m scripts.corpus.reference_table [--cache DIR] [--suite NAME] [--output FILE]

It builds nothing. In FILE, what stands before the line `<!-- measured -->` is kept.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

from naht.build.debian.archive import Archive, host_archive
from naht.build.debian.binary_package import BinaryPackage, read_package
from naht.build.debian.cache import Cache
from naht.build.debian.reference import ReferenceProof, Verdict, prove_reference
from naht.build.debian.shipped import read_shipped
from naht.build.native.loaded_content import DifferingRange, differing_ranges, layout_differences
from naht.build.native.recording import read_records
from naht.build.native.toolchain import Recorder
from naht.elf.file import ElfFile
from naht.errors import NahtError

MARKER = "<!-- measured -->\n"
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
_NAMES = 12
_TEXT = re.compile(rb"[\x20-\x7e]{6,200}")


@dataclass(frozen=True)
class Row:
    source: str
    version: str
    proofs: tuple[ReferenceProof, ...]
    note: str = ""

    @property
    def counts(self) -> Counter[str]:
        return Counter(proof.verdict for proof in self.proofs)


def main() -> None:
    options = _options()
    started = time.monotonic()
    cache = Cache(options.cache)
    archive = host_archive(cache, _say, options.suite)
    with TemporaryDirectory(dir=options.cache, prefix="reference-") as copies:
        built = _built(options.cache / "builds")
        rows = [_row(build, archive, Path(copies) / build.name) for build in built]
        text = _document(rows, time.monotonic() - started)
    if options.output is None:
        sys.stdout.write(text)
        return
    known = options.output.read_text() if options.output.exists() else ""
    options.output.write_text(known.partition(MARKER)[0] + MARKER + text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--cache", type=Path, default=Path("/var/cache/naht-build"))
    parser.add_argument("--suite", default=None)
    parser.add_argument("--output", type=Path, default=None)
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _built(builds: Path) -> list[Path]:
    """The last complete build of each version."""
    found: dict[tuple[str, str], Path] = {}
    for build in sorted(builds.iterdir(), key=lambda p: p.stat().st_mtime):
        packages = _packages(build) if (build / "complete").is_file() else []
        if packages:
            found[packages[0].source, packages[0].source_version] = build
    return [found[key] for key in sorted(found)]


def _packages(build: Path) -> list[BinaryPackage]:
    return [read_package(deb) for deb in _debs(build)]


def _debs(build: Path) -> list[Path]:
    return sorted(p for p in (build / "build").glob("*.deb") if "-dbgsym_" not in p.name)


def _row(build: Path, archive: Archive, copies: Path) -> Row:
    first = _packages(build)[0]
    source, version = first.source, first.source_version
    _say(f"{source} {version}…")
    try:
        binaries = archive.fetch_binaries(archive.fetch_source(source, version))
        if not binaries.files:
            return Row(source, version, (), "the archive has no binaries of this version any more")
        recorder = Recorder(build / "recorder", ())
        proofs = prove_reference(
            read_shipped(binaries.files, copies),
            read_shipped(_debs(build), copies),
            read_records(recorder, recorder.records),
        )
    except NahtError as error:
        return Row(source, version, (), error.cause)
    missing = ", ".join(binaries.missing)
    return Row(source, version, proofs, f"not to be had: {missing}" if missing else "")


# --- the document ------------------------------------------------------------------------


def _document(rows: Sequence[Row], seconds: float) -> str:
    parts = [_circumstances(seconds), _table(rows), _differences(rows)]
    return "\n" + "\n\n".join(part for part in parts if part) + "\n"


def _circumstances(seconds: float) -> str:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = platform.release().partition("-")[0]
    return (
        f"{today}, `make reference`, {seconds:.0f} s for comparing. "
        f"{os.cpu_count()} cores, {memory:.0f} GiB, kernel {kernel}; other work ran meanwhile."
    )


def _table(rows: Sequence[Row]) -> str:
    heads = ("package", "version", "ELF objects", *VERDICTS)
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    total: Counter[str] = Counter()
    for row in (r for r in rows if r.proofs):
        total += row.counts
        lines.append(_line(row.source, row.version, row.counts))
    lines.append(_line(f"**{sum(1 for r in rows if r.proofs)} packages**", "", total))
    unknown = [f"- {r.source} {r.version}: {r.note}." for r in rows if r.note]
    return "\n".join((*lines, "", *unknown)) if unknown else "\n".join(lines)


def _line(source: str, version: str, counts: Counter[str]) -> str:
    cells = [source, version, str(counts.total()), *(str(counts[v] or "") for v in VERDICTS)]
    return f"| {' | '.join(cells)} |"


def _differences(rows: Sequence[Row]) -> str:
    lines = [line for row in rows for proof in row.proofs for line in _about(row, proof)]
    return "\n".join(("Objects that are not the same:", "", *lines)) if lines else ""


def _about(row: Row, proof: ReferenceProof) -> Iterator[str]:
    if proof.verdict in ("identical", "same-code"):
        return
    names = [f"`{name}`" for name in proof.comparison.differences]
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    listed = f": {', '.join(names[:_NAMES])}{more}" if names else ""
    note = f" ({proof.note})" if proof.note else ""
    yield f"- {row.source}, `{proof.shipped.name}`: {proof.verdict}{listed}{note}"
    for ours, theirs in _texts(proof):
        yield f"    - ours `{ours}`, shipped `{theirs}`"


def _texts(proof: ReferenceProof) -> Iterator[tuple[str, str]]:
    """Strings that differ, where both lie at the same place."""
    if proof.verdict != "partly" or proof.reference is None:
        return
    ours, theirs = (ElfFile(p.read_bytes()) for p in (proof.reference, proof.shipped.file))
    if layout_differences(ours, theirs):
        return
    seen = set()
    for each in differing_ranges(ours, theirs):
        pair = _text_around(ours, each), _text_around(theirs, each)
        if all(pair) and pair[0] != pair[1] and pair not in seen:
            seen.add(pair)
            yield pair


def _text_around(elf: ElfFile, each: DifferingRange) -> str:
    if not each.section.startswith((".rodata", ".data")):
        return ""
    section = elf.section_by_name[each.section]
    at = each.start - section.address
    body = elf.section_bytes(section)
    start = body.rfind(b"\0", 0, at) + 1
    found = _TEXT.match(body, start)
    return found[0].decode() if found and found.end() > at else ""


if __name__ == "__main__":
    main()
