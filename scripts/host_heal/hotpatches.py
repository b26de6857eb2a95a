"""The hotpatches of the test, made by `naht build debian` from the distribution's own sources."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from naht.build.debian.builder import build_debian
from naht.build.debian.request import DebianRequest
from naht.errors import NahtError
from scripts.host_heal.plan import Update


def build_library(library: Path, cache: Path, updates: Sequence[Update]) -> None:
    library.mkdir(parents=True)
    for update in updates:
        built = library.parent / "built"
        request = DebianRequest(update.source, update.old, update.new, built, cache=cache)
        try:
            result = build_debian(request, lambda step: print(f"  {step}", flush=True))
        except NahtError as error:
            print(f"{update.source}: {error.cause}", flush=True)
            continue
        for item in result.objects:
            if item.hotpatch:
                shutil.copy(Path(result.directory) / item.hotpatch, library)
            elif item.refusal:
                print(f"{item.name}: refused: {item.refusal.cause}", flush=True)
