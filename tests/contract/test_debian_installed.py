"""What dpkg has installed, as dpkg-query tells it."""

from __future__ import annotations

import subprocess

import pytest

from naht.build.debian.installed import source_of_installed
from naht.errors import UsageError


def test_the_source_of_an_installed_package() -> None:
    found = source_of_installed("libc6")
    command = ["dpkg-query", "-W", "-f", "${Version}", "libc6:amd64"]
    version = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert (found.package, found.version, found.source) == ("libc6", version, "glibc")
    assert version.startswith(found.source_version)


def test_a_package_that_is_not_installed() -> None:
    for name in ("no-such-package-anywhere", "--help", "*"):
        with pytest.raises(UsageError):
            source_of_installed(name)
