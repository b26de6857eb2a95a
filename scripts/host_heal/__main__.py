"""`make host-test`: a host of the distribution is upgraded and healed, and nothing is restarted.

    python -m scripts.host_heal [--cache DIR] [--hotpatches DIR] [--report]

Needs root, mmdebstrap, the archive, and minutes: packages are built. --hotpatches takes hotpatches
that are built already. --report writes docs/results/host-heal.md and needrestart.md.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from naht.build.debian.apt_entries import host_entries, host_release
from naht.build.debian.cache import Cache
from scripts.host_heal import report
from scripts.host_heal.host import OWN, running_host
from scripts.host_heal.hotpatches import build_library
from scripts.host_heal.plan import BUILT, UPDATES
from scripts.host_heal.root import make_root
from scripts.host_heal.story import Story


def main() -> int:
    arguments = parse()
    # Else the host would live on without us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    cache = Cache(arguments.cache)
    base = make_root(cache, host_release(), host_entries(host_release()), UPDATES)
    with TemporaryDirectory(dir=scratch(cache)) as work:
        library = Path(work) / "hotpatches"
        if arguments.hotpatches:
            shutil.copytree(arguments.hotpatches, library)
        else:
            build_library(library, arguments.cache, BUILT)
        with running_host(base, Path(work)) as host:
            story = Story(host, library)
            story.run()
    if arguments.report:
        report.write(story, OWN / "docs" / "results")
    print(story.verdict())
    return 0 if story.good else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path("/var/cache/naht-build"))
    parser.add_argument("--hotpatches", type=Path)
    parser.add_argument("--report", action="store_true")
    return parser.parse_args()


def scratch(cache: Cache) -> Path:
    directory = cache.root / "scratch"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


if __name__ == "__main__":
    sys.exit(main())
