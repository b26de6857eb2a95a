"""Which changes of a function's type its old callers don't notice, by the System V ABI (x86-64).

Owns that rule, over descriptions of types (`layouts`). It knows nothing of who calls.
"""

from __future__ import annotations

from naht.build.native.layouts import Description

VOID: Description = ("void",)


def accepts_old_callers(old: Description, new: Description) -> bool:
    """Whether code compiled for `old` may call a function of type `new`."""
    if old[0] != "function" or new[0] != "function":
        return old == new
    olds, news = _parts(old[2]), _parts(new[2])
    if ("...",) in (*olds, *news) and olds != news:
        return False
    return _accepts_result(_part(old[1]), _part(new[1])) and _accept_parameters(olds, news)


def _accepts_result(old: Description, new: Description) -> bool:
    """Who expects nothing does not look; but a result in memory needs a place from the caller."""
    return _same(old, new) or (old == VOID and new[0] in ("integer", "pointer", "base"))


def _accept_parameters(olds: tuple[Description, ...], news: tuple[Description, ...]) -> bool:
    """Arguments that nobody takes any more do no harm: the caller takes them off the stack."""
    if len(news) > len(olds):
        return False
    return all(_same(a, b) for a, b in zip(olds, news, strict=False))


def _same(old: Description, new: Description) -> bool:
    """`void *` says nothing of what lies there, so it goes with every pointer."""
    if old == new:
        return True
    if old[0] == new[0] == "pointer":
        one, other = _part(old[1]), _part(new[1])
        return VOID in (one, other) or _same(one, other)
    return False


def _part(value: object) -> Description:
    return value if isinstance(value, tuple) else VOID


def _parts(value: object) -> tuple[Description, ...]:
    return tuple(_part(v) for v in value) if isinstance(value, tuple) else ()
