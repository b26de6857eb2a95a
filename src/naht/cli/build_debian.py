"""`naht build debian`: turns a Debian security update into hotpatches for the binaries that are
installed."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from naht.cli.build_native import (
    add_allowance_arguments,
    allowed,
    builder_missing,
    show_progress,
)
from naht.cli.debian_result import described, print_result
from naht.cli.operation import add_json_argument, parse_count
from naht.cli.output import print_document
from naht.errors import UsageError
from naht.hotpatch.manifest import Severity

if TYPE_CHECKING:
    from naht.build.debian.request import DebianRequest

DESCRIPTION = """\
Turns what changed between two versions of a Debian source package into one hotpatch for every
shipped binary that changed. The older version is rebuilt in a clean root and must be the same code
as what the archive shipped, function by function; what is not is refused.

Sources come from the archives that apt on this host trusts. Where they no longer have the older
one, the patches that the newer version added are taken off again. Nothing on the host changes."""

EXAMPLES = """\
  naht build debian tiff --from 4.5.0-6+deb12u3 -o hotpatches      to the newest version
  naht build debian expat --from 2.5.0-1+deb12u1 --to 2.5.0-1+deb12u2 --cve CVE-2024-8176
  naht build debian nginx --from 1.22.1-9+deb12u8 --to 1.22.1-9+deb12u9 \\
      --patch CVE-2026-42055.patch
  naht build debian --installed libtiff6                           from what is installed here
  naht build debian nginx --from 1.22.1-9+deb12u8 --to 1.22.1-9+deb12u9 \\
      --patch CVE-2026-40701.patch --author-patch shadow.patch     the author's instead of theirs"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_version_arguments(parser)
    add_place_arguments(parser)
    add_manifest_arguments(parser)
    add_allowance_arguments(parser)
    add_json_argument(parser)


def add_version_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what changes")
    group.add_argument("source", nargs="?", metavar="SOURCE", help="the source package")
    group.add_argument(
        "--installed", metavar="PACKAGE",
        help="in place of SOURCE and --from: the version of this binary package that is installed",
    )  # fmt: skip
    group.add_argument(
        "--from", dest="from_version", metavar="VERSION", help="the version that runs"
    )
    group.add_argument(
        "--to", dest="to_version", metavar="VERSION",
        help="the fixed version (default: the newest of the release, security updates included)",
    )  # fmt: skip
    group.add_argument(
        "--patch", dest="patches", nargs="+", action="extend", metavar="NAME", default=[],
        help="only these of the fixed version's debian/patches; also says what it added when that "
        "is in doubt",
    )  # fmt: skip
    group.add_argument(
        "--cve", dest="cves", nargs="+", action="extend", metavar="ID", default=[],
        help="only the patches that say that they fix these",
    )  # fmt: skip
    group.add_argument(
        "--author-patch", dest="authors_patches", nargs="+", action="extend", metavar="FILE",
        type=Path, default=[],
        help="build these in place of what the distribution changed (all of it, or --patch, "
        "--cve): unified diffs against the source of what runs, such as ones that keep new "
        "members as shadow data; the hotpatch names them, their author and what they replace",
    )  # fmt: skip
    group.add_argument(
        "--author", default="", metavar="NAME",
        help="who answers for them (default: `Author:` or `From:` at their beginning)",
    )  # fmt: skip


def add_place_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where")
    group.add_argument(
        "-o", "--output", type=Path, default=Path("hotpatches"), metavar="DIR",
        help="hotpatches go to DIR/SOURCE_VERSION/BUILDID.naht (default: hotpatches)",
    )  # fmt: skip
    group.add_argument(
        "--cache", type=Path, metavar="DIR",
        help="sources, clean roots and builds are kept here for the next time",
    )  # fmt: skip
    group.add_argument(
        "--jobs", type=parse_count, default=os.cpu_count() or 1, metavar="N",
        help="compile N units side by side (default: one per processor)",
    )  # fmt: skip
    group.add_argument(
        "--in-place", action="store_true",
        help="build with this host's tools and packages, not in a clean root",
    )  # fmt: skip


def add_manifest_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what the hotpatches say about themselves")
    group.add_argument(
        "--id", default="", metavar="ID",
        help="the beginning of their names (default: source and version)",
    )  # fmt: skip
    group.add_argument(
        "--advisory", dest="advisories", nargs="+", action="extend", metavar="ID", default=[],
        help="what they close (default: the CVEs that the patches or the changelog name)",
    )  # fmt: skip
    group.add_argument("--severity", choices=get_args(Severity), default="unknown")
    group.add_argument(
        "--level", type=parse_count, default=0, metavar="N",
        help="how far they bring the component (default: how many versions lie between)",
    )  # fmt: skip
    group.add_argument(
        "--supersedes", nargs="+", action="extend", default=[], metavar="ID",
        help="hotpatches that they contain and replace",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    try:
        from naht.build.debian.builder import build_debian  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise builder_missing(error) from error
    result = build_debian(requested(arguments), show_progress)
    document = described(result)
    if arguments.json:
        print_document(document)
    else:
        print_result(document)
    return document.exit_code


def requested(arguments: argparse.Namespace) -> DebianRequest:
    from naht.build.debian.request import DebianRequest  # noqa: PLC0415

    check_author(arguments)
    cache = arguments.cache or default_cache()
    source, from_version, to_version = chosen_versions(arguments, cache)
    return DebianRequest(
        source=source,
        from_version=from_version,
        to_version=to_version,
        output=arguments.output,
        patches=tuple(dict.fromkeys(arguments.patches)),
        cves=tuple(dict.fromkeys(cve.upper() for cve in arguments.cves)),
        cache=cache,
        jobs=arguments.jobs,
        in_place=arguments.in_place,
        id=arguments.id,
        advisories=tuple(dict.fromkeys(arguments.advisories)),
        severity=arguments.severity,
        level=arguments.level,
        supersedes=tuple(arguments.supersedes),
        allow=allowed(arguments),
        authors_patches=tuple(arguments.authors_patches),
        author=arguments.author,
    )


def default_cache() -> Path:
    from naht.build.debian.request import DEFAULT_CACHE  # noqa: PLC0415

    if os.geteuid() == 0:
        return DEFAULT_CACHE
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "naht" / "build"


def chosen_versions(arguments: argparse.Namespace, cache: Path) -> tuple[str, str, str]:
    """Source package, the version that runs, the fixed version. Asks the archives only for what is
    not given."""
    from naht.build.debian.installed import (  # noqa: PLC0415
        newer_than_installed,
        source_of_installed,
    )
    from naht.build.debian.versions import check_name, check_version  # noqa: PLC0415

    check_choice(arguments)
    if arguments.installed:
        installed = source_of_installed(arguments.installed)
        to = arguments.to_version or newest_version(installed.source, cache)
        return (
            installed.source,
            installed.source_version,
            check_version(newer_than_installed(installed, to)),
        )
    source = check_name(arguments.source)
    to = arguments.to_version or newest_version(source, cache)
    return source, check_version(arguments.from_version), check_version(to)


def check_choice(arguments: argparse.Namespace) -> None:
    both = arguments.source and arguments.from_version and not arguments.installed
    installed = arguments.installed and not (arguments.source or arguments.from_version)
    if not (both or installed):
        raise UsageError(
            "The versions are not given, or given twice.",
            "Give either SOURCE --from VERSION [--to VERSION], or --installed PACKAGE.",
        )


def check_author(arguments: argparse.Namespace) -> None:
    if arguments.author and not arguments.authors_patches:
        raise UsageError(
            "--author names the author of nothing.", "Give the author's patch with --author-patch."
        )


def newest_version(source: str, cache: Path) -> str:
    from naht.build.debian.archive import host_archive  # noqa: PLC0415
    from naht.build.debian.cache import Cache  # noqa: PLC0415

    return host_archive(Cache(cache), show_progress).newest_security_version(source)
