"""What a hotpatch says about itself, as frozen types; decoding refuses anything unknown.

Offsets are link-time virtual addresses in the target object (`st_value`), so that
runtime address = load bias + offset. Sizes are bytes. Digests are SHA-256 in lower-case hex.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from naht.domain.package import ShippedVersion

SCHEMA = 1
MAX_FUNCTIONS = 20_000
MAX_BINDINGS = 200_000

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
Text = Annotated[str, msgspec.Meta(max_length=16384)]
HotpatchId = Annotated[
    str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+~-]*$(?!\n)")
]
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
BuildIdText = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{2}){4,64}$(?!\n)")]
Offset = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 30)]

Severity = Literal["critical", "important", "moderate", "low", "unknown"]
Consistency = Literal["quiescent", "overlap"]
"""quiescent: no thread may be inside, or have on its stack, a replaced function, and all
functions change together. overlap: old and new calls may run side by side, function by function."""
Escape = Literal["none", "data", "code"]
"""Which addresses of the hotpatch the target may keep after revert: none, its data (a string
literal that is returned), or its code (a function pointer that is stored)."""


class Frozen(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Part(Frozen, frozen=True, kw_only=True):
    """One contiguous range of an old function; `section` of the image holds the same bytes."""

    offset: Offset
    size: Size
    digest: Digest
    section: Name


class Function(Frozen, frozen=True, kw_only=True):
    name: Name  # STT_FUNC symbol in the image
    change: Literal["changed", "new"]
    new_size: Size
    new_digest: Digest  # of the image's section bytes before relocation
    parts: tuple[Part, ...] = ()  # old code, entry part first; empty for a new function
    redirect: Offset = 0  # where the 5-byte jump goes: the entry, or the entry + 4 after endbr64
    displaced: str = ""  # image symbol of the displaced first instructions; "" if they can't move
    returns: bool = True  # False: no return instruction, such as an event loop
    reason: Text = ""  # why it is included: "source changed", "inlines foo", …

    @property
    def old_size(self) -> int:
        return sum(part.size for part in self.parts)


class Binding(Frozen, frozen=True, kw_only=True):
    """What an undefined symbol of the image means in the target process.

    object:      load bias + offset of the target object
    import:      the definition of `name` (with `version`, if any) in the target's link map
    tls_module:  the target object's TLS module id
    """

    symbol: Name
    kind: Literal["object", "import", "tls_module"]
    offset: Offset = 0
    name: str = ""
    version: str = ""
    weak: bool = False  # an import that may be missing; it is then 0


class Hooks(Frozen, frozen=True, kw_only=True):
    """Image symbols of the author's hooks; empty where there is none."""

    pre_apply: str = ""
    post_apply: str = ""
    pre_revert: str = ""


class Target(Frozen, frozen=True, kw_only=True):
    build_id: BuildIdText
    name: Name  # SONAME or file name, for people only; never used to find the object
    kind: Literal["executable", "library"]


class Image(Frozen, frozen=True, kw_only=True):
    architecture: Literal["x86_64"]
    member: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]{1,32}\.o$(?!\n)")]
    digest: Digest
    target: Target
    functions: Annotated[tuple[Function, ...], msgspec.Meta(max_length=MAX_FUNCTIONS)]
    bindings: Annotated[tuple[Binding, ...], msgspec.Meta(max_length=MAX_BINDINGS)]
    hooks: Hooks = Hooks()
    escapes: Escape = "none"
    hands_over: Annotated[tuple[Name, ...], msgspec.Meta(max_length=16)] = ()
    """Symbols of 8-byte words whose value a hotpatch that replaces this one takes over."""


class Component(Frozen, frozen=True, kw_only=True):
    purl: Text
    name: Name


class Allowance(Frozen, frozen=True, kw_only=True):
    """A switch by which a human overrode a refusal."""

    switch: Name
    subject: Text
    cause: Text


class Source(Frozen, frozen=True, kw_only=True):
    path: Name
    old_digest: str  # "" when the file is new
    new_digest: str  # "" when the file is gone


class AuthorsPatch(Frozen, frozen=True, kw_only=True):
    """A source change that an author wrote in place of the distribution's."""

    patch: Name  # file name
    digest: Digest
    author: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
    description: Text = ""
    replaces: tuple[Name, ...] = ()  # the distribution's patches; empty: all between the versions


class Provenance(Frozen, frozen=True, kw_only=True):
    builder: Name
    compilers: tuple[str, ...]
    command: Text
    sources: tuple[Source, ...]
    allowances: tuple[Allowance, ...] = ()
    dropped: tuple[str, ...] = ()  # functions whose only difference was line numbers or paths
    authors_patches: Annotated[tuple[AuthorsPatch, ...], msgspec.Meta(max_length=256)] = ()


class Manifest(Frozen, frozen=True, kw_only=True):
    schema: Literal[1]
    id: HotpatchId
    title: Text
    advisories: tuple[Name, ...]
    severity: Severity
    component: Component
    level: Annotated[int, msgspec.Meta(ge=1, lt=1 << 31)]
    supersedes: tuple[HotpatchId, ...]
    brings_to: Annotated[tuple[ShippedVersion, ...], msgspec.Meta(max_length=64)] = ()
    minimum_engine: Name
    consistency: Consistency
    images: Annotated[tuple[Image, ...], msgspec.Meta(min_length=1, max_length=8)]
    provenance: Provenance
