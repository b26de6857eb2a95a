"""Which proofs there are: those of daemons in the packages' data, each with the case that it is
for. A proof of a patch that is in no case is left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.corpus.cases import Case
from scripts.corpus.package_data import Daemon, PackageData, ProofOfDaemon, proves


@dataclass(frozen=True)
class Listed:
    case: Case
    daemon: Daemon
    proof: ProofOfDaemon

    @property
    def name(self) -> str:
        return " ".join(self.proof.arguments)


def listed(cases: Iterable[Case], drivers: Path) -> Iterator[Listed]:
    """In the order of the cases."""
    data: dict[str, PackageData] = {}
    for case in cases:
        if case.package not in data:
            data[case.package] = PackageData.of(drivers / case.package)
        for daemon in data[case.package].daemons:
            for proof in daemon.proofs:
                if proves(proof.proves, case.patch):
                    yield Listed(case, daemon, proof)
