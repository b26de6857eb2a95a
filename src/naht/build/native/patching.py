"""Makes the new tree out of the old one and patch files, as `patch` applies them without fuzz.

Refuses a patch that does not apply, or that changes nothing, naming file and hunk.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from naht.errors import ToolError, UsageError

_NAME = re.compile(r"^(?:---|\+\+\+) ([^\t\n]+)", re.MULTILINE)
_MAX_PATCH = 64 << 20


def apply_patches(tree: Path, patches: Sequence[Path]) -> None:
    for patch in patches:
        _apply(tree, patch)


def _apply(tree: Path, patch: Path) -> None:
    if not patch.is_file() or patch.stat().st_size > _MAX_PATCH:
        raise UsageError(f"{patch} is not a readable patch file.", "Check the path.")
    strip = _strip_count(tree, patch)
    # Fuzz 0: a hunk whose surroundings differ may land in the wrong function. Unified diffs only:
    # an ed-style patch would run a program.
    command = ["patch", f"-p{strip}", "--unified", "--forward", "--batch", "--fuzz=0",
               "--no-backup-if-mismatch", "--reject-file=-", "-d", str(tree),
               "-i", str(patch.absolute())]  # fmt: skip
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError as error:
        raise ToolError(
            "The program `patch` is missing.", "Install it (`apt-get install patch`)."
        ) from error
    if result.returncode:
        raise UsageError(
            f"{patch} does not apply (-p{strip}): {_failures(result.stdout + result.stderr)}",
            "Refresh the patch against this very source (`quilt refresh`), or give --old and "
            "--new trees.",
        )


def _failures(output: str) -> str:
    """The lines that name a file and each hunk of it that failed."""
    told: list[str] = []
    file = ""
    for line in output.splitlines():
        if match := re.match(r"(?:checking|patching) file '?(.*?)'?$", line):
            file = match[1]
        elif "FAILED" in line or "can't find file" in line or "previously applied" in line:
            told.append(f"{file}: {line}" if file else line)
    return "; ".join(told) or output.strip()[-1000:]


def _strip_count(tree: Path, patch: Path) -> int:
    """The smallest of 1, 0, 2, 3 with which the files it changes are there."""
    names = _NAME.findall(patch.read_text(errors="surrogateescape"))
    present = [n for n in names if n.strip() != "/dev/null"]
    if not present:
        raise UsageError(f"{patch} holds no unified diff.", "Make it with `diff -u` or `git diff`.")
    counts = {p: sum(_exists(tree, name, p) for name in present) for p in (1, 0, 2, 3)}
    best = max(counts, key=lambda p: counts[p])
    if not counts[best]:
        raise UsageError(
            f"{patch} changes {present[-1]}, which is not in {tree.name}.",
            "Check that the patch is for this source.",
        )
    return best


def _exists(tree: Path, name: str, strip: int) -> bool:
    parts = [p for p in name.strip().split("/") if p]
    return len(parts) > strip and (tree.joinpath(*parts[strip:])).is_file()
