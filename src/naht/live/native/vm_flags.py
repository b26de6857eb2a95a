"""Kernel flags of mappings, from /proc/PID/smaps.

Reading smaps makes the kernel walk the page tables of the whole process, so it is asked only when a
mapping's flag decides something. Only reads.
"""

from __future__ import annotations

from naht.live.native import procfs


def mappings_with_flag(pid: int, flag: str) -> set[tuple[int, int]]:
    """The (start, end) of mappings whose VmFlags name `flag`, such as "nr" (MAP_NORESERVE)."""
    return parse_flagged(procfs.read_text(pid, "smaps"), flag)


def parse_flagged(text: bytes, flag: str) -> set[tuple[int, int]]:
    found = set()
    current = (0, 0)
    wanted = flag.encode()
    for line in text.splitlines():
        if line.startswith(b"VmFlags:"):
            if wanted in line.split()[1:]:
                found.add(current)
        elif line[:1] in b"0123456789abcdef":  # every attribute starts with a capital letter
            current = _range(line)
    return found


def _range(line: bytes) -> tuple[int, int]:
    start, _, rest = line.partition(b"-")
    try:
        return int(start, 16), int(rest.split(None, 1)[0], 16)
    except (ValueError, IndexError) as error:
        raise procfs.unparsable("smaps") from error
