"""How `scan` and `heal` show what a host runs that is not what is installed: alike processes share
a row, and each reason is given once. It judges nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from naht.cli.output import Cell, Table, print_table
from naht.cli.terminal import Style, clean, clean_command, paint, write
from naht.cli.units import count
from naht.domain.host import Finding, OldFile

OLD_STATES = frozenset({"stale", "hotpatched", "altered"})
"""States in which a process runs code that is older than, or not known to be, what is installed."""

PIDS_IN_A_ROW = 4
MAX_LINES = 20
_STATE: dict[str, Style] = {
    "stale": "warn", "hotpatched": "warn", "healed": "good", "ahead": "warn", "exposed": "warn",
    "altered": "bad",
}  # fmt: skip
_REMEDY: dict[str, Style | None] = {
    "none": "dim", "hotpatch": "good", "restart": "bad", "upgrade": "name",
}  # fmt: skip

Row = tuple[str, ...]


def runs_old_code(finding: Finding) -> bool:
    return finding.state in OLD_STATES and finding.remedy != "none"


def print_findings(findings: Sequence[Finding], *, verbose: bool) -> None:
    """A row for processes that are alike; `verbose`: a row each, and whole paths."""
    if not findings:
        return
    placed = any(f.where for f in findings)
    columns = ["PID", "COMMAND", *(["WHERE"] if placed else [])]
    table = Table((*columns, "INSTALLED", "OBJECT", "STATE", "REMEDY"))
    for alike in [[f] for f in findings] if verbose else _grouped(findings):
        first = alike[0]
        where = [shortened([f.where or "host" for f in alike], 1)] if placed else []
        path = first.object.path.removesuffix(" (deleted)")
        table.add(
            shortened([str(f.key.pid) for f in alike], PIDS_IN_A_ROW),
            clean_command(first.command, 32), *where, package_text(first),
            path if verbose else path.rpartition("/")[2],
            Cell(state_text(first, verbose=verbose), _STATE[first.state]),
            Cell(remedy_text(first), _REMEDY[first.remedy]),
        )  # fmt: skip
    print_table(table)


def _grouped(findings: Sequence[Finding]) -> list[list[Finding]]:
    """By the program and what is to be said of it; arguments and containers may differ."""
    groups: dict[Row, list[Finding]] = {}
    for finding in findings:
        row = (
            finding.command.partition(" ")[0], package_text(finding), finding.object.path,
            state_text(finding, verbose=True), remedy_text(finding),
            finding.where.partition(" ")[0],
        )  # fmt: skip
        groups.setdefault(row, []).append(finding)
    return list(groups.values())


def shortened(texts: Sequence[str], most: int) -> str:
    """Such as: 4711 4712 4713 4714 +16."""
    different = list(dict.fromkeys(texts))
    rest = len(different) - most
    return " ".join(map(clean, different[:most])) + (f" +{rest}" if rest > 0 else "")


def package_text(finding: Finding) -> str:
    package = finding.package
    return f"{package.name} {package.version}" if package else "no package"


def state_text(finding: Finding, *, verbose: bool) -> str:
    ids = ", ".join(finding.active) if verbose or finding.state == "hotpatched" else ""
    return finding.state + (f": {ids}" if ids else "")


def remedy_text(finding: Finding) -> str:
    if finding.remedy == "hotpatch":
        return f"hotpatch {finding.hotpatch}"
    if finding.remedy == "restart":
        return f"restart ({finding.reason})"
    return "" if finding.remedy == "none" else finding.remedy


def print_reasons(findings: Sequence[Finding]) -> None:
    """Each reason once, with how many processes it holds back and the way out."""
    tally: Counter[tuple[str, str, str, str]] = Counter()
    for finding in findings:
        if finding.cause:
            name = finding.object.path.removesuffix(" (deleted)").rpartition("/")[2]
            tally[name, finding.cause, finding.reason, finding.next_step] += 1
    for (name, cause, reason, next_step), number in list(tally.items())[:MAX_LINES]:
        times = f" ({number} times)" if number > 1 else ""
        code = paint(f" [{clean(reason)}]", "dim")
        write(f"  {paint(clean(name), 'bold')}: {clean(cause)}{times}{code}")
        if next_step:
            write(f"    {paint('next:', 'bold')} {clean(next_step)}")
    _say_more(len(tally), "more reasons")


def print_old_files(old_files: Sequence[OldFile]) -> None:
    for old in old_files[:MAX_LINES]:
        owned = old.package
        owner = clean(f" (of {owned.name} {owned.version})") if owned else ""
        what = "its script" if old.kind == "script" else "data that it has mapped,"
        write(
            f"  {old.key.pid} {clean_command(old.command)}: {what} {clean(old.path)}{owner} "
            "was replaced after it started; only a restart reads it anew"
        )
    _say_more(len(old_files), "more files that were replaced")


def _say_more(number: int, what: str) -> None:
    if number > MAX_LINES:
        write(f"  … and {number - MAX_LINES} {what}; --json has all")


def tally_text(findings: Iterable[Finding]) -> list[str]:
    """Such as: 3 processes run old code; 2 of them can be healed without a restart."""
    found = list(findings)
    old = {f.key for f in found if runs_old_code(f)}
    restart = {f.key for f in found if f.remedy == "restart"}
    healed = {f.key for f in found if f.state == "healed"} - old
    ahead = {f.key for f in found if f.state == "ahead"}
    exposed = {f.key for f in found if f.state == "exposed"}
    parts = [_people(len(old), "runs", "run", "old code")]
    if old:
        parts.append(f"{len(old - restart)} can be healed without a restart")
        needs = "needs" if len(restart) == 1 else "need"
        parts.append(paint(f"{len(restart)} {needs} a restart", "bad" if restart else "good"))
    if healed:
        parts.append(f"{len(healed)} healed")
    if ahead:
        parts.append(paint(f"{len(ahead)} ahead of the disk", "warn"))
    if exposed:
        parts.append(paint(f"{len(exposed)} exposed, on disk too", "warn"))
    return parts


def _people(number: int, one: str, many: str, what: str) -> str:
    return f"{count(number, 'process', 'processes')} {one if number == 1 else many} {what}"
