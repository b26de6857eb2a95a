"""Names in documents end where they seem to end: no line break hides behind them."""

from __future__ import annotations

import msgspec
import pytest

from naht.domain.package import KnownBuildId
from naht.hotpatch.manifest import BuildIdText, Digest, HotpatchId


@pytest.mark.parametrize(
    ("kind", "good"),
    [
        (HotpatchId, "SMALL-1"),
        (Digest, "ab" * 32),
        (BuildIdText, "ab" * 20),
        (KnownBuildId, "ab" * 20),
    ],
)
def test_a_line_break_at_the_end_is_no_part_of_a_name(kind: type[str], good: str) -> None:
    assert msgspec.convert(good, kind) == good
    for bad in (f"{good}\n", f"\n{good}", f"{good}\n{good}"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(bad, kind)
