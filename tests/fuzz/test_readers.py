"""Hostile input for every reader of files and target memory: no crash, no hang, bounded memory.

Real artifacts are mutated (bytes flipped, words replaced by boundary values, spans cut, doubled or
moved), and the readers may only accept or say HostileInputError. `make fuzz` runs it longer.
"""

from __future__ import annotations

import os
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from naht.elf.file import ElfFile
from naht.errors import HostileInputError
from naht.hotpatch.container import pack_hotpatch, read_hotpatch, unpack_hotpatch
from naht.hotpatch.image import check_image
from naht.live.native.procfs import parse_maps, parse_stat
from naht.live.native.record import decode_record
from tests.builders.small_hotpatch import SmallHotpatch, build_small_hotpatch

pytestmark = pytest.mark.compiler
EXAMPLES = 20_000 if os.environ.get("NAHT_FUZZ") == "long" else 150
MEMORY_LIMIT = 64 << 20
BOUNDARIES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)

fuzzed = settings(
    max_examples=EXAMPLES, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip

mutation = st.one_of(
    st.tuples(st.just("byte"), st.integers(0, 1 << 20), st.integers(0, 255)),
    st.tuples(st.just("word"), st.integers(0, 1 << 20), st.sampled_from(BOUNDARIES)),
    st.tuples(st.just("cut"), st.integers(0, 1 << 20), st.integers(1, 4096)),
    st.tuples(st.just("double"), st.integers(0, 1 << 20), st.integers(1, 256)),
)
mutations = st.lists(mutation, min_size=1, max_size=8)


def mutate(data: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    content = bytearray(data)
    for kind, where, value in changes:
        at = where % max(1, len(content))
        if kind == "byte" and content:
            content[at] = value
        elif kind == "word" and len(content) >= 8:
            start = min(at & ~3, len(content) - 8)
            content[start : start + 8] = struct.pack("<Q", value)
        elif kind == "cut":
            del content[at : at + value]
        elif kind == "double":
            content[at:at] = content[at : at + value]
    return bytes(content)


def accepts_or_refuses(read: Callable[[bytes], object], data: bytes) -> None:
    """The only error is HostileInputError, and memory stays bounded."""
    tracemalloc.start()
    try:
        read(data)
    except HostileInputError as error:
        assert error.cause
        assert error.next_step
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < MEMORY_LIMIT + 64 * len(data)


def read_whole_elf(data: bytes) -> None:
    elf = ElfFile(data)
    for section in elf.sections:
        elf.section_bytes(section)
    _ = elf.segments, elf.symbols, elf.dynamic_symbols, elf.build_id, elf.relocations_by_section
    elf.read_address(elf.entry, 16)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallHotpatch:
    return build_small_hotpatch(tmp_path_factory.mktemp("small"))


@lru_cache(maxsize=1)
def library_bytes(path: Path) -> bytes:
    return path.read_bytes()


@fuzzed
@given(mutations)
def test_elf_files(small: SmallHotpatch, changes: list[tuple[str, int, int]]) -> None:
    accepts_or_refuses(read_whole_elf, mutate(library_bytes(small.library), changes))


@fuzzed
@given(st.binary(max_size=4096))
def test_elf_files_of_any_bytes(data: bytes) -> None:
    accepts_or_refuses(read_whole_elf, b"\x7fELF\x02\x01\x01" + data)


@fuzzed
@given(mutations)
def test_hotpatch_files(small: SmallHotpatch, changes: list[tuple[str, int, int]]) -> None:
    accepts_or_refuses(unpack_hotpatch, mutate(small.path.read_bytes(), changes))


@fuzzed
@given(mutations)
def test_manifests(small: SmallHotpatch, changes: list[tuple[str, int, int]]) -> None:
    """A whole archive around a mutated manifest, so that the manifest's reader is reached."""
    with zipfile.ZipFile(small.path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["manifest.json"] = mutate(members["manifest.json"], changes)
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    accepts_or_refuses(unpack_hotpatch, buffer.getvalue())


@fuzzed
@given(mutations)
def test_images(small: SmallHotpatch, changes: list[tuple[str, int, int]]) -> None:
    """An image that does not fit its manifest, behind a digest that does."""
    file = read_hotpatch(small.path)
    image = file.manifest.images[0]
    data = mutate(file.images[image.member], changes)
    accepts_or_refuses(lambda raw: check_image(ElfFile(raw), image), data)


@fuzzed
@given(st.binary(max_size=2048))
def test_records(data: bytes) -> None:
    accepts_or_refuses(lambda raw: decode_record(0x1000, raw), b"NAHTREC\x01" + data)


@fuzzed
@given(st.binary(max_size=512))
def test_texts_of_proc(data: bytes) -> None:
    accepts_or_refuses(parse_maps, data)
    accepts_or_refuses(parse_stat, data)


def test_what_is_not_mutated_is_accepted(small: SmallHotpatch) -> None:
    file = read_hotpatch(small.path)
    image = file.manifest.images[0]
    check_image(ElfFile(file.images[image.member]), image)
    read_whole_elf(library_bytes(small.library))
    assert unpack_hotpatch(pack_hotpatch(file.manifest, file.images)).digest == file.digest
