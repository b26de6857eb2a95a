"""An author's own patches in place of what the distribution changed: the fixed side is then the
source of what runs and these patches, and the hotpatch says who wrote what instead of what.

    written_instead(older_tree, replaced, patches, author, into) -> tuple[AuthorsPatch, ...]

Refuses a patch that nobody signs for, or that does not fit the older source exactly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from naht.build.debian.patch_notes import header_field, header_text
from naht.build.debian.quilt import copy_tree
from naht.build.native.patching import apply_patches
from naht.errors import UsageError
from naht.hotpatch.manifest import AuthorsPatch

_LARGEST_PATCH = 64 << 20
_LONGEST_AUTHOR = 1024
_LONGEST_DESCRIPTION = 4000


def written_instead(
    older_tree: Path, replaced: Sequence[str], patches: Sequence[Path], author: str, into: Path
) -> tuple[AuthorsPatch, ...]:
    """Makes the fixed tree `into`. `replaced`: the distribution's patches that these stand for."""
    described = tuple(_described(patch, replaced, author) for patch in patches)
    copy_tree(older_tree, into)
    try:
        apply_patches(into, patches)
    except UsageError as error:
        raise UsageError(
            error.cause,
            "Write it against the source of what runs: the older version's (`apt-get source "
            "SOURCE=VERSION`), or the newer one's without the patches that it replaces "
            "(`quilt pop`).",
        ) from error
    return described


def _described(patch: Path, replaced: Sequence[str], author: str) -> AuthorsPatch:
    if not patch.is_file() or patch.stat().st_size > _LARGEST_PATCH:
        raise UsageError(f"{patch} is not a readable patch file.", "Check the path.")
    header = header_text(patch)
    return AuthorsPatch(
        patch=patch.name,
        digest=hashlib.sha256(patch.read_bytes()).hexdigest(),
        author=_one_line(author or _signed_by(header), _LONGEST_AUTHOR) or _refuse_unsigned(patch),
        description=_one_line(_text(header), _LONGEST_DESCRIPTION),
        replaces=tuple(replaced),
    )


def _signed_by(header: str) -> str:
    """DEP-3 knows both names."""
    return header_field(header, "Author") or header_field(header, "From")


def _text(header: str) -> str:
    return header_field(header, "Description") or header_field(header, "Subject")


def _one_line(text: str, most: int) -> str:
    return " ".join(text.split())[:most]


def _refuse_unsigned(patch: Path) -> str:
    raise UsageError(
        f"{patch} does not say who wrote it.",
        "Give --author NAME, or begin the file with a line `Author: NAME <ADDRESS>`.",
    )
