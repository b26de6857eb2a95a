"""`--hotpatches`: opens the library that `scan` and `heal` choose from, and says what in it is not
usable. Who vouches for a hotpatch of it is said as loudly as for a single file. Without the option
`heal` chooses from the host's repository, where it has one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from naht.cli.documents import LibraryProblem, LibraryReference
from naht.cli.hotpatch_argument import open_signed_repository
from naht.cli.terminal import clean, warn
from naht.errors import UsageError
from naht.hotpatch.library import Library, Listed, load_listed, read_library
from naht.hotpatch.verified import VerifiedHotpatch, accept_unsigned
from naht.live.engine import Engine
from naht.live.host.healing import Load
from naht.releases.client.settings import forbid_unsigned, read_settings

DEFAULT = Path("/var/lib/naht/hotpatches")
MAX_WARNINGS = 5


def add_library_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--hotpatches", type=Path, metavar="DIR",
        help=f"the hotpatch library: a directory of .naht files (default {DEFAULT})",
    )  # fmt: skip


def open_library(chosen: Path | None) -> Library:
    """An empty one where the default directory is missing; a chosen one must be there."""
    directory = chosen or DEFAULT
    if chosen is None and not directory.is_dir():
        return Library(directory)
    library = read_library(directory)
    for problem in library.problems[:MAX_WARNINGS]:
        warn(f"{clean(problem.path)} is not used: {clean(problem.cause)}")
    if left := library.problems[MAX_WARNINGS:]:
        warn(f"{len(left)} more files of the hotpatch library are not used.")
    return library


def refer_to_library(library: Library) -> LibraryReference:
    return LibraryReference(
        directory=str(library.directory),
        hotpatches=len(library.hotpatches),
        problems=tuple(LibraryProblem(path=p.path, cause=p.cause) for p in library.problems),
    )


def require_vouching(library: Library, *, unsigned_dev: bool) -> None:
    if not library.hotpatches:
        return  # nothing of it will run
    if not unsigned_dev:
        raise UsageError(
            f"The hotpatches in {library.directory} do not come from a signed repository: nobody "
            "vouches for them.",
            "For development, add --unsigned-dev. Hosts that matter have a signed repository "
            "(docs/repository.md), and leave --hotpatches away.",
        )
    forbid_unsigned()
    warn(
        f"--unsigned-dev: nobody vouches for {clean(str(library.directory))}; the code of its "
        "hotpatches will run as it is."
    )


def open_signed_library(engine: Engine) -> tuple[Library, Load]:
    """What the host's repository has for the objects that run here. Each hotpatch is kept as it was
    verified, and never read again."""
    settings = read_settings()
    running = sorted({str(o.object.build_id) for p in engine.scan(None) for o in p.objects} - {""})
    with open_signed_repository(settings) as repository:
        hotpatches = [repository.hotpatch(offer.id) for offer in repository.offers(running)]
    by_digest = {hotpatch.digest: hotpatch for hotpatch in hotpatches}
    listed = [Listed(Path(h.manifest.id), h.digest, h.manifest) for h in by_digest.values()]
    return Library(Path(settings.state), tuple(listed)), lambda chosen: by_digest[chosen.digest]


def load_from_library(listed: Listed) -> VerifiedHotpatch:
    """For `heal` after `require_vouching`, and for `scan`, which runs nothing of it."""
    return accept_unsigned(load_listed(listed))
