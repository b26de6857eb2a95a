"""Small pure rules of the readers: shared address spaces, mapping flags, return addresses."""

from __future__ import annotations

import struct
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naht.errors import HostileInputError
from naht.live.native.address_spaces import group_by_order
from naht.live.native.dynamic import elf_hash, gnu_hash
from naht.live.native.old_code import points_into
from naht.live.native.record import (
    HEADER_SIZE,
    STATE_ACTIVE,
    Payload,
    Record,
    Redirect,
    Region,
    decode_record,
    encode_record,
)
from naht.live.native.vm_flags import parse_flagged


@given(st.dictionaries(st.integers(1, 40), st.integers(0, 5)))
def test_processes_of_one_space_are_found_by_the_order_alone(spaces: dict[int, int]) -> None:
    def order(one: int, other: int) -> int:
        a, b = spaces[one] * 7919 % 13, spaces[other] * 7919 % 13  # some order, not that of ids
        return 0 if a == b else (1 if a < b else 2)

    groups = group_by_order(list(spaces), order)
    assert sorted(pid for group in groups for pid in group) == sorted(spaces)
    for group in groups:
        assert {spaces[pid] for pid in group} == {spaces[group[0]]}
    assert len(groups) == len(set(spaces.values()))


def test_a_process_that_ended_shares_with_nobody() -> None:
    assert group_by_order([1, 2, 3], lambda one, other: -1 if 2 in (one, other) else 0) in (
        [[1], [2], [3]], [[1, 3], [2]], [[2], [1, 3]]
    )  # fmt: skip


SMAPS = b"""\
1000-2000 -w-p 00000000 00:00 0 
Size:                  4 kB
THPeligible:           0
VmFlags: wr mr mw me nr ac 
5000-9000 rw-p 00000000 fe:00 7                          /srv/nr
VmFlags: rd wr nrx
a000-b000 rw-p 00000000 00:00 0 
VmFlags: nr
"""  # noqa: W291


def test_flags_belong_to_their_mapping() -> None:
    assert parse_flagged(SMAPS, "nr") == {(0x1000, 0x2000), (0xA000, 0xB000)}
    assert parse_flagged(SMAPS, "rd") == {(0x5000, 0x9000)}
    assert parse_flagged(b"", "nr") == set()
    with pytest.raises(HostileInputError):
        parse_flagged(b"abc\nVmFlags: nr\n", "nr")


@pytest.mark.parametrize(
    ("word", "inside"),
    [(0x1000, False), (0x1001, True), (0x1FFF, True), (0x2000, True), (0x2001, False),
     (0x3000, False), (0x3005, True), (0x3010, True), (0x3011, False), (0, False)],
)  # fmt: skip
def test_a_return_address_is_behind_the_first_byte(word: int, inside: bool) -> None:
    parts = [(0x3000, 0x3010), (0x1000, 0x2000)]
    assert points_into(array("Q", [5, word, 1 << 63]), parts) is inside


def test_no_parts_no_threads() -> None:
    assert not points_into(array("Q", [1, 2, 3]), [])


def test_hashes_of_known_names() -> None:
    # Published examples of both functions.
    assert gnu_hash(b"") == 0x1505
    assert gnu_hash(b"printf") == 0x156B2BB8
    assert elf_hash(b"") == 0
    assert elf_hash(b"printf") == 0x077905A6
    assert elf_hash(b"flapenguin.me") == 0x03987915
    assert gnu_hash(b"flapenguin.me") == 0x8AE9F18E


PAYLOAD = Payload(
    id="CVE-2026-1", digest="ab" * 32, level=3, supersedes=(), advisories=("CVE-2026-1",),
    severity="important", build_id="ab" * 20, object_path="/usr/lib/x.so", bias=0x7F0000000000,
    consistency="quiescent", escapes="none",
    regions=(Region("record", 0x10000, 4096), Region("code", 0x11000, 8192, "cd" * 32)),
    redirects=(
        Redirect(
            name="f", address=0x20000, original="9090909090", jump="e9fb0fffff", parts=(),
            new_address=0x11000, new_size=16,
        ),
    ),
    changes=(), engine="0",
)  # fmt: skip
GOOD = encode_record(PAYLOAD, STATE_ACTIVE)


def test_a_record_reads_back() -> None:
    record = decode_record(0x10000, GOOD.ljust(4096, b"\0"))
    assert isinstance(record, Record)
    assert (record.payload, record.state, record.address) == (PAYLOAD, STATE_ACTIVE, 0x10000)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_record_with_one_altered_byte_is_refused_or_means_the_same(at: int, flip: int) -> None:
    data = bytearray(GOOD)
    data[at] ^= flip
    try:
        record = decode_record(0x10000, bytes(data))
    except HostileInputError:
        return
    assert at < HEADER_SIZE  # the payload has a digest; the header's changing fields have none
    assert record.payload == PAYLOAD


@given(st.binary(max_size=600))
def test_any_bytes_are_no_record(data: bytes) -> None:
    with pytest.raises(HostileInputError):
        decode_record(0x10000, data)
    with pytest.raises(HostileInputError):
        decode_record(0x10000, GOOD[:8] + data)


@given(st.integers(0, (1 << 64) - 1))
def test_any_payload_size_is_bounded(size: int) -> None:
    data = bytearray(GOOD)
    data[24:32] = struct.pack("<Q", size)
    try:
        assert decode_record(0x10000, bytes(data)).payload == PAYLOAD
    except HostileInputError:
        assert size != len(GOOD) - HEADER_SIZE
