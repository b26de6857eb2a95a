"""`make corpus`: real Debian security patches as hotpatches in live processes, judged against the
aims, into docs/results/. Goes on where an earlier run stopped.

    make corpus ARGS="--package tiff --again"
    make corpus ARGS="--only-failed --jobs 2"
    make corpus ARGS="--report"                    what is there already, nothing is run
    make corpus ARGS="--proofs --package nginx"    holes that close in daemons under load
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import signal
import sys
from collections import Counter
from pathlib import Path

from naht import __version__
from naht.build.debian.cache import Cache
from naht.errors import NahtError
from scripts.corpus.authored import Authors
from scripts.corpus.cases import Case, by_package, read_cases, select
from scripts.corpus.packages import Workshop
from scripts.corpus.proofs.facts import Kept
from scripts.corpus.proofs.listed import listed
from scripts.corpus.proofs.run import run_proofs
from scripts.corpus.proofs.table import render as render_proofs
from scripts.corpus.report import Circumstances, Judged, build_seconds, judged, render
from scripts.corpus.results import CaseResult, Store
from scripts.corpus.run import CHECKOUT, Limits, Run
from scripts.corpus.verdicts import judge, read_notes
from scripts.corpus.worker import Request

_LATER = 1e9

DATA = CHECKOUT / "tests/corpus"


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what it started, too
    try:
        corpus = Corpus(options)
        return corpus.prove() if options.proofs else corpus.run()
    except KeyboardInterrupt:
        say("interrupted; the next run goes on from here")
        return 130
    except NahtError as error:
        say(f"error: {error.cause}\n next: {error.next_step}")
        return error.exit_code


class Corpus:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.listed = read_cases(options.list)
        self.notes = read_notes(options.notes)
        self.authors = Authors(options.authors)
        self.store = Store(options.cache / "corpus" / "results" / options.list.stem)
        self.done = 0

    def run(self) -> int:
        options = self.options
        chosen = select(self.listed, options.package, options.patch, options.change_class)
        if options.built:
            sizes = self._sizes(chosen)
            chosen = tuple(c for c in chosen if sizes[c.package])
        chosen = tuple(c for c in chosen if self._is_due(c))
        if options.report:
            chosen = ()
        groups = tuple(g[: options.each] for g in by_package(chosen, self._cost(chosen)))
        self.due = sum(map(len, groups))
        say(f"{self.due} cases in {len(groups)} packages")
        run = Run(
            self.store, options.cache / "corpus" / "scratch",
            Limits(options.build_seconds, options.case_seconds, options.max_seconds),
            self._request, self._tell, options.keep, lambda case: self.authors.of(case) is not None,
        )  # fmt: skip
        try:
            run.all(groups, options.jobs)
        finally:
            self._write_report()
        return 0

    def prove(self) -> int:
        """The proofs of daemons under load, instead of the cases."""
        options = self.options
        chosen = select(self.listed, options.package, options.patch, options.change_class)
        kept = Kept(options.cache / "corpus" / "proofs")
        if not options.report:
            scratch = options.cache / "corpus" / "proofs" / "scratch"
            run_proofs(listed(chosen, options.drivers), self._request, scratch, kept, say)
        tellings = tuple(kept.all())
        self._write(
            options.proofs_output, render_proofs(tellings, self._judged(), _circumstances())
        )
        return 0 if all(t.holds for t in tellings) else 1

    def _is_due(self, case: Case) -> bool:
        result = self.store.load(case)
        if result is None or self.options.again or result.authored != self.authors.of(case):
            return True
        outcome = judge(result, self.notes)[0].outcome
        return bool(self.options.only_failed) and outcome in ("failed", "refused-wrong")

    def _cost(self, chosen: tuple[Case, ...]) -> dict[str, float]:
        """What is built already comes first, small ones before large ones; then by the time that
        the build took when it was last seen."""
        sizes = self._sizes(chosen)
        built = {package: float(size) - _LATER for package, size in sizes.items() if size}
        return {**build_seconds(self._judged()), **built}

    def _sizes(self, chosen: tuple[Case, ...]) -> dict[str, int]:
        shop = self._shop()
        return {p: shop.size_when_built(p) for p in {c.package for c in chosen}}

    def _shop(self) -> Workshop:
        return Workshop(Cache(self.options.cache), self.options.suite, "", 1)

    def _request(self, case: Case, scratch: Path, only_build: bool) -> Request:
        options = self.options
        return Request(
            case=case, cache=str(options.cache), suite=options.suite,
            entries=options.sources.read_text() if options.sources else "", jobs=options.build_jobs,
            drivers=str(options.drivers.resolve()), authors=str(options.authors.resolve()),
            scratch=str(scratch), keep=options.keep, only_build=only_build,
        )  # fmt: skip

    def _tell(self, case: Case, result: CaseResult) -> None:
        self.done += 1
        verdict = judge(result, self.notes)[0]
        seconds = sum(result.seconds.get(s, 0.0) for s in ("trees", "change", "live"))
        more = f" [{verdict.reason}] {verdict.cause[:120]}" if verdict.reason else ""
        line = f"{case.package} {case.patch}: {verdict.outcome} ({seconds:.0f} s){more}"
        say(f"{self.done}/{self.due} {' '.join(line.split())}")

    def _judged(self) -> tuple[Judged, ...]:
        return judged(self.store.present(self.listed), self.notes)

    def _write_report(self) -> None:
        items = self._judged()
        count = Counter(i.outcome for i in items)
        say(", ".join(f"{n} {outcome}" for outcome, n in count.most_common()))
        self._write(self.options.output, render(items, len(self.listed), _circumstances()))

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        say(f"written to {path}")


def _circumstances() -> Circumstances:
    with Path("/proc/cpuinfo").open() as stream:
        models = [line.partition(":")[2].strip() for line in stream if "model name" in line]
    processor = models[0] if models else platform.machine()
    machine = f"{processor}, {os.cpu_count()} CPUs, Linux {platform.release()}"
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return Circumstances(today, " ".join(["make corpus", *_arguments()]), machine, __version__)


def _arguments() -> list[str]:
    return [f'ARGS="{" ".join(sys.argv[1:])}"'] if sys.argv[1:] else []


def say(text: str) -> None:
    print(f"{datetime.datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make corpus", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--list", type=Path, default=DATA / "cases.json", help="the cases")
    add("--package", nargs="+", default=[], metavar="PATTERN", help="only these source packages")
    add("--patch", nargs="+", default=[], metavar="PATTERN", help="only these patches")
    add("--class", nargs="+", default=[], dest="change_class", metavar="LETTER",
        help="only these classes of change (A, A2, B, …)")  # fmt: skip
    add("--each", type=int, metavar="N", help="at most so many of each package")
    add("--only-failed", action="store_true", help="failed and wrongly refused ones once more")
    add("--again", action="store_true", help="also cases that have a result")
    add("--built", action="store_true", help="only packages whose whole build is in the cache")
    add("--report", action="store_true", help="run nothing, write the report")
    add("--jobs", type=int, default=1, help="packages side by side (default 1)")
    add("--build-jobs", type=int, default=1, help="compilers side by side in a package's build")
    add("--max-seconds", type=float, help="start no case after this time")
    add("--case-seconds", type=float, default=600, help="time of one case (default 600)")
    add("--build-seconds", type=float, default=7200, help="time of one package's build")
    add("--cache", type=Path, default=Path("/var/cache/naht-build"))
    add("--suite", default="bookworm")
    add("--sources", type=Path,
        help="deb822 file that clean roots are made from (default: this host's)")  # fmt: skip
    add("--drivers", type=Path, default=DATA / "drivers")
    add("--authors", type=Path, default=DATA / "authors",
        help="what authors wrote in place of some patches")  # fmt: skip
    add("--notes", type=Path, default=DATA / "notes.json")
    add("--output", type=Path, default=CHECKOUT / "docs/results/corpus-debian.md")
    add("--proofs", action="store_true", help="only the holes that close in daemons under load")
    add("--proofs-output", type=Path, default=CHECKOUT / "docs/results/holes-closing.md")
    add("--keep", action="store_true", help="keep the hotpatches and logs of each case")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
