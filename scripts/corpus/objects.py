"""All live checks of one changed object: it is run as Debian ships it, patched and reverted in
every kind of process that we know how to make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from naht.build.debian.change import ChangeResult
from naht.build.debian.change_job import ObjectChange
from naht.errors import NahtError
from scripts.corpus.daemon_check import check_daemon
from scripts.corpus.driver_check import check_driver, check_loaded
from scripts.corpus.held import HOLD
from scripts.corpus.live_root import Ingredients, LiveRoot, live_root
from scripts.corpus.naht_cli import Naht
from scripts.corpus.needed import object_kind, tests_of, users_of
from scripts.corpus.package_data import PackageData, Run, proves
from scripts.corpus.program_check import check_program
from scripts.corpus.results import Check, ObjectResult, Refusal
from scripts.corpus.rooms import home_of, places, share_out
from scripts.corpus.target import ObjectKind, Target

_PLAIN_ARGUMENTS: tuple[tuple[str, ...], ...] = (("--version",), ("--help",), ())
_MOST_TOOLS = 2  # of a library, without data
_MOST_TESTS = 2
_MOST_HOSTS = 6  # tried for a plug-in
MOST_ALIKE = 12  # programs of one case that are run; the others are alike


@dataclass(frozen=True)
class LivePart:
    change: ChangeResult
    ingredients: Ingredients
    data: PackageData
    patch: str
    scratch: Path
    compiled: Path

    def check_all(self) -> list[ObjectResult]:
        results = [_facts(self.change, thing) for thing in self.change.objects]
        rooms = share_out(self.change.objects)
        for here, room in enumerate(rooms):
            with self.roots(room) as (old, new):
                for number, thing in enumerate(self.change.objects):
                    if thing.hotpatch and thing.shipped_as and home_of(thing, rooms) == here:
                        if number >= MOST_ALIKE and self._kind(thing) != "library":
                            said = f"{MOST_ALIKE} other objects of the case were run"
                            results[number].unchecked = said
                            continue
                        results[number].checks += self._check(thing, old, new)
        return results

    @contextmanager
    def roots(
        self, objects: Sequence[ObjectChange] | None = None
    ) -> Iterator[tuple[LiveRoot, LiveRoot]]:
        """These objects of the case (of rivals for one path: the last one) are old in the one and
        new in the other. Neither is started when there is nothing to run."""
        objects = self.change.objects if objects is None else objects
        with ExitStack() as stack:
            if not any(o.hotpatch for o in objects):
                yield None, None  # type: ignore[misc]
                return
            made = (
                stack.enter_context(
                    live_root(self.ingredients, self.scratch / n, self._files(n, objects))
                )
                for n in ("old", "new")
            )
            yield next(made), next(made)

    def _files(self, side: str, objects: Sequence[ObjectChange]) -> dict[str, Path]:
        return {
            path: self.change.path(o.running_file if side == "old" else o.new_file)
            for o in objects
            for path in places(o)
        }

    def _kind(self, thing: ObjectChange) -> ObjectKind:
        return object_kind(self.change.path(thing.running_file))

    def _check(self, thing: ObjectChange, old: LiveRoot, new: LiveRoot) -> list[Check]:
        assert thing.hotpatch
        path = places(thing)[0]
        naht = Naht(self.change.path(thing.hotpatch), thing.build_id)
        kind = self._kind(thing)
        target = Target(
            PurePosixPath(path).name, kind, path, naht, old, new, self.data, self.patch,
            self.compiled,
        )  # fmt: skip
        try:
            if kind == "library":
                return [*self._library_checks(target)]
            return [*self._program_checks(target)]
        except NahtError as error:
            return [Check("program", target.name, "failed", [f"{error.cause} {error.next_step}"])]

    def _library_checks(self, target: Target) -> Iterator[Check]:
        drivers = [d for d in self.data.drivers if d.is_for(target.name, self.patch)]
        loaded = check_loaded(target)
        yield loaded
        for driver in drivers:
            yield check_driver(target, driver)
        given = [check_program(target, run) for run in self._given_runs(None)]
        used = [check for check in given if check.outcome != "unused"]
        yield from used
        if not used:
            yield from self._tools(target)
        yield from self._own_tests(target)
        for daemon in self.data.daemons:  # which of them have it mapped is seen when they run
            yield check_daemon(target, daemon)
        if loaded.outcome == "unused" and not used and not drivers:
            yield from self._hosted(target)

    def _program_checks(self, target: Target) -> Iterator[Check]:
        runs = [*self._given_runs(target.path)]
        if not any(not run.proves for run in runs):
            runs += [Run(target.path, arguments) for arguments in _PLAIN_ARGUMENTS]
        checks = [check_program(target, run) for run in runs]
        yield from checks
        if not any(check.reverted for check in checks):
            yield check_program(target, runs[-1], early=True)
        for daemon in self.data.daemons:
            if daemon.program == target.path:
                yield check_daemon(target, daemon)

    def _given_runs(self, program: str | None) -> Iterator[Run]:
        for run in self.data.runs:
            if program in (None, run.program) and (
                not run.proves or proves(run.proves, self.patch)
            ):
                yield run

    def _tools(self, target: Target) -> Iterator[Check]:
        """Programs of the package that are linked against the library."""
        for program in users_of(target.name, self.ingredients.packages)[:_MOST_TOOLS]:
            yield check_program(target, Run(program, ("--version",)))

    def _own_tests(self, target: Target) -> Iterator[Check]:
        """The package's own test programs, where its build left some: as they end with an unpatched
        library of the new build."""
        if self.ingredients.build is None:
            return
        place, directory = self.ingredients.build
        for test in tests_of(target.name, directory)[:_MOST_TESTS]:
            program = f"{place.lstrip('/')}/{test}"
            folder = PurePosixPath("/", program).parent
            cwd = str(folder.parent if folder.name == ".libs" else folder)
            where = {"LD_LIBRARY_PATH": f"/{PurePosixPath(target.path).parent}"}
            run = Run(program, environment=where, ignore_output=True)
            yield check_program(target, run, kind="test", cwd=cwd)

    def _hosted(self, target: Target) -> Iterator[Check]:
        """A plug-in that uses symbols of its program: loaded into programs of the package until it
        fits one."""
        for program in users_of("", self.ingredients.packages)[:_MOST_HOSTS]:
            run = Run(program, ("--version",), ignore_output=True)
            check = check_program(target, run, preload=f"{HOLD}:/{target.path}")
            if check.outcome != "unused":
                check.name = f"preloaded into {run.name}"
                yield check
                return


def _facts(change: ChangeResult, thing: ObjectChange) -> ObjectResult:
    said = thing.refusal
    refusal = Refusal(said.reason, said.cause, said.next_step, said.where) if said else None
    return ObjectResult(
        thing.name,
        list(thing.shipped_as),
        refusal,
        list(thing.functions),
        list(thing.notes),
        change.path(thing.hotpatch).stat().st_size if thing.hotpatch else 0,
        thing.seconds,
    )
