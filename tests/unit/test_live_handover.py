"""What a hotpatch takes over from those that it replaces."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from naht.errors import HostileInputError, TargetRefusedError
from naht.live.native.handover import TakenOver, fill, hands_over, take_over
from naht.live.native.record import (
    STATE_ACTIVE,
    HandedOver,
    Payload,
    Record,
    Redirect,
    Region,
    decode_record,
    encode_record,
)

DATA = 0x13000
PAYLOAD = Payload(
    id="level-1", digest="ab" * 32, level=1, supersedes=(), advisories=(),
    severity="important", build_id="ab" * 20, object_path="/usr/lib/x.so", bias=0x7F0000000000,
    consistency="quiescent", escapes="none",
    regions=(
        Region("record", 0x10000, 4096), Region("code", 0x11000, 8192, "cd" * 32),
        Region("data", DATA, 4096),
    ),
    redirects=(
        Redirect(
            name="f", address=0x20000, original="9090909090", jump="e9fb0fffff", parts=(),
            new_address=0x11000, new_size=16,
        ),
    ),
    changes=(), engine="0",
)  # fmt: skip
VALUE = bytes.fromhex("a0b0c0d0e0f00000")


def handing_over(name: str, *addresses: int) -> list[Record]:
    return [
        Record(0x10000, STATE_ACTIVE, 0, replace(PAYLOAD, hands_over=(HandedOver(name, address),)))
        for address in addresses
    ]


def memory(address: int, size: int) -> bytes:
    return (VALUE if address == DATA + 8 else bytes(8))[:size]


def test_a_word_of_the_same_name_goes_over() -> None:
    words = hands_over(("root", "other"), {"root": 0x90010, "other": 0x90018})
    taken = take_over(words, handing_over("root", DATA + 8), memory)
    assert taken == (TakenOver(DATA + 8, 0x90010, VALUE),)
    content = bytearray(64)
    fill(content, 0x90000, taken)
    assert content == bytes(16) + VALUE + bytes(40)


def test_nothing_is_taken_from_a_hotpatch_without_such_a_word() -> None:
    words = hands_over(("root",), {"root": 0x90010})
    assert take_over(words, handing_over("another", DATA + 8), memory) == ()
    assert take_over(words, [], memory) == ()


def test_a_word_that_is_not_set_yet_is_watched_all_the_same() -> None:
    words = hands_over(("root",), {"root": 0x90010})
    taken = take_over(words, handing_over("root", DATA), memory)
    assert taken == (TakenOver(DATA, 0x90010, bytes(8)),)


def test_two_predecessors_must_not_contradict_each_other() -> None:
    words = hands_over(("root",), {"root": 0x90010})
    with pytest.raises(TargetRefusedError) as caught:
        take_over(words, handing_over("root", DATA + 8, DATA + 8), memory)
    assert caught.value.reason == "two-predecessors"
    assert len(take_over(words, handing_over("root", DATA + 8, DATA), memory)) == 2


@pytest.mark.parametrize(
    ("address", "accepted"),
    [(DATA, True), (DATA + 4088, True), (DATA + 4089, False), (DATA - 8, False), (0x11000, False)],
)
def test_a_record_hands_over_only_its_own_data(address: int, *, accepted: bool) -> None:
    raw = encode_record(replace(PAYLOAD, hands_over=(HandedOver("root", address),)), STATE_ACTIVE)
    if accepted:
        assert decode_record(0x10000, raw).payload.hands_over[0].address == address
    else:
        with pytest.raises(HostileInputError):
            decode_record(0x10000, raw)
