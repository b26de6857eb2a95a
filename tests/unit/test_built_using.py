"""Which packages say that they hold code of a source."""

from __future__ import annotations

from naht.build.debian.built_using import packages_built_with

LISTED = """\
Package: user-static
Source: user (1.0)
Version: 1.0-1+b2
Built-Using: glibc (= 2.36-9), zlib (= 1:1.2.13-1)

Package: gone
Version: 3
Static-Built-Using:
 zlib (= 1:1.2.11-1),
 other (= 2)

Package: zlib-tools
Source: zlib
Version: 1
Built-Using: zlib (= 1)

Package: near
Version: 1
Built-Using: zlib-ng (= 1), czlib (= 2)

Package: nothing
Version: 1
Description: zlib is built in, Built-Using: zlib

Package: bare
Version: 2
Built-Using: zlib
"""


def test_packages_of_other_sources_are_listed_with_the_version_they_hold() -> None:
    found = {copy.name: copy for copy in packages_built_with(LISTED, "zlib")}
    assert set(found) == {"user-static", "gone", "bare"}
    assert found["user-static"].note == "user-static 1.0-1+b2 was built using zlib 1:1.2.13-1"
    assert "zlib 1:1.2.11-1" in found["gone"].note
    assert "unknown version" in found["bare"].note
    assert {copy.kind for copy in found.values()} == {"package"}
