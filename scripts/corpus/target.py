"""What every live check of one object shares: the two live roots (old and new build), the hotpatch
and the package's data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scripts.corpus.live_root import LiveRoot
from scripts.corpus.naht_cli import Naht
from scripts.corpus.package_data import PackageData

ObjectKind = Literal["library", "program", "static program"]


@dataclass(frozen=True)
class Target:
    name: str  # of the object's file, such as "libtiff.so.6.0.0"
    kind: ObjectKind
    path: str  # where it is in the root, without a leading slash
    naht: Naht
    old: LiveRoot
    new: LiveRoot
    data: PackageData
    patch: str
    compiled: Path  # a directory of the cache for compiled drivers

    @property
    def build_id(self) -> str:
        return self.naht.build_id
