"""Decides which patches the newer of two versions added, when only the newer one is at hand: from
the changelog entries between them, what the patches say about themselves, and their order.

Refuses when anything is in doubt, and lists the candidates; a human can name them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NoReturn

from naht.build.debian.changelog import Entry
from naht.build.debian.patch_notes import Mentions, PatchNotes, notes_of
from naht.build.debian.patch_stack import PatchStack
from naht.errors import BuildRefusedError

Verdict = Literal["added", "kept", "dated", "doubtful", "unknown"]
# Patches that went or were made anew, and build options: the newer source does not show how it was.
_MORE = re.compile(
    r"\b(?:drop|remov|delet|revert|refresh|rebas|disabl|amend|adjust|modif|rework)\w*\b[^\n]{0,60}\bpatch"
    r"|\bdebian/rules\b|--(?:en|dis)able-\w+|--with(?:out)?-\w+",
    re.IGNORECASE,
)


def added_patches(
    stack: PatchStack, newer: Sequence[Entry], older: Sequence[Entry]
) -> tuple[str, ...]:
    """`newer`: the changelog entries since the version that runs; `older`: the others."""
    recent, earlier = Mentions(newer), Mentions(older)
    since = older[0].timestamp
    notes = [notes_of(stack, name) for name in stack.applied]
    verdicts = {each.name: judge(each, recent, earlier, since) for each in notes}
    _weigh_dates(notes, verdicts, since)
    added = [each for each in notes if verdicts[each.name] == "added"]
    if problem := _doubt(notes, verdicts, added, recent):
        _refuse_doubt(problem, verdicts, newer)
    return tuple(each.name for each in added)


def judge(patch: PatchNotes, recent: Mentions, earlier: Mentions, since: int) -> Verdict:
    """By the patch alone; its neighbours come later."""
    if earlier.names(patch):
        return "doubtful" if recent.names(patch) else "kept"
    if recent.names(patch):
        # What was fixed before, and is spoken of again, may have been there in another form.
        amended = patch.named_by_cves and earlier.refers_to(patch)
        return "doubtful" if amended else "added"
    if earlier.refers_to(patch):
        # Named after nothing but what was fixed before: that fix, not a later one to it.
        settled = patch.named_by_cves or not recent.refers_to(patch)
        return "kept" if settled else "doubtful"
    if recent.refers_to(patch):
        return "added"
    # Written later than the version that runs, unless a tool gave it the day of an export.
    return "dated" if patch.written > since else "unknown"


def _weigh_dates(notes: Sequence[PatchNotes], verdicts: dict[str, Verdict], since: int) -> None:
    """Dates are believed in a series in which no patch that is surely old has a new one."""
    kept = [each for each in notes if verdicts[each.name] == "kept"]
    believed = all(each.written <= since for each in kept)
    for name, verdict in verdicts.items():
        if verdict == "dated":
            verdicts[name] = "added" if believed else "doubtful"


def _doubt(
    notes: Sequence[PatchNotes],
    verdicts: dict[str, Verdict],
    added: Sequence[PatchNotes],
    recent: Mentions,
) -> str:
    if doubtful := [name for name, verdict in verdicts.items() if verdict == "doubtful"]:
        return f"It is not certain whether these are new: {', '.join(doubtful)}"
    if not added:
        return "No patch can be told to be new"
    later = [each.name for each in notes[notes.index(added[0]) :]]
    if unknown := [name for name in later if verdicts[name] == "unknown"]:
        return f"Nothing tells whether these are new: {', '.join(unknown)}"
    if match := _MORE.search(recent.text):
        return f"The changelog tells of more than new patches ({match[0]!r})"
    return _unmatched(added, recent)


def _unmatched(added: Sequence[PatchNotes], recent: Mentions) -> str:
    open_cves = recent.cves - {cve for patch in added for cve in patch.cves}
    # A patch that names none may be theirs.
    if open_cves and all(patch.cves for patch in added):
        return f"No patch was found for {', '.join(sorted(open_cves))}"
    return ""


def _refuse_doubt(problem: str, verdicts: dict[str, Verdict], newer: Sequence[Entry]) -> NoReturn:
    candidates = [name for name, verdict in verdicts.items() if verdict != "kept"] or verdicts
    versions = ", ".join(entry.version for entry in newer)
    raise BuildRefusedError(
        "older-state-unknown",
        f"{problem} in {versions}, and the archive no longer has the older source.",
        f"Name what was added with --patch; candidates: {', '.join(candidates)}.",
    )
