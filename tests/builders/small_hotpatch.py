"""A small, valid hotpatch made by hand from really compiled code, for tests that need no builder:
one changed function that calls a helper of the running object and refers to a string literal.
"""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from naht.build.native.writer import Draft, DraftRelocation, DraftSection, write_image
from naht.elf import constants as c
from naht.elf.file import ElfFile
from naht.hotpatch.container import pack_hotpatch
from naht.hotpatch.manifest import (
    Allowance,
    AuthorsPatch,
    Binding,
    Component,
    Function,
    Image,
    Manifest,
    Part,
    Provenance,
    Source,
    Target,
)

HELPER = """
__attribute__((noinline, visibility("hidden"))) int helper(int n, const char *why)
{ return n * 3 + (why ? why[0] : 0); }
"""
OLD = HELPER + 'int answer(int n) { if (n > 30) return helper(n, "too big"); return n + 1; }'
NEW = HELPER + 'int answer(int n) { if (n > 20) return helper(n, "too large"); return n + 1; }'
MEMBER = "x86_64.o"


@dataclass(frozen=True)
class SmallHotpatch:
    path: Path
    library: Path
    manifest: Manifest


def build_small_hotpatch(folder: Path, *, title: str = "Says no sooner") -> SmallHotpatch:
    library = link_old(folder)
    new = ElfFile(compile_source(folder, "new", NEW).read_bytes())
    old = ElfFile(library.read_bytes())
    image, functions, bindings = make_image(old, new)
    manifest = make_manifest(old, image, functions, bindings, title)
    path = folder / "small.naht"
    path.write_bytes(pack_hotpatch(manifest, {MEMBER: image}))
    return SmallHotpatch(path, library, manifest)


def compile_source(folder: Path, name: str, text: str) -> Path:
    source, target = folder / f"{name}.c", folder / f"{name}.o"
    source.write_text(text)
    subprocess.run(
        ["gcc", "-O2", "-fPIC", "-fcf-protection=none", "-ffunction-sections", "-c",
         "-o", target, source],
        check=True,
    )  # fmt: skip
    return target


def link_old(folder: Path) -> Path:
    library = folder / "libsmall.so.1"
    subprocess.run(
        ["gcc", "-shared", "-Wl,--build-id", "-Wl,-soname,libsmall.so.1", "-o", library,
         compile_source(folder, "old", OLD)],
        check=True,
    )  # fmt: skip
    return library


def make_image(old: ElfFile, new: ElfFile) -> tuple[bytes, tuple[Function, ...], tuple[Binding]]:
    draft = Draft()
    code = bytearray(new.section_bytes(new.section_by_name[".text.answer"]))
    section = draft.add_section(DraftSection(".text.answer", "code", 16, code))
    draft.define("answer", section.name, 0, len(code), is_function=True)
    strings = new.section_by_name[".rodata.str1.1"]
    draft.add_section(
        DraftSection(".rodata.str1.1", "constant", 1, bytearray(new.section_bytes(strings)))
    )
    draft.define("text", ".rodata.str1.1", 0, strings.size)
    draft.declare("helper")
    for r in new.relocations_by_section[new.section_by_name[".text.answer"].index]:
        symbol = new.symbols[r.symbol]
        name = "helper" if symbol.name == "helper" else "text"
        section.relocations.append(DraftRelocation(r.offset, r.type, name, r.addend))
    symbols = {s.name: s for s in old.symbols}
    was = symbols["answer"]
    before = old.read_address(was.value, was.size)
    draft.add_section(DraftSection(".naht.old.answer", "unloaded", 1, bytearray(before)))
    function = Function(
        name="answer", change="changed", new_size=len(code),
        new_digest=hashlib.sha256(code).hexdigest(),
        parts=(Part(offset=was.value, size=was.size, section=".naht.old.answer",
                    digest=hashlib.sha256(before).hexdigest()),),
        redirect=was.value, reason="source changed",
    )  # fmt: skip
    binding = Binding(symbol="helper", kind="object", offset=symbols["helper"].value)
    return write_image(draft), (function,), (binding,)


def make_manifest(
    old: ElfFile,
    image: bytes,
    functions: tuple[Function, ...],
    bindings: tuple[Binding, ...],
    title: str,
) -> Manifest:
    assert old.build_id is not None and old.type == c.ET_DYN
    target = Target(build_id=old.build_id, name="libsmall.so.1", kind="library")
    return Manifest(
        schema=1, id="SMALL-1", title=title, advisories=("CVE-2024-0001", "DSA-5000-1"),
        severity="important", level=2, supersedes=("SMALL-0",), minimum_engine="0.1.0",
        component=Component(purl="pkg:deb/debian/small@1.2-3", name="small"),
        consistency="quiescent",
        images=(Image(architecture="x86_64", member=MEMBER, target=target, functions=functions,
                      digest=hashlib.sha256(image).hexdigest(), bindings=bindings),),
        provenance=Provenance(
            builder="naht 0.1.0", compilers=("gcc (Debian) 12.2.0",), command="make -j2",
            sources=(Source(path="answer.c", old_digest="a" * 64, new_digest="b" * 64),),
            allowances=(Allowance(switch="--allow-data", subject="limit", cause="It starts at "
                                  "another value."),),
            dropped=("log_line",),
            authors_patches=(AuthorsPatch(patch="shadow.patch", digest="c" * 64, author="Ann",
                                          description="As shadow data.",
                                          replaces=("CVE-2024-0001.patch",)),),
        ),
    )  # fmt: skip
