"""Where the build daemons unpacked a source."""

from __future__ import annotations

from datetime import UTC, datetime

from naht.build.debian.build_path import FIXED, build_path


def at(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp())


def test_since_the_summer_of_2023_the_path_is_fixed() -> None:
    assert build_path("any-source", at(2023, 8)) == FIXED == "/build/reproducible-path"


def test_before_it_has_the_length_of_a_temporary_directory() -> None:
    path = build_path("any-source", at(2023, 6))
    assert path.startswith("/build/any-source-")
    assert len(path) == len("/build/any-source-XXXXXX")
