"""The measure of the corpus as one Markdown page. Pure: facts and notes in, text out."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from scripts.corpus.cases import Case
from scripts.corpus.results import CaseResult, Check
from scripts.corpus.verdicts import OUTCOMES, Note, Outcome, Verdict, judge

_AIM_LIVE, _AIM_WRONG, _AIM_CASES, _AIM_PACKAGES = 0.90, 0.03, 150, 30
_AIM_PROOFS, _AIM_DAEMONS = 12, 5


@dataclass(frozen=True)
class Circumstances:
    date: str
    command: str
    machine: str
    version: str


@dataclass(frozen=True)
class Judged:
    case: Case
    result: CaseResult
    verdicts: tuple[Verdict, ...]

    @property
    def outcome(self) -> Outcome:
        return self.verdicts[0].outcome

    @property
    def is_by_author(self) -> bool:
        """Live, but not by the distribution's patch as it is."""
        return self.outcome == "live" and self.result.authored is not None

    @property
    def checks(self) -> list[Check]:
        return [c for o in self.result.objects for c in o.checks if c.outcome != "unused"]


def judged(found: Iterable[tuple[Case, CaseResult]], notes: Sequence[Note]) -> tuple[Judged, ...]:
    return tuple(Judged(case, result, judge(result, notes)) for case, result in found)


def render(items: Sequence[Judged], listed: int, how: Circumstances) -> str:
    """`listed`: how many cases the list has, run or not."""
    changing = [i for i in items if i.outcome != "no-change"]
    parts = [
        _head(items, listed, how),
        _aims(changing),
        _table("By class of change", changing, lambda i: i.case.change_class or "?"),
        _table("By package", changing, lambda i: i.case.package),
        _times(changing),
        _authors(changing),
        _proofs(changing),
        _daemons(changing),
        _troubles("Refused, and rightly so", changing, "refused-right"),
        _troubles("Refused, and wrongly so", changing, "refused-wrong"),
        _troubles("Failed", changing, "failed"),
        _unchecked(changing),
        _no_change(items),
    ]
    return "\n".join(part for part in parts if part)


def _head(items: Sequence[Judged], listed: int, how: Circumstances) -> str:
    return f"""# The Debian corpus

Every case is one real security patch of one Debian source package. The package is built whole; the
patch alone is the change; each shipped object that it alters gets its hotpatch, which is put into
live processes that run the old, stripped object in a root of their own, looked at from memory, and
reverted until every byte of code and constants is as before. How it is measured:
[tests/corpus/README.md](../../tests/corpus/README.md).

- date: {how.date}
- command: `{how.command}`
- machine: {how.machine}
- naht {how.version}
- cases with a result: {len(items)} of {listed}{_span(items)}
"""


def _span(items: Sequence[Judged]) -> str:
    """Results are kept, and the product goes on meanwhile: `--again` makes them anew."""
    times = sorted(i.result.finished[:16].replace("T", " ") for i in items if i.result.finished)
    return f", made from {times[0]} to {times[-1]} UTC" if times else ""


def _aims(items: Sequence[Judged]) -> str:
    count = Counter(i.outcome for i in items)
    total = len(items) or 1
    wrong = count["refused-wrong"] + count["failed"]
    packages = len({i.case.package for i in items})
    proofs = [c for i in items for c in i.checks if c.proof and c.proof.closed]
    daemons = {c.name for i in items for c in i.checks if c.kind == "daemon" and c.proof}
    rows = [
        ("cases that change code", f"at least {_AIM_CASES}", str(len(items)),
         len(items) >= _AIM_CASES),
        ("packages", f"at least {_AIM_PACKAGES}", str(packages), packages >= _AIM_PACKAGES),
        ("live", "at least 90 %", f"{count['live']} ({count['live'] / total:.1%})",
         count["live"] / total >= _AIM_LIVE),
        ("… of those by an author's patch", "said openly", str(sum(i.is_by_author for i in items)),
         True),
        ("refused wrongly + failed", "at most 3 %", f"{wrong} ({wrong / total:.1%})",
         wrong / total <= _AIM_WRONG),
        ("holes shown to close", f"at least {_AIM_PROOFS}", str(len(proofs)),
         len(proofs) >= _AIM_PROOFS),
        ("… in daemons under load", f"at least {_AIM_DAEMONS} daemons", str(len(daemons)),
         len(daemons) >= _AIM_DAEMONS),
    ]  # fmt: skip
    lines = [f"| {n} | {a} | {v} | {'yes' if met else '**no**'} |" for n, a, v, met in rows]
    return "\n".join(
        ["## Aims", "", "| what | aim | found | met |", "|---|---|---|---|", *lines, ""]
    )


def _table(title: str, items: Sequence[Judged], key: Callable[[Judged], str]) -> str:
    shown = [o for o in OUTCOMES if o != "no-change"]
    head = f"| | cases | {' | '.join(shown)} | live by an author's patch |"
    lines = [f"## {title}", "", head, "|---" * (len(shown) + 3) + "|"]
    for name in [*sorted({key(i) for i in items}), ""]:
        mine = [i for i in items if name in ("", key(i))]
        count = Counter(i.outcome for i in mine)
        counts = [*(count[o] for o in shown), sum(i.is_by_author for i in mine)]
        cells = " | ".join(str(n or "") for n in counts)
        lines.append(f"| {_cell(name) or '**all**'} | {len(mine)} | {cells} |")
    return "\n".join([*lines, ""])


def _times(items: Sequence[Judged]) -> str:
    live = [i for i in items if i.outcome == "live"]
    checks = [c for i in items for c in i.checks if c.outcome == "live"]
    sizes = [o.hotpatch_bytes for i in items for o in i.result.objects if o.hotpatch_bytes]
    functions = [len(o.functions) for i in items for o in i.result.objects if o.hotpatch_bytes]
    stages = {
        "whole build of a package, once (s)": list(build_seconds(items).values()),
        "both sides, judged, hotpatches written (s)": [
            i.result.seconds.get("change", 0.0) for i in live
        ],
        "live part of a case (s)": [i.result.seconds.get("live", 0.0) for i in live],
        "pause of one process (ms)": [c.pause_ns / 1e6 for c in checks],
        "threads of a process": [float(c.threads) for c in checks],
        "size of a hotpatch (kB)": [n / 1000 for n in sizes],
        "functions in a hotpatch": [float(n) for n in functions],
    }
    lines = ["## Times and sizes", "", "| | n | median | 90 % | most |", "|---|---|---|---|---|"]
    for name, numbers in stages.items():
        if numbers:
            ordered = sorted(numbers)
            high = ordered[min(len(ordered) - 1, int(len(ordered) * 0.9))]
            lines.append(
                f"| {name} | {len(numbers)} | {_number(statistics.median(numbers))}"
                f" | {_number(high)} | {_number(ordered[-1])} |"
            )
    kinds = Counter(c.kind for c in checks)
    told = ", ".join(f"{n} by {kind}" for kind, n in sorted(kinds.items()))
    return "\n".join([*lines, "", f"Processes patched and reverted: {told}.", ""])


def build_seconds(items: Iterable[Judged]) -> dict[str, float]:
    """Of each package whose build was seen; one that came from the cache says nothing."""
    found: dict[str, float] = {}
    for item in items:
        seconds = item.result.seconds.get("build", 0.0)
        if seconds > 1:
            found[item.case.package] = max(seconds, found.get(item.case.package, 0.0))
    return found


def _authors(items: Sequence[Judged]) -> str:
    lines = [
        f"| {i.case.package} | {_cell(i.case.patch)} | {i.case.class_letter} "
        f"| {_cell(written.author)} | {'yes' if written.has_patch else 'no'} "
        f"| {_cell(', '.join(f'{a.switch} {a.name}: {a.why}' for a in written.allow))} "
        f"| {_cell(written.why)} |"
        for i in items if i.is_by_author and (written := i.result.authored)
    ]  # fmt: skip
    if not lines:
        return ""
    return "\n".join([
        "## Live by an author's patch", "",
        "The distribution's patch cannot go into live processes as it is, such as one that adds a "
        "member to a struct of which objects live. An author wrote the same fix so that it can: "
        "[tests/corpus/authors](../../tests/corpus/authors). The new build, which these cases are "
        "compared with, is the older source with the author's patch.", "",
        "| package | patch | class | author | own patch | vouched for | what it does instead |",
        "|---|---|---|---|---|---|---|", *lines, "",
    ])  # fmt: skip


def _proofs(items: Sequence[Judged]) -> str:
    lines = [
        f"| {i.case.package} | {_cell(i.case.patch)} | {c.kind} {_cell(c.name)} "
        f"| {_cell(c.proof.old)} | {_cell(c.proof.patched)} |"
        for i in items for c in i.checks if c.proof and c.proof.closed
    ]  # fmt: skip
    if not lines:
        return ""
    return "\n".join([
        "## Holes shown to close, in the same live process", "",
        "Patched, it answers as an unpatched process of the new build; reverted, as before.", "",
        "| package | patch | by | before | patched |", "|---|---|---|---|---|", *lines, "",
    ])  # fmt: skip


def _daemons(items: Sequence[Judged]) -> str:
    lines = [
        f"| {i.case.package} | {_cell(i.case.patch)} | {_cell(c.name)} | {c.processes} "
        f"| {c.requests} | {c.pause_ns / 1e6:.2f} |"
        for i in items for c in i.checks if c.kind == "daemon" and c.outcome == "live"
    ]  # fmt: skip
    if not lines:
        return ""
    return "\n".join([
        "## Daemons under load", "",
        "| package | patch | daemon | processes | requests, none failed | longest pause (ms) |",
        "|---|---|---|---|---|---|", *lines, "",
    ])  # fmt: skip


def _troubles(title: str, items: Sequence[Judged], outcome: Outcome) -> str:
    lines = [
        f"| {i.case.package} | {_cell(i.case.patch)} | {i.case.class_letter} | {_cell(v.object)} "
        f"| {_cell(v.reason)} | {_cell(v.cause)} {_cell(v.note and f'*{v.note}*')} |"
        for i in items if i.outcome == outcome for v in i.verdicts
    ]  # fmt: skip
    if not lines:
        return ""
    return "\n".join([
        f"## {title}", "", "| package | patch | class | object | reason | cause |",
        "|---|---|---|---|---|---|", *lines, "",
    ])  # fmt: skip


def _unchecked(items: Sequence[Judged]) -> str:
    lines = [
        f"- {i.case.package}, {i.case.patch}: {sum(bool(o.unchecked) for o in i.result.objects)}"
        f" of {len(i.result.objects)} objects have a hotpatch that was not run"
        for i in items if any(o.unchecked for o in i.result.objects)
    ]  # fmt: skip
    return "\n".join(["## Not run", "", *lines, ""]) if lines else ""


def _no_change(items: Sequence[Judged]) -> str:
    mine = [i for i in items if i.outcome == "no-change"]
    if not mine:
        return ""
    lines = [f"- {i.case.package}: {i.case.patch}" for i in mine]
    return "\n".join([
        "## Apart: no shipped machine code changes", "",
        "The patch touches scripts, data, tests, or sources that Debian does not compile.", "",
        *lines, "",
    ])  # fmt: skip


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _cell(text: str) -> str:
    """One line, bounded, with nothing that ends a cell."""
    flat = " ".join(text.split()).replace("|", "\\|").replace("`", "'").replace("<", "&lt;")
    return flat if len(flat) <= 240 else f"{flat[:237]}…"
