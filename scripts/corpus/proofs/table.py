"""The proofs as one Markdown page. Pure: facts in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scripts.corpus.proofs.facts import Telling
from scripts.corpus.report import Circumstances, Judged

_LONGEST = 240


def render(tellings: Sequence[Telling], others: Iterable[Judged], how: Circumstances) -> str:
    """`others`: the corpus, whose libraries and tools have proofs, too."""
    proofs = [t for t in tellings if t.holds]
    parts = [
        _head(proofs, how),
        _holes(proofs),
        _figures(proofs),
        _without_clients(others),
        _not_shown([t for t in tellings if not t.holds]),
    ]
    return "\n".join(part for part in parts if part)


def _head(proofs: Sequence[Telling], how: Circumstances) -> str:
    programs = len({(t.package, t.daemon) for t in proofs})
    total = sum(t.requests for t in proofs)
    return f"""# Holes that close in live daemons

Each line is one real security patch of a Debian source package. The daemon runs the distribution's
stripped files with that one patch missing; clients keep their connections and go on asking. A
harmless question shows the hole: a wrong answer where there has to be a refusal or another one,
never a crash. It is asked of the same processes before, patched, reverted, and patched again; and
of an unpatched process of the new build, which has to answer as the patched one does. Processes
and sockets are compared by what the kernel says of them. Where the source package is a library,
the daemon is a small server of our own that uses it. What each question is:
`prove_…` in [tests/corpus/drivers](../../tests/corpus/drivers).

- date: {how.date}
- command: `{how.command}`
- machine: {how.machine}
- naht {how.version}
- **{len(proofs)} holes in {programs} daemons; {total:,} requests, none failed**
"""


def _holes(proofs: Sequence[Telling]) -> str:
    lines = [
        f"| {_daemon(t)} | {_cell(', '.join(t.cves))} | {_cell(t.seen.old)} "
        f"| {_cell(t.seen.patched)} |"
        for t in proofs
    ]
    return _section(
        "Closed, open again when reverted, and closed again",
        "| daemon | hole | before, and reverted | patched, and in the new build |", lines,
    )  # fmt: skip


def _figures(proofs: Sequence[Telling]) -> str:
    lines = [
        f"| {_daemon(t)} | {_cell(', '.join(t.cves))} | {t.processes} | {t.threads} "
        f"| {t.functions} | {t.requests:,} | {t.while_naht_worked:,} | {t.errors} "
        f"| {t.connections} | {t.pause_ns / 1e6:.2f} | {t.worst_ms:.1f} "
        f"| {t.hotpatch_bytes / 1000:.1f} | {t.memory_bytes // 1024} |"
        for t in proofs
    ]
    return _section(
        "Under load",
        "| daemon | hole | processes | threads | functions | requests | … while naht worked "
        "| failed | connections kept | longest pause (ms) | slowest answer (ms) | hotpatch (kB) "
        "| memory (KiB) |", lines,
    )  # fmt: skip


def _without_clients(others: Iterable[Judged]) -> str:
    lines = [
        f"| {_cell(i.case.package)} | {_cell(', '.join(i.case.cves))} | {_cell(c.name)} "
        f"| {_cell(c.proof.old)} | {_cell(c.proof.patched)} |"
        for i in others for c in i.checks
        if c.proof and c.proof.closed and c.kind != "daemon" and c.outcome == "live"
    ]  # fmt: skip
    return _section(
        "Libraries and tools, in live processes of the corpus",
        "| package | hole | by | before, and reverted | patched |", lines,
    )  # fmt: skip


def _not_shown(tellings: Sequence[Telling]) -> str:
    lines = [
        f"| {_daemon(t)} | {_cell(', '.join(t.cves))} | {_cell(t.patch)} "
        f"| {_cell('; '.join(t.doubts()))} |"
        for t in tellings
    ]
    return _section("Not shown", "| daemon | hole | patch | why |", lines)


def _section(title: str, head: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    columns = head.count("|") - 1
    return "\n".join([f"## {title}", "", head, "|---" * columns + "|", *lines, ""])


def _daemon(telling: Telling) -> str:
    return _cell(f"{telling.daemon} ({telling.package} {telling.version})")


def _cell(text: str) -> str:
    """One line, bounded, with nothing that ends a cell."""
    flat = " ".join(text.split()).replace("|", "\\|").replace("`", "'").replace("<", "&lt;")
    return flat if len(flat) <= _LONGEST else f"{flat[: _LONGEST - 1]}…"
