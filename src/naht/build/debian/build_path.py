"""Where the distribution's build daemons unpacked a source when they built it. Programs may hold
the path, or leave room for it where a run path was blanked.

Pure; the path of the time of a version is chosen by its date.
"""

from __future__ import annotations

FIXED = "/build/reproducible-path"
# Debian bug 1034424: before, each build had a directory with six random letters. They can't be had
# again, but their number can, and with it the layout.
_FIXED_SINCE = 1689379200  # 2023-07-15
_LETTERS = "AAAAAA"


def build_path(source: str, timestamp: int) -> str:
    """`timestamp`: of the newest changelog entry, in seconds."""
    return FIXED if timestamp >= _FIXED_SINCE else f"/build/{source}-{_LETTERS}"
