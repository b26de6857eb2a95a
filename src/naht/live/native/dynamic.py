"""The dynamic section of a loaded object: strings, symbols, versions, relocations, from memory.

Owns the tables that the dynamic loader uses, bounded everywhere: they lie in the target's writable
or at least target-controlled memory. It looks into one object only (see `link_map` for the scope
rules) and resolves nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cached_property

import msgspec

from naht.elf import constants as c
from naht.elf.file import Relocation
from naht.errors import HostileInputError
from naht.live.native.loaded_elf import LoadedElf
from naht.live.native.memory import TargetMemory

MAX_DYNAMIC = 64 << 10
MAX_NEEDED = 4096
MAX_RELOCATION_BYTES = 24 << 20
MAX_SYMBOLS = 1 << 20
MAX_CHAIN = 1 << 16  # of one hash bucket
MAX_STRINGS = 128 << 20
MAX_VERSIONS = 1 << 15
VERSION_INDEX, VERSION_HIDDEN = 0x7FFF, 0x8000
DT_RELACOUNT = 0x6FFFFFF9

_ENTRY = struct.Struct("<QQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELA = struct.Struct("<QQq")
_VERDEF = struct.Struct("<HHHHIII")
_VERNEED = struct.Struct("<HHIII")
_VERNAUX = struct.Struct("<IHHII")


class DynamicSymbol(msgspec.Struct, frozen=True):
    index: int
    name: bytes
    binding: int
    type: int
    section: int
    value: int  # link-time
    size: int


class DynamicObject:
    """One loaded object's dynamic tables. Values are read when first asked for, then kept."""

    def __init__(self, memory: TargetMemory, elf: LoadedElf) -> None:
        self.memory = memory
        self.elf = elf
        self.bias = elf.bias
        segment = elf.segment(c.PT_DYNAMIC)
        self.address = elf.bias + segment.address if segment else 0
        self._entries = _read_entries(memory, self.address, segment.memory_size if segment else 0)
        self._values = dict(reversed(self._entries))  # the first entry of each tag counts

    def value(self, tag: int) -> int:
        return self._values.get(tag, 0)

    def has(self, tag: int) -> bool:
        return tag in self._values

    def pointer(self, tag: int) -> int:
        """The absolute address that an entry means, or 0.

        glibc adds the bias to some entries in place, musl and the vDSO keep link-time addresses;
        the two cannot be confused, because no object is loaded below its own size.
        """
        value = self._values.get(tag, 0)
        if not value or self.elf.start <= value < self.elf.end:
            return value
        return self.bias + value

    def string(self, offset: int) -> bytes:
        if not 0 <= offset < max(self.value(c.DT_STRSZ), 1):
            raise damaged(f"a string at offset {offset:#x} leaves its table")
        return self.memory.string(self.pointer(c.DT_STRTAB) + offset, 16384)

    @cached_property
    def soname(self) -> bytes:
        return self.string(self.value(c.DT_SONAME)) if c.DT_SONAME in self._values else b""

    @cached_property
    def needed(self) -> tuple[bytes, ...]:
        offsets = [value for tag, value in self._entries if tag == c.DT_NEEDED]
        return tuple(self.string(offset) for offset in offsets[:MAX_NEEDED])

    # --- symbols -------------------------------------------------------------------------------

    def symbol(self, index: int) -> DynamicSymbol:
        name, info, _other, section, value, size = self._raw_symbol(index)
        return DynamicSymbol(index, self.string(name), info >> 4, info & 15, section, value, size)

    def _raw_symbol(self, index: int) -> tuple[int, int, int, int, int, int]:
        table = self.pointer(c.DT_SYMTAB)
        if not table:
            raise damaged("no symbol table")
        raw = self.memory.read(table + index * _SYMBOL.size, _SYMBOL.size)
        name, info, other, section, value, size = _SYMBOL.unpack(raw)
        return name, info, other, section, value, size

    def find_symbols(self, name: bytes) -> Iterator[DynamicSymbol]:
        """Every symbol of that name, one for each version, in the order the loader sees them."""
        if self.pointer(c.DT_GNU_HASH):
            indices = self._gnu_hash_chain(name)
        elif self.pointer(c.DT_HASH):
            indices = self._hash_chain(name)
        else:
            return
        for index in indices:
            if self._has_name(index, name):
                yield self.symbol(index)

    def _has_name(self, index: int, name: bytes) -> bool:
        offset = self._raw_symbol(index)[0]
        at = self.pointer(c.DT_STRTAB) + offset
        return self.memory.read_up_to(at, len(name) + 1) == name + b"\0"

    def _gnu_hash_chain(self, name: bytes) -> Iterator[int]:
        """The indices whose hash is that of `name` (the format: binutils' elf_gnu_hash)."""
        hashed = gnu_hash(name)
        buckets, first, chains = self._gnu_hash_tables
        if not len(buckets):
            return
        index = buckets[hashed % len(buckets)]
        if index < first:
            return
        for step in range(MAX_CHAIN):
            (entry,) = struct.unpack("<I", self.memory.read(chains + (index + step - first) * 4, 4))
            if entry | 1 == hashed | 1:
                yield index + step
            if entry & 1:
                return
        raise damaged("a hash chain has no end")

    @cached_property
    def _gnu_hash_tables(self) -> tuple[tuple[int, ...], int, int]:
        """The buckets, the first hashed symbol's index, and the address of the chains."""
        table = self.pointer(c.DT_GNU_HASH)
        count, first, bloom, _shift = struct.unpack("<IIII", self.memory.read(table, 16))
        if count > MAX_SYMBOLS or bloom > MAX_SYMBOLS:
            raise damaged("an impossible hash table")
        at = table + 16 + bloom * 8
        buckets = struct.unpack(f"<{count}I", self.memory.read(at, count * 4))
        return buckets, first, at + count * 4

    def _hash_chain(self, name: bytes) -> Iterator[int]:
        table = self.pointer(c.DT_HASH)
        bucket_count, chain_count = struct.unpack("<II", self.memory.read(table, 8))
        if not bucket_count:
            return
        at = table + 8 + (elf_hash(name) % bucket_count) * 4
        for _ in range(min(chain_count, MAX_CHAIN)):
            (index,) = struct.unpack("<I", self.memory.read(at, 4))
            if not 0 < index < chain_count:
                return
            yield index
            at = table + 8 + (bucket_count + index) * 4

    @cached_property
    def symbol_count(self) -> int:
        """How many symbols there are, by whichever hash table there is."""
        if table := self.pointer(c.DT_HASH):
            return min(int(struct.unpack("<I", self.memory.read(table + 4, 4))[0]), MAX_SYMBOLS)
        if not self.pointer(c.DT_GNU_HASH):
            return 0
        buckets, first, chains = self._gnu_hash_tables
        last = max(buckets, default=0)
        if last < first:
            return min(first, MAX_SYMBOLS)
        for index in range(last, last + MAX_CHAIN):
            if self.memory.read(chains + (index - first) * 4, 1)[0] & 1:
                return min(index + 1, MAX_SYMBOLS)
        raise damaged("a hash chain has no end")

    def indices_of(self, name: bytes) -> frozenset[int]:
        """Every symbol of that name, imports included, which no hash table holds."""
        offsets = set()
        at = self._strings.find(name + b"\0")
        while at >= 0:  # a name may also be the tail of a longer one
            offsets.add(at)
            at = self._strings.find(name + b"\0", at + 1)
        if not offsets:
            return frozenset()
        return frozenset(i for i, offset in enumerate(self._name_offsets) if offset in offsets)

    def imports(self, name: bytes) -> bool:
        """Whether the object refers to `name` without defining it."""
        return any(self._raw_symbol(i)[3] == c.SHN_UNDEF for i in self.indices_of(name))

    @cached_property
    def _strings(self) -> bytes:
        size = self.value(c.DT_STRSZ)
        if size > MAX_STRINGS:
            raise damaged("an impossible string table")
        return self.memory.read(self.pointer(c.DT_STRTAB), size)

    @cached_property
    def _name_offsets(self) -> tuple[int, ...]:
        raw = self.memory.read(self.pointer(c.DT_SYMTAB), self.symbol_count * _SYMBOL.size)
        return tuple(row[0] for row in _SYMBOL.iter_unpack(raw))

    # --- versions ------------------------------------------------------------------------------

    @property
    def has_versions(self) -> bool:
        return bool(self.pointer(c.DT_VERSYM))

    def version_word(self, index: int) -> int:
        """The symbol's entry in the version table: an index, and the hidden bit."""
        return int.from_bytes(self.memory.read(self.pointer(c.DT_VERSYM) + index * 2, 2), "little")

    @cached_property
    def defined_versions(self) -> dict[int, bytes]:
        """Version index → name, of versions that this object defines; the base one left out."""
        found: dict[int, bytes] = {}
        at = self.pointer(c.DT_VERDEF)
        for _ in range(min(self.value(c.DT_VERDEFNUM), MAX_VERSIONS)):
            raw = self.memory.read(at, _VERDEF.size)
            _version, flags, index, _count, _hash, first, following = _VERDEF.unpack(raw)
            if not flags & 1:  # VER_FLG_BASE names the object, not a version
                (name,) = struct.unpack("<I", self.memory.read(at + first, 4))
                found[index & VERSION_INDEX] = self.string(name)
            if not following:
                break
            at += following
        return found

    @cached_property
    def needed_versions(self) -> dict[int, bytes]:
        """Version index → name, of versions that this object wants from others."""
        found: dict[int, bytes] = {}
        at = self.pointer(c.DT_VERNEED)
        for _ in range(min(self.value(c.DT_VERNEEDNUM), MAX_VERSIONS)):
            raw = self.memory.read(at, _VERNEED.size)
            _version, count, _file, first, following = _VERNEED.unpack(raw)
            self._read_needed(found, at + first, count)
            if not following or len(found) > MAX_VERSIONS:
                break
            at += following
        return found

    def _read_needed(self, found: dict[int, bytes], at: int, count: int) -> None:
        for _ in range(count):
            raw = self.memory.read(at, _VERNAUX.size)
            _hash, _flags, index, name, following = _VERNAUX.unpack(raw)
            found[index & VERSION_INDEX] = self.string(name)
            if not following or len(found) > MAX_VERSIONS:
                return
            at += following

    # --- relocations ---------------------------------------------------------------------------

    @cached_property
    def relocations(self) -> tuple[Relocation, ...]:
        """Those that are not R_X86_64_RELATIVE, the procedure linkage table's included."""
        relative = self.value(DT_RELACOUNT) * _RELA.size  # sorted to the front (-z combreloc)
        size = self.value(c.DT_RELASZ)
        plain = self._read_relocations(
            self.pointer(c.DT_RELA) + min(relative, size), max(size - relative, 0)
        )
        calls = self._read_relocations(self.pointer(c.DT_JMPREL), self.value(c.DT_PLTRELSZ))
        return plain + calls

    def _read_relocations(self, address: int, size: int) -> tuple[Relocation, ...]:
        if not size:
            return ()
        if size > MAX_RELOCATION_BYTES:
            raise damaged("an impossible number of relocations")
        raw = self.memory.read(address, size - size % _RELA.size)
        return tuple(
            Relocation(offset, info & 0xFFFFFFFF, info >> 32, addend)
            for offset, info, addend in _RELA.iter_unpack(raw)
            if info & 0xFFFFFFFF != c.R_X86_64_RELATIVE
        )


def _read_entries(memory: TargetMemory, address: int, size: int) -> list[tuple[int, int]]:
    raw = memory.read(address, min(size, MAX_DYNAMIC) & -_ENTRY.size) if size else b""
    entries = []
    for tag, value in _ENTRY.iter_unpack(raw):
        if tag == c.DT_NULL:
            break
        entries.append((tag, value))
    return entries


def gnu_hash(name: bytes) -> int:
    value = 5381
    for byte in name:
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value


def elf_hash(name: bytes) -> int:
    """The System V ABI's hash function."""
    value = 0
    for byte in name:
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high & 0xFFFFFFFF
    return value


def damaged(what: str) -> HostileInputError:
    return HostileInputError(
        f"A dynamic table in the process is damaged: {what}.",
        "Treat the process as altered: restart it at the next chance.",
    )
