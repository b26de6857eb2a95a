"""Numbers for people. Pure."""

from __future__ import annotations


def duration(nanoseconds: int) -> str:
    """Three figures at most: 850 ns, 240 µs, 2.41 ms, 1.2 s."""
    if nanoseconds < 1_000:
        return f"{nanoseconds} ns"
    for factor, unit in ((1_000, "µs"), (1_000_000, "ms")):
        if nanoseconds < factor * 999.5:
            return f"{_figures(nanoseconds / factor)} {unit}"
    return f"{_figures(nanoseconds / 1e9)} s"


def memory(size: int) -> str:
    if size < 1024:
        return f"{size} B"
    for factor, unit in ((1 << 10, "KiB"), (1 << 20, "MiB")):
        if size < factor * 1024:
            return f"{_figures(size / factor)} {unit}"
    return f"{_figures(size / (1 << 30))} GiB"


def _figures(value: float) -> str:
    if value >= 99.95:
        return f"{value:.0f}"
    text = f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
    return text.rstrip("0").rstrip(".")


def count(number: int, noun: str, plural: str = "") -> str:
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
