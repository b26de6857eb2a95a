"""The demo asks apt for sources by the host's own entries, and by nothing else."""

from __future__ import annotations

from scripts.demo.debian_source import source_entries

DEB822 = """\
# A comment
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
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
"""


def test_release_suites_become_source_entries_with_their_key() -> None:
    entries = source_entries([DEB822], "bookworm")
    assert entries == (
        "Types: deb-src\n"
        "Uris: http://mirror.example/debian\n"
        "Suites: bookworm bookworm-updates\n"
        "Components: main\n"
        "Signed-By: \n"
        " -----BEGIN PGP PUBLIC KEY BLOCK-----\n"
        " .\n"
        " abc\n"
        " -----END PGP PUBLIC KEY BLOCK-----\n"
    )


def test_one_line_entries_keep_their_options() -> None:
    text = (
        "# deb http://commented.example bookworm main\n"
        "deb [arch=amd64 signed-by=/etc/apt/keyrings/k.gpg] http://m.example/s"
        " bookworm-security main contrib # note\n"
        "deb-src http://m.example/s bookworm main\n"
        "deb https://vendor.example cloud main\n"
    )
    assert source_entries([text], "bookworm") == (
        "Types: deb-src\n"
        "Uris: http://m.example/s\n"
        "Suites: bookworm-security\n"
        "Components: main\n"
        "Signed-By: /etc/apt/keyrings/k.gpg\n"
    )


def test_a_host_without_entries_for_its_release_yields_nothing() -> None:
    assert source_entries([DEB822], "trixie") == ""
    assert source_entries([], "bookworm") == ""
