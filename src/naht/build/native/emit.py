"""A judged change becomes a hotpatch: manifest and ELF image. The last stage of the builder.

It trusts the judge about what has changed, and nobody about what can be linked: a name that can't
be reached in the running object is refused. Same inputs, same bytes.
"""

from __future__ import annotations

import hashlib
import re

from naht import __version__
from naht.build.compile_pair import BuiltPair
from naht.build.native.bindings import Bindings
from naht.build.native.changes import ChangeSet
from naht.build.native.closure import Closure, PlacedFunction
from naht.build.native.code_checks import calls_own_start
from naht.build.native.consistency import ChangedCode, choose_consistency
from naht.build.native.description import Description
from naht.build.native.linking import Linking
from naht.build.native.new_build import NewBuild
from naht.build.native.old_object import OldObject
from naht.build.native.references import References
from naht.build.native.relocatable import Named
from naht.build.native.replaced_code import ReplacedCode, ReplacedCodeWriter
from naht.build.native.running_object import RunningObject
from naht.build.native.slots import Slots
from naht.build.native.tls import Tls
from naht.build.native.unwind import UnwindTable
from naht.build.native.writer import Draft, write_image
from naht.elf.file import ElfFile
from naht.errors import BuildRefusedError, HostileInputError
from naht.hotpatch.container import pack_hotpatch, unpack_hotpatch
from naht.hotpatch.image import check_image
from naht.hotpatch.manifest import (
    Component,
    Consistency,
    Function,
    Hooks,
    Image,
    Manifest,
    Provenance,
    Target,
)

__all__ = ["Description", "emit"]

MEMBER = "x86_64.o"
MINIMUM_ENGINE = "0.1.0"
HANDED_OVER = frozenset({"naht_shadow_root"})  # naht.h: where the shadow data are found


def emit(
    pair: BuiltPair, changes: ChangeSet, description: Description
) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest, and the image by its member name."""
    running = RunningObject(pair.running)
    emission = _Emission(pair, changes, running)
    functions = emission.run()
    raw = write_image(emission.draft)
    image = _describe_image(emission, functions, raw)
    consistency = emission.consistency(description.consistency)
    manifest = _describe(pair, changes, description, image, consistency)
    _check(manifest, image, raw)
    return manifest, {MEMBER: raw}


class _Emission:
    """One run of the stage: the parts of it that share what has been put into the image."""

    def __init__(self, pair: BuiltPair, changes: ChangeSet, running: RunningObject) -> None:
        self.draft = Draft()
        self.running = running
        self.build = NewBuild(pair, changes)
        self.closure = Closure(self.build, self.draft)
        self.bindings = Bindings(self.draft)
        self.linking = Linking(
            self.build, OldObject(pair, running), self.closure, self.bindings, Slots(self.draft)
        )
        self.references = References(self.closure, self.linking, Tls(self.linking))
        self.unwind = UnwindTable(self.closure, self.linking)
        self.hooks: Hooks = changes.hooks

    def run(self) -> tuple[Function, ...]:
        for included in self.build.functions:
            self.closure.add_function(included)
        self.hooks = self._place_hooks()
        while self.closure.queue:
            chunk = self.closure.queue.popleft()
            self.references.settle(chunk)
            if chunk.draft.kind == "code":
                self.unwind.add(chunk)
        self.unwind.close()
        writer = ReplacedCodeWriter(self.draft, self.linking)
        return tuple(self._function(placed, writer) for placed in self.closure.functions)

    def _place_hooks(self) -> Hooks:
        names = self.build.changes.hooks
        return Hooks(
            pre_apply=self._hook(names.pre_apply),
            post_apply=self._hook(names.post_apply),
            pre_revert=self._hook(names.pre_revert),
        )

    def _hook(self, name: str) -> str:
        """The image's symbol of a hook, which is put in if nothing else did."""
        if not name:
            return ""
        for placed in self.closure.functions:
            if placed.included.name == name:
                return placed.chunk.symbol
        for unit in self.build.pair.units:
            if unit.new is not None and name in self.build.file(unit).functions:
                definition = self.build.file(unit).functions[name]
                return self.closure.need_function(unit, definition, "the hotpatch's hooks").symbol
        raise BuildRefusedError(
            "no-function",
            f"The hook {name} is in no source file that was rebuilt.",
            "Define it in a file that the patch changes.",
            where=name,
        )

    def _function(self, placed: PlacedFunction, writer: ReplacedCodeWriter) -> Function:
        changed = placed.included.change == "changed"
        old = writer.write(placed) if changed else ReplacedCode()
        code = bytes(placed.chunk.draft.content)
        return Function(
            name=placed.chunk.symbol,
            change=placed.included.change,
            new_size=len(code),
            new_digest=hashlib.sha256(code).hexdigest(),
            parts=old.parts,
            redirect=old.redirect,
            displaced=old.displaced,
            returns=old.returns,
            reason=placed.included.reason,
        )

    def consistency(self, wanted: Consistency | None) -> Consistency:
        changed = [p for p in self.closure.functions if p.included.change == "changed"]
        code = ChangedCode(
            tuple(p.included.name for p in changed), self.build.changes.looping,
            bool(self.closure.writable), any(self._calls_itself(p) for p in changed),
        )  # fmt: skip
        return choose_consistency(code, wanted)

    def handed_over(self) -> tuple[str, ...]:
        return tuple(sorted(c.symbol for c in self.closure.writable if c.name in HANDED_OVER))

    def _calls_itself(self, placed: PlacedFunction) -> bool:
        file = self.build.file(placed.included.unit)
        for chunk in (placed.chunk, *placed.cold):
            references = file.references_in(chunk.section, chunk.start, chunk.end)
            if any(
                isinstance(r.target, Named) and r.target.symbol.name == placed.included.name
                and r.use == "branch"
                for r in references
            ):  # fmt: skip
                return True
        references = file.references_in(placed.chunk.section, placed.chunk.start, placed.chunk.end)
        return calls_own_start(bytes(placed.chunk.draft.content), references, placed.chunk.start)


def _check(manifest: Manifest, image: Image, raw: bytes) -> None:
    """Nothing leaves the builder that the engine would not read."""
    try:
        unpack_hotpatch(pack_hotpatch(manifest, {MEMBER: raw}))
        check_image(ElfFile(raw), image)
    except HostileInputError as error:
        raise BuildRefusedError(
            "invalid-hotpatch",
            f"What would be written is not a valid hotpatch. {error.cause}",
            "Check the id and the other descriptions that were given; if they are well-formed, "
            "report this with the source.",
            where=error.where,
        ) from error


def _describe_image(emission: _Emission, functions: tuple[Function, ...], raw: bytes) -> Image:
    build_id = emission.running.elf.build_id
    if build_id is None:
        raise BuildRefusedError(
            "no-build-id",
            f"{emission.running.path.name} has no build-id, by which processes that run it "
            "could be found.",
            "Link it with -Wl,--build-id, and restart the service once with that build.",
        )
    return Image(
        architecture="x86_64",
        member=MEMBER,
        digest=hashlib.sha256(raw).hexdigest(),
        target=Target(build_id=build_id, name=emission.running.name, kind=emission.running.kind),
        functions=functions,
        bindings=emission.bindings.all(),
        hooks=emission.hooks,
        escapes=emission.references.escapes.worst,
        hands_over=emission.handed_over(),
    )


def _describe(
    pair: BuiltPair,
    changes: ChangeSet,
    description: Description,
    image: Image,
    consistency: Consistency,
) -> Manifest:
    name = component_name(image.target.name)
    return Manifest(
        schema=1,
        id=description.id or _derive_id(name, image),
        title=description.title,
        advisories=description.advisories,
        severity=description.severity,
        component=Component(purl=description.purl or f"pkg:generic/{name}", name=name),
        level=description.level,
        supersedes=description.supersedes,
        brings_to=description.brings_to,
        minimum_engine=MINIMUM_ENGINE,
        consistency=consistency,
        images=(image,),
        provenance=Provenance(
            builder=f"naht {__version__}",
            compilers=pair.compilers,
            command=pair.command,
            sources=pair.sources,
            allowances=changes.allowances,
            dropped=changes.dropped,
            authors_patches=description.authors_patches,
        ),
    )


def component_name(target: str) -> str:
    """The target's name without version: `libfoo` for `libfoo.so.1`."""
    stem = target.partition(".so")[0]
    return re.sub(r"[^A-Za-z0-9._+~-]", "-", stem).lstrip("._+~-") or "object"


def _derive_id(name: str, image: Image) -> str:
    content = hashlib.sha256(f"{image.target.build_id} {image.digest}".encode()).hexdigest()
    return f"{name[:100]}-{content[:12]}"
