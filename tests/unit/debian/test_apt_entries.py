"""The host's source entries for one release: suites, keys, options; nothing else of it."""

from __future__ import annotations

from naht.build.debian.apt_entries import release_entries
from naht.build.debian.control_files import paragraphs

DEB822 = """\
# A comment
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
# Another one, inside
Components: main contrib
Architectures: amd64
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://vendor.example
Suites: stable
Components: main

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://debug.example/debian-debug
Suites: bookworm-debug
Components: main
"""


def test_suites_of_the_release_with_their_key_and_debug_archive() -> None:
    assert release_entries([DEB822], "bookworm") == (
        "Types: deb deb-src\n"
        "URIs: http://mirror.example/debian\n"
        "Suites: bookworm bookworm-updates\n"
        "Components: main contrib\n"
        "Signed-By: \n"
        " -----BEGIN PGP PUBLIC KEY BLOCK-----\n"
        " .\n"
        " abc\n"
        " -----END PGP PUBLIC KEY BLOCK-----\n"
        "\n"
        "Types: deb\n"
        "URIs: http://debug.example/debian-debug\n"
        "Suites: bookworm-debug\n"
        "Components: main\n"
    )


def test_one_line_entries_keep_their_options() -> None:
    text = (
        "# deb http://commented.example bookworm main\n"
        "deb [arch=amd64,i386 signed-by=/etc/apt/keyrings/k.gpg] http://m.example/s"
        " bookworm-security main contrib # note\n"
        "deb-src http://m.example/s bookworm main\n"
        "deb https://vendor.example cloud main\n"
    )
    assert release_entries([text], "bookworm") == (
        "Types: deb deb-src\n"
        "URIs: http://m.example/s\n"
        "Suites: bookworm-security\n"
        "Components: main contrib\n"
        "Signed-By: /etc/apt/keyrings/k.gpg\n"
    )


def test_a_host_without_entries_for_the_release_yields_nothing() -> None:
    assert release_entries([DEB822], "trixie") == ""
    assert release_entries([], "bookworm") == ""


def test_paragraphs() -> None:
    text = "\n\nA: 1\nB:\n two\n three\n# no\nnoise\n\n \nC : 3\n continued"
    assert list(paragraphs(text)) == [{"a": "1", "b": "\n two\n three"}, {"c": "3\n continued"}]
    assert list(paragraphs("")) == []
