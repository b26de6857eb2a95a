"""One case from its source package to the last revert, in a process of its own: whatever it does,
the run goes on. `python -m scripts.corpus.worker REQUEST`, JSON in, a result document out.

Refuses nothing: every failure becomes a fact of the case.
"""

from __future__ import annotations

import datetime
import shutil
import sys
import time
import traceback
from pathlib import Path

import msgspec

from naht.build.debian.authors_patches import written_instead
from naht.build.debian.cache import Cache
from naht.build.debian.change import ChangeOptions, ChangeResult, SourceTrees, build_change
from naht.build.debian.change_job import Told
from naht.build.debian.patch_stack import PatchStack
from naht.build.debian.quilt import TreePair, state_before
from naht.errors import NahtError, ToolError
from naht.hotpatch.manifest import AuthorsPatch
from scripts.corpus.authored import Authors
from scripts.corpus.cases import Case
from scripts.corpus.inside_tools import inside_tools
from scripts.corpus.live_root import Ingredients
from scripts.corpus.objects import LivePart
from scripts.corpus.own_packages import own_packages
from scripts.corpus.package_data import PackageData
from scripts.corpus.packages import Clock, Ready, Workshop
from scripts.corpus.results import CaseResult, Trouble


class Request(msgspec.Struct, frozen=True, kw_only=True):
    case: Case
    cache: str
    suite: str
    entries: str
    jobs: int
    drivers: str  # directory with one folder per source package
    authors: str  # the same, of what authors wrote
    scratch: str
    keep: bool = False
    only_build: bool = False


def main() -> int:
    request = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Request)
    result = Worker(request).run()
    answer = Path(request.scratch) / "result.json"
    answer.write_bytes(msgspec.json.encode(result))
    return 0


class Worker:
    def __init__(self, request: Request) -> None:
        self.request = request
        self.case = request.case
        self.clock = Clock()
        self.scratch = Path(request.scratch)
        self.result = CaseResult.of(self.case)
        self.authors = Authors(Path(request.authors))

    def run(self) -> CaseResult:
        try:
            self._run()
        except NahtError as error:
            self.result.trouble = Trouble(
                self.clock.current, type(error).__name__, f"{error.cause}{self._log_end()}",
                getattr(error, "reason", ""), error.next_step, error.where or "",
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001  a fact of the case, with its place
            traceback.print_exc()
            where = traceback.extract_tb(error.__traceback__)[-1]
            self.result.trouble = Trouble(
                self.clock.current, type(error).__name__, str(error)[:2000],
                where=f"{Path(where.filename).name}:{where.lineno}",
            )  # fmt: skip
        self.result.seconds = {**self.clock.seconds, **self.result.seconds}
        now = datetime.datetime.now(datetime.UTC)
        self.result.finished = now.isoformat(timespec="seconds")
        return self.result

    def _log_end(self) -> str:
        """What the builder said last: its files go with the case."""
        log = self.scratch / "change/change.log"
        if self.clock.current != "change" or not log.is_file():
            return ""
        lines = log.read_text(errors="replace").strip().splitlines()
        return " Log: " + " / ".join(lines[-4:])[-800:]

    def _run(self) -> None:
        ready = self._ready()
        if self.request.only_build:
            return
        part = self.live_part(ready)
        with self.clock.stage("live"):
            self.result.objects = part.check_all()
        if not self.request.keep:
            shutil.rmtree(self.scratch / "change", ignore_errors=True)
            shutil.rmtree(self.scratch / "trees", ignore_errors=True)

    def _ready(self) -> Ready:
        request = self.request
        shop = Workshop(Cache(Path(request.cache)), request.suite, request.entries, request.jobs)
        with self.clock.stage("ready"):
            ready = shop.ready(self.case, _say)
        self.result.seconds.update(ready.seconds)
        return ready

    def live_part(self, ready: Ready | None = None) -> LivePart:
        """The case, ready to be run: built on both sides, with its hotpatches."""
        ready = ready or self._ready()
        change = self._change_alone(ready)
        return self._live_part(Cache(Path(self.request.cache)), ready, change)

    def _change_alone(self, ready: Ready) -> ChangeResult:
        """What the patch alone changes; if the source does not build without it, then as it was
        when the patch came."""
        try:
            return self._change_of(ready, self._pair(ready, without_later=False))
        except ToolError as error:
            if not self._has_later(ready):
                raise
            _say(f"{error.cause.splitlines()[0]} Taking what came later off, too.")
            shutil.rmtree(self.scratch / "change", ignore_errors=True)
            return self._change_of(ready, self._pair(ready, without_later=True))

    def _has_later(self, ready: Ready) -> bool:
        return PatchStack.of(ready.source.tree).applied[-1] != self.case.patch

    def _pair(self, ready: Ready, *, without_later: bool) -> TreePair:
        with self.clock.stage("trees"):
            self.result.authored = self.authors.of(self.case)
            into = self.scratch / "trees"
            return state_before(
                ready.source, [self.case.patch], into, without_later=without_later
            )  # fmt: skip

    def _change_of(self, ready: Ready, pair: TreePair) -> ChangeResult:
        self.result.how = pair.how
        with self.clock.stage("change"):
            return self._change(ready, pair, self._written_instead(pair))

    def _written_instead(self, pair: TreePair) -> tuple[Path, tuple[AuthorsPatch, ...]]:
        """The fixed side: the distribution's, or the author's."""
        authored = self.result.authored
        if authored is None or not authored.has_patch:
            return pair.new, ()
        new = self.scratch / "trees" / "authored"
        patch = self.authors.patch_of(self.case)
        return new, written_instead(pair.old, pair.patches, [patch], authored.author, new)

    def _change(
        self, ready: Ready, pair: TreePair, written: tuple[Path, tuple[AuthorsPatch, ...]]
    ) -> ChangeResult:
        base, (new, authors_patches) = ready.source.tree, written
        trees = SourceTrees(base, pair.old, None if new == base else new)
        told = Told(
            id=f"{self.case.package}.{Path(self.case.patch).name}"[:90],
            title=self.case.subject[:200] or self.case.patch,
            advisories=self.case.cves,
            authors_patches=authors_patches,
        )
        authored = self.result.authored
        options = ChangeOptions(allow=authored.allowances() if authored else {})
        return build_change(ready.built, trees, self.scratch / "change", told, _say, options)

    def _live_part(self, cache: Cache, ready: Ready, change: ChangeResult) -> LivePart:
        data = PackageData.of(Path(self.request.drivers) / self.case.package)
        packages = own_packages(cache, ready.built)
        compiled = packages.parent / "drivers"
        compiled.mkdir(exist_ok=True)
        ingredients = Ingredients(
            ready.built.root, packages, inside_tools(cache, ready.built.root), data.directory,
            (ready.built.place, ready.built.build),
        )  # fmt: skip
        return LivePart(change, ingredients, data, self.case.patch, self.scratch / "live", compiled)


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
