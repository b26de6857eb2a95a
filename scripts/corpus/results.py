"""What was found in each case, as documents on disk: one file per case, so that a run goes on where
an earlier one stopped. Facts only; what they amount to is decided in `verdicts`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from scripts.corpus.authored import Authored
from scripts.corpus.cases import Case

CheckKind = Literal["driver", "program", "daemon", "test"]
CheckOutcome = Literal["live", "refused", "failed", "unused"]
"""unused: the process never had the object mapped, so nothing was tried."""


class Refusal(msgspec.Struct, frozen=True):
    reason: str
    cause: str
    next_step: str = ""
    where: str = ""


class Proof(msgspec.Struct, frozen=True):
    """What was observed of a hole: in the old build, patched, reverted, and in the new build."""

    name: str
    old: str
    patched: str
    reverted: str
    new: str

    @property
    def closed(self) -> bool:
        return self.old != self.patched == self.new and self.reverted == self.old


class Check(msgspec.Struct):
    """One process (or one daemon's processes) that was patched and reverted."""

    kind: CheckKind
    name: str
    outcome: CheckOutcome = "live"
    problems: list[str] = msgspec.field(default_factory=list)
    reverted: bool = False  # and found as before, byte for byte
    refusal: Refusal | None = None
    proof: Proof | None = None
    notes: list[str] = msgspec.field(default_factory=list)
    processes: int = 1
    threads: int = 0
    functions: int = 0
    attempts: int = 0
    pause_ns: int = 0
    memory_bytes: int = 0
    requests: int = 0  # that a daemon's clients made meanwhile
    seconds: float = 0.0


class ObjectResult(msgspec.Struct):
    name: str
    shipped_as: list[str]
    refusal: Refusal | None = None
    functions: list[str] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)
    hotpatch_bytes: int = 0
    seconds: float = 0.0  # judging and writing the hotpatch
    checks: list[Check] = msgspec.field(default_factory=list)
    unchecked: str = ""  # why the live part was left out


class Trouble(msgspec.Struct, frozen=True):
    """What ended a case early. stage: fetch, root, build, trees, change, live, time."""

    stage: str
    kind: str
    cause: str
    reason: str = ""
    next_step: str = ""
    where: str = ""


class CaseResult(msgspec.Struct):
    package: str
    version: str
    patch: str
    change_class: str
    cves: list[str]
    finished: str = ""  # UTC
    trouble: Trouble | None = None
    how: str = ""  # how the older state was made
    authored: Authored | None = None  # what an author wrote, where the patch is not taken as it is
    objects: list[ObjectResult] = msgspec.field(default_factory=list)
    seconds: dict[str, float] = msgspec.field(default_factory=dict)  # of the stages

    @classmethod
    def of(cls, case: Case) -> CaseResult:
        return cls(case.package, case.version, case.patch, case.change_class, list(case.cves))


@dataclass(frozen=True)
class Store:
    directory: Path

    def path(self, case: Case) -> Path:
        return self.directory / f"{case.key}.json"

    def load(self, case: Case) -> CaseResult | None:
        """None when there is none, or when it is not of this version of the package."""
        try:
            result = msgspec.json.decode(self.path(case).read_bytes(), type=CaseResult)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        return result if result.version == case.version else None

    def save(self, case: Case, result: CaseResult) -> None:
        path = self.path(case)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))
        draft.replace(path)

    def present(self, cases: tuple[Case, ...]) -> Iterator[tuple[Case, CaseResult]]:
        for case in cases:
            if result := self.load(case):
                yield case, result
