"""Documentation that later patches wrote on: a patch's own lines come out of it, the rest stays.

Every security fix adds its lines at the same place of the same change log, so that no patch of a
series goes on without the one before. Where all lines that a patch wrote are still there, taking
exactly those out (and putting back what stood there) is exact: the two texts
differ by what the patch changes, and by nothing else. Whether a compiler reads the file makes no
difference to that; the name decides only for which files it is done, because near code that a
patch writes, others may build on it.

Refuses (None) where lines were changed since, and where a place is not certain.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from naht.build.debian.patch_stack import ENVIRONMENT, PatchStack
from naht.errors import HostileInputError, ToolError

_NAMES = re.compile(
    r"(?:change-?log|changes|news|history|readme|release|authors|thanks|credits|todo|bugs|copying|"
    r"upgrading)(?:[-_.][0-9.]+|\.html|\.debian)?"
)
_SUFFIXES = {".txt", ".md", ".rst", ".adoc"}
_INPUTS = {"cmakelists.txt"}
_LARGEST = 16 << 20
_TIMEOUT = 60.0
_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_AGAIN = "Get the source package again; if it stays so, it is damaged or not to be trusted."

Lines = list[bytes]


@dataclass(frozen=True)
class Hunk:
    """Lines [old, old_end) of one text become lines [new, new_end) of the other; from 0."""

    old: int
    old_end: int
    new: int
    new_end: int


def is_prose(path: str) -> bool:
    name = PurePosixPath(path).name.lower()
    if name in _INPUTS:
        return False
    return PurePosixPath(name).suffix in _SUFFIXES or bool(_NAMES.fullmatch(name))


def compare(old: Path, new: Path) -> list[Hunk]:
    """By diff(1), without context."""
    for path in (old, new):
        if path.stat().st_size > _LARGEST:
            raise HostileInputError(f"{path.name} is too large to be compared.", _AGAIN)
    command = ["diff", "-a", "-U0", "--", str(old), str(new)]
    done = subprocess.run(
        command, capture_output=True, env=ENVIRONMENT, timeout=_TIMEOUT, check=False
    )
    if done.returncode > 1:
        raise ToolError("diff failed.", "Install it: `apt-get install diffutils`.")
    return _hunks(done.stdout)


def _hunks(diff: bytes) -> list[Hunk]:
    lines, found, at = diff.split(b"\n"), list[Hunk](), 0
    while at < len(lines):
        head = _HUNK.match(lines[at])
        at += 1
        if not head:
            continue
        first, count, second, others = (int(x) if x else 1 for x in head.groups())
        # Where there are no lines, diff names the one before.
        old, new = first - (count > 0), second - (others > 0)
        found.append(Hunk(old, old + count, new, new + others))
        at += count + others  # a line of theirs may look like anything
    return found


def take_out(before: Path, after: Path, later: Path) -> bytes | None:
    """`later` without the change from `before` to `after`; None where that is not certain."""
    old, text = _lines(before), _lines(later)
    since = compare(after, later)
    for hunk in reversed(compare(before, after)):
        places = _places_of(hunk, since)
        if places is None:
            return None
        # Lines that were replaced lie together: what stood there goes to one place.
        for first, end in reversed(places):
            text[first:end] = old[hunk.old : hunk.old_end]
    return b"".join(text)


def _lines(path: Path) -> Lines:
    return _split(path.read_bytes())


def _split(text: bytes) -> Lines:
    """As diff(1) and patch(1) do: no other character than this ends a line."""
    *whole, rest = text.split(b"\n")
    return [line + b"\n" for line in whole] + ([rest] if rest else [])


def _places_of(hunk: Hunk, since: Sequence[Hunk]) -> list[tuple[int, int]] | None:
    """Where the hunk's new lines are in the later text: all of them, and together, except that
    lines which replaced none may have got others between them. Of no lines: the place of theirs."""
    places, first, moved = list[tuple[int, int]](), hunk.new, 0
    for later in since:
        if later.old >= hunk.new_end and later.old > hunk.new:
            break
        if later.old_end > hunk.new or hunk.new == hunk.new_end == later.old_end:
            if later.old != later.old_end or hunk.old != hunk.old_end or hunk.new == hunk.new_end:
                return None
            places.append((first + moved, later.old + moved))
            first = later.old
        moved = later.new_end - later.old_end
    return [*places, (first + moved, hunk.new_end + moved)]


def differs_by(old: Path, new: Path, changes: Sequence[tuple[Path, Path]]) -> bool:
    """Whether exactly those lines go and come between `old` and `new` that do in the changes."""
    wanted: Counter[bytes] = Counter()
    for before, after in changes:
        wanted.update(_lines(after))
        wanted.subtract(_lines(before))
    found = Counter(_lines(new))
    found.subtract(_lines(old))
    return {k: n for k, n in found.items() if n} == {k: n for k, n in wanted.items() if n}


class Prose:
    """The documentation that some patches of a stack wrote on, as it is in the whole stack."""

    def __init__(self, stack: PatchStack, absent: Collection[str]) -> None:
        self.stack = stack
        self.files = {f for f in stack.files(absent) if is_prose(f)}
        self.eased: set[str] = set()

    def changes(self, names: Sequence[str], file: str) -> list[tuple[Path, Path]]:
        """What each of these patches made of the file, in the order of the stack."""
        found = (self._change(name, file) for name in names)
        return [change for change in found if change is not None]

    def _change(self, name: str, file: str) -> tuple[Path, Path] | None:
        before = self.stack.touched(name).get(file)
        if before is None:
            return None
        above = self.stack.applied[self.stack.applied.index(name) + 1 :]
        afters = (self.stack.touched(other).get(file) for other in above)
        return before, next((a for a in afters if a is not None), self.stack.place(file))

    def ease(self, name: str, copy: PatchStack, absent: Collection[str], scratch: Path) -> bool:
        """Rewrites the patch in `copy`, where those patches are absent: its documentation is what
        it is in the whole stack, without their lines. False: it has none, or that is not exact."""
        patch = copy.file(name)
        sections = split_patch(patch.read_bytes())
        mine = [path for path, _ in sections if path in self.files]
        if len(set(mine)) != len(mine):
            return False
        for file in mine:
            text = self._without(name, file, absent, scratch)
            if text is None or not copy.place(file).is_file():
                return False
            scratch.write_bytes(text)
            part = _diff(copy.place(file), scratch, file)
            sections = [(path, part if path == file else raw) for path, raw in sections]
        if mine:
            patch.write_bytes(b"".join(raw for _, raw in sections))
            self.eased.update(mine)
        return bool(mine)

    def _without(
        self, name: str, file: str, absent: Collection[str], scratch: Path
    ) -> bytes | None:
        change = self._change(name, file)
        if change is None or not all(path.is_file() and path.stat().st_size for path in change):
            return None
        text: bytes | None = change[1].read_bytes()
        below = self.stack.applied[: self.stack.applied.index(name)]
        for other in reversed([n for n in below if n in absent]):
            made = self._change(other, file)
            if made is None or text is None:
                continue
            scratch.write_bytes(text)
            text = take_out(*made, scratch)
        return text


def leave_out(patch: Path, files: Collection[str]) -> None:
    """Of the patch, what it says of these files."""
    if files:
        parts = split_patch(patch.read_bytes())
        patch.write_bytes(b"".join(raw for path, raw in parts if path not in files))


def split_patch(text: bytes) -> list[tuple[str, bytes]]:
    """The parts of a patch by the file that each changes, one folder stripped; what comes before
    the first has no name. Put together they are the patch."""
    lines = _split(text)
    parts: list[tuple[str, Lines]] = [("", [])]
    at = 0
    while at < len(lines):
        following = lines[at + 1] if at + 1 < len(lines) else b""
        if lines[at].startswith(b"--- ") and following.startswith(b"+++ "):
            parts.append((_file_of(lines[at], following), []))
        size = _hunk_size(lines, at)
        parts[-1][1].extend(lines[at : at + size])
        at += size
    return [(path, b"".join(part)) for path, part in parts]


def _hunk_size(lines: Lines, at: int) -> int:
    """How many lines belong together: a whole hunk, or one line."""
    head = _HUNK.match(lines[at])
    if not head:
        return 1
    old, new = (int(count) if count else 1 for count in (head[2], head[4]))
    end = at + 1
    while end < len(lines) and (old > 0 or new > 0 or lines[end].startswith(b"\\")):
        old -= lines[end][:1] in b" -\n"
        new -= lines[end][:1] in b" +\n"
        end += 1
    return end - at


def _file_of(old: bytes, new: bytes) -> str:
    names = [line[4:].split(b"\t")[0].strip() for line in (new, old)]
    name = next((n for n in names if n != b"/dev/null"), b"")
    return name.partition(b"/")[2].decode("utf-8", "surrogateescape")


def _diff(old: Path, new: Path, file: str) -> bytes:
    command = [
        "diff", "-a", "-u", f"--label=a/{file}", f"--label=b/{file}", "--", str(old), str(new)
    ]  # fmt: skip
    return subprocess.run(
        command, capture_output=True, env=ENVIRONMENT, timeout=_TIMEOUT, check=False
    ).stdout
