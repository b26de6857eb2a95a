"""Tells proofs one after the other: each case is made ready once, all its proofs are told, and what
was seen is kept at once. Refuses nothing: what goes wrong is a fact of the proof."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path

from naht.errors import NahtError
from scripts.corpus.cases import Case
from scripts.corpus.objects import LivePart
from scripts.corpus.proofs.facts import Kept, Telling
from scripts.corpus.proofs.listed import Listed
from scripts.corpus.proofs.story import tell
from scripts.corpus.worker import Request, Worker


def run_proofs(
    wanted: Iterable[Listed],
    request: Callable[[Case, Path, bool], Request],
    scratch: Path,
    kept: Kept,
    say: Callable[[str], None],
) -> None:
    for case, proofs in groupby(wanted, lambda item: item.case):
        folder = scratch / case.key.replace("/", "%")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shown = True  # else its files are kept
        part = _live_part(Worker(request(case, folder, False)))
        for item in proofs:
            say(f"{case.package} {case.patch}: {item.name}…")
            telling = _told(item, part)
            kept.save(telling)
            shown = shown and telling.holds
            say("shown" if telling.holds else f"not shown: {'; '.join(telling.doubts())[:300]}")
        if shown:
            shutil.rmtree(folder, ignore_errors=True)


def _live_part(worker: Worker) -> LivePart | str:
    try:
        return worker.live_part()
    except NahtError as error:
        return f"{error.cause} {error.next_step}"


def _told(item: Listed, part: LivePart | str) -> Telling:
    case = item.case
    telling = Telling(
        case.package, case.version, case.patch, list(case.cves), item.daemon.name, item.name
    )
    if isinstance(part, str):
        telling.problems.append(part)
    else:
        tell(part, item.daemon, item.proof, telling)
    telling.finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return telling
