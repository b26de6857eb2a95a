"""The root file system of the host, made by mmdebstrap with the old versions; kept in the cache."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

from naht.build.debian.cache import Cache
from scripts.host_heal.plan import TOOLS, Update


def make_root(cache: Cache, suite: str, entries: str, updates: Sequence[Update]) -> Path:
    """`entries`: deb822 of the archives. Nothing ever writes to what is returned."""
    old = [f"{package}={update.old}" for update in updates for package in update.packages]
    included = ",".join([*old, *TOOLS])
    key = hashlib.sha256("\0".join([suite, entries, included]).encode()).hexdigest()[:24]
    with cache.entry("hosts", key) as entry:
        if not entry.complete:
            print("making the root of the host…", flush=True)
            sources = entry.path / "archive.sources"
            sources.write_text(entries)
            subprocess.run(
                ["mmdebstrap", "--variant=minbase", f"--include={included}",
                 '--aptopt=APT::Get::Allow-Downgrades "true"', suite,
                 entry.path / "root", sources],
                check=True, stdin=subprocess.DEVNULL, stderr=(entry.path / "log").open("wb"),
            )  # fmt: skip
            entry.seal()
    return entry.path / "root"
