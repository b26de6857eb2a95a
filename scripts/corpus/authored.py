"""What an author wrote for a case whose patch cannot be a hotpatch as it is: a patch in its place,
allowances with their reasons. Read from its folder of data; the contract is tests/corpus/README.md.
Refuses malformed files with their name, and reasons that are not given.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from naht.errors import UsageError
from scripts.corpus.cases import Case

_Said = Annotated[str, msgspec.Meta(min_length=1)]
_SEE = "See “Authors' patches” in tests/corpus/README.md."


class Allowed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One switch of the builder, and why it is true that it may be given."""

    switch: Literal["layout", "data", "constructor", "ownership"]
    name: _Said
    why: _Said


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    author: _Said
    why: _Said
    allow: tuple[Allowed, ...] = ()


class Authored(msgspec.Struct, frozen=True):
    """digest: of all that was written, so that a result of something else is known for old."""

    author: str
    why: str
    allow: tuple[Allowed, ...]
    has_patch: bool
    digest: str

    def allowances(self) -> dict[str, frozenset[str]]:
        """As the builder takes them."""
        kinds = {a.switch for a in self.allow}
        return {f"allow_{k}": frozenset(a.name for a in self.allow if a.switch == k) for k in kinds}


@dataclass(frozen=True)
class Authors:
    """All that authors wrote, by source package and patch."""

    directory: Path

    def patch_of(self, case: Case) -> Path:
        return self.directory / case.key

    def of(self, case: Case) -> Authored | None:
        """None: nobody wrote anything, the distribution's patch is taken as it is."""
        patch = self.patch_of(case)
        said = patch.with_name(f"{patch.name}.json")
        files = [file for file in (patch, said) if file.is_file()]
        if not files:
            return None
        document = _read(said)
        if not (patch in files or document.allow):
            raise UsageError(f"{said} stands for nothing: no patch, no allowance.", _SEE)
        digest = hashlib.sha256(b"".join(hashlib.sha256(f.read_bytes()).digest() for f in files))
        return Authored(
            document.author, document.why, document.allow, patch in files, digest.hexdigest()
        )


def _read(path: Path) -> _Document:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Document)
    except FileNotFoundError as error:
        raise UsageError(f"{path} is missing: nobody says who wrote it, and why.", _SEE) from error
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path} is malformed: {error}.", _SEE) from error
