"""The JSON documents that `--json` prints, as types. docs/schemas/*.json is generated from them.

A document says all that the printed form says. Fields are only ever added; a change of meaning
takes a new number in `schema`.
"""

from __future__ import annotations

import datetime
from typing import Literal

import msgspec

from naht.domain.host import Finding, OldFile
from naht.domain.process import ProcessOutcome, ProcessState, ScannedProcess
from naht.hotpatch.manifest import Allowance, AuthorsPatch, Manifest


class Document(msgspec.Struct, frozen=True, kw_only=True):
    pass


class HotpatchReference(Document, frozen=True, kw_only=True):
    id: str
    title: str
    digest: str
    origin: str
    level: int
    severity: str
    advisories: tuple[str, ...]
    build_ids: tuple[str, ...]
    consistency: str


class OperationSummary(Document, frozen=True, kw_only=True):
    processes: int
    good: int
    refused: int
    unreadable: int  # refused, and whether they run the target is not known
    busy: int
    gone: int
    failed: int
    longest_pause_ns: int
    memory_bytes: int
    elapsed_ns: int


class ApplyDocument(Document, frozen=True, kw_only=True):
    hotpatch: HotpatchReference
    dry_run: bool
    processes: tuple[ProcessOutcome, ...]
    summary: OperationSummary
    exit_code: int
    interrupted: bool = False
    schema: Literal["naht.apply/1"] = "naht.apply/1"


class RevertDocument(Document, frozen=True, kw_only=True):
    hotpatch: str
    dry_run: bool
    processes: tuple[ProcessOutcome, ...]
    summary: OperationSummary
    exit_code: int
    interrupted: bool = False
    schema: Literal["naht.revert/1"] = "naht.revert/1"


class StatusDocument(Document, frozen=True, kw_only=True):
    processes: tuple[ProcessState, ...]
    exit_code: int
    schema: Literal["naht.status/1"] = "naht.status/1"


class LibraryProblem(Document, frozen=True, kw_only=True):
    path: str
    cause: str


class LibraryReference(Document, frozen=True, kw_only=True):
    directory: str
    hotpatches: int
    problems: tuple[LibraryProblem, ...]  # files that are not used


class ScanDocument(Document, frozen=True, kw_only=True):
    hotpatch: HotpatchReference | None
    processes: tuple[ScannedProcess, ...]
    exit_code: int
    library: LibraryReference | None = None
    findings: tuple[Finding, ...] = ()
    old_files: tuple[OldFile, ...] = ()
    elapsed_ns: int = 0
    schema: Literal["naht.scan/1"] = "naht.scan/1"


class HealDocument(Document, frozen=True, kw_only=True):
    library: LibraryReference
    packages: tuple[str, ...]  # as asked for; empty: all
    dry_run: bool
    processes: tuple[ProcessOutcome, ...]  # what was done
    findings: tuple[Finding, ...]  # what the last look found; with --dry-run, the only one
    remaining: int  # findings among these that still run old code; outcomes tell of the tried
    unreadable: int  # processes of which nothing is known
    summary: OperationSummary
    exit_code: int
    interrupted: bool = False
    schema: Literal["naht.heal/1"] = "naht.heal/1"


class InspectDocument(Document, frozen=True, kw_only=True):
    digest: str
    size: int
    manifest: Manifest
    schema: Literal["naht.inspect/1"] = "naht.inspect/1"


class BuildDocument(Document, frozen=True, kw_only=True):
    output: str
    digest: str
    size: int
    hotpatch: HotpatchReference
    functions: tuple[str, ...]
    dropped: tuple[str, ...]
    allowances: tuple[Allowance, ...]
    elapsed_ns: int
    exit_code: int = 0
    schema: Literal["naht.build/1"] = "naht.build/1"


class DebianObject(Document, frozen=True, kw_only=True):
    """A shipped object that the change alters. hotpatch: the file; null: refused, by `reason`."""

    shipped_as: tuple[str, ...]  # "binarypackage:path"
    object: str  # what the build made, relative to its tree
    build_id: str  # of what hosts run
    outcome: Literal["hotpatch", "refused"]
    hotpatch: str | None
    functions: tuple[str, ...]
    reference: str  # how far the rebuilt old object is the shipped one
    reason: str = ""
    cause: str = ""
    next_step: str = ""
    where: str = ""
    notes: tuple[str, ...] = ()


class ChangedCopy(Document, frozen=True, kw_only=True):
    """Another place that holds changed code, and gets no hotpatch."""

    kind: str
    name: str
    shipped_as: tuple[str, ...]
    units: tuple[str, ...]
    note: str


class DebianSummary(Document, frozen=True, kw_only=True):
    objects: int
    hotpatches: int
    refused: int
    copies: int
    elapsed_ns: int


class BuildDebianDocument(Document, frozen=True, kw_only=True):
    source: str
    from_version: str
    to_version: str
    directory: str
    how: str  # where the older source came from
    patches: tuple[str, ...]  # empty: everything between the versions
    advisories: tuple[str, ...]
    objects: tuple[DebianObject, ...]
    copies: tuple[ChangedCopy, ...]
    unread: tuple[str, ...]  # changed files that enter no compilation
    unchanged: tuple[str, ...]  # shipped objects that were linked anew and have the same code
    summary: DebianSummary
    exit_code: int
    authors_patches: tuple[AuthorsPatch, ...] = ()  # built in place of `patches`
    schema: Literal["naht.build-debian/1"] = "naht.build-debian/1"


class KeyReference(Document, frozen=True, kw_only=True):
    name: str
    keyid: str
    scheme: str


class RepositoryKeyDocument(Document, frozen=True, kw_only=True):
    keys: tuple[KeyReference, ...]
    exit_code: int = 0
    schema: Literal["naht.repo-key/1"] = "naht.repo-key/1"


class WaitingRole(Document, frozen=True, kw_only=True):
    role: str
    signatures: int  # that it lacks


class RepositoryChangeDocument(Document, frozen=True, kw_only=True):
    """What `repo init`, `add`, `promote`, `withdraw`, `sign` and `rekey` came to. published: role →
    version; empty where the change was staged and waits for signatures."""

    published: dict[str, int]
    waiting: tuple[WaitingRole, ...]
    online_keys: bool  # whether those of snapshot and timestamp were at hand
    exit_code: int = 0
    schema: Literal["naht.repo-change/1"] = "naht.repo-change/1"


class RepositoryRole(Document, frozen=True, kw_only=True):
    role: str
    version: int
    expires: datetime.datetime  # of a product: the first of its bins
    state: Literal["fresh", "soon", "expired"]
    keys: int
    threshold: int
    bins: int
    targets: int


class RepositoryStatusDocument(Document, frozen=True, kw_only=True):
    roles: tuple[RepositoryRole, ...]
    staged: tuple[str, ...]  # roles of a change that waits for signatures
    exit_code: int
    schema: Literal["naht.repo-status/1"] = "naht.repo-status/1"


class RepositoryVerifyDocument(Document, frozen=True, kw_only=True):
    roles: int
    targets: int
    bytes: int
    problems: tuple[str, ...]
    exit_code: int
    schema: Literal["naht.repo-verify/1"] = "naht.repo-verify/1"


class ErrorDetail(Document, frozen=True, kw_only=True):
    kind: str
    reason: str
    cause: str
    next_step: str
    where: str


class ErrorDocument(Document, frozen=True, kw_only=True):
    error: ErrorDetail
    exit_code: int
    schema: Literal["naht.error/1"] = "naht.error/1"


DOCUMENTS: dict[str, type[Document]] = {
    "apply": ApplyDocument,
    "revert": RevertDocument,
    "status": StatusDocument,
    "scan": ScanDocument,
    "heal": HealDocument,
    "inspect": InspectDocument,
    "build": BuildDocument,
    "build-debian": BuildDebianDocument,
    "repo-key": RepositoryKeyDocument,
    "repo-change": RepositoryChangeDocument,
    "repo-status": RepositoryStatusDocument,
    "repo-verify": RepositoryVerifyDocument,
    "error": ErrorDocument,
}


def encode(document: Document) -> str:
    """Pretty JSON with `schema` first. Bytes that are not text become backslash escapes."""
    fields = msgspec.to_builtins(document)
    ordered = {"schema": fields.pop("schema"), **fields}
    try:
        raw = msgspec.json.encode(ordered)
    except UnicodeEncodeError:  # a surrogate, from a path that is not UTF-8
        raw = msgspec.json.encode(_without_surrogates(ordered))
    return msgspec.json.format(raw, indent=2).decode()


def _without_surrogates(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_surrogates(item) for item in value]
    return value
