"""Which new prototype an old caller may call, by the ABI alone."""

from __future__ import annotations

import pytest

from naht.build.native.layouts import Description
from naht.build.native.prototypes import VOID, accepts_old_callers

INT: Description = ("integer", 4)
LONG: Description = ("integer", 8)
THING: Description = ("pointer", ("record", "struct thing"))
OTHER: Description = ("pointer", ("record", "struct other"))
ANY: Description = ("pointer", VOID)


def function(result: Description, *parameters: Description) -> Description:
    return ("function", result, parameters)


ACCEPTED = {
    "the same": (function(INT, THING), function(INT, THING)),
    "a result where there was none": (function(VOID, INT), function(INT, INT)),
    "an argument less": (function(INT, THING, LONG), function(INT, THING)),
    "any pointer becomes a certain one": (function(INT, ANY), function(INT, THING)),
    "a certain pointer becomes any": (function(THING), function(ANY)),
    "pointers to pointers": (
        function(VOID, ("pointer", ANY)),
        function(VOID, ("pointer", THING)),
    ),
}
REFUSED = {
    "an argument more": (function(INT, THING), function(INT, THING, LONG)),
    "a wider argument": (function(INT, INT), function(INT, LONG)),
    "no result any more": (function(INT, INT), function(VOID, INT)),
    "a wider result": (function(INT), function(LONG)),
    "a struct as result": (function(VOID), function(("record", "struct thing"))),
    "another pointer": (function(INT, THING), function(INT, OTHER)),
    "others in between": (function(INT, THING, LONG), function(INT, LONG)),
    "a list that goes on": (function(INT, THING, ("...",)), function(INT, THING)),
    "no function any more": (function(INT), INT),
}


@pytest.mark.parametrize("what", ACCEPTED)
def test_what_old_callers_do_not_notice(what: str) -> None:
    assert accepts_old_callers(*ACCEPTED[what])


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_mislead_old_callers(what: str) -> None:
    assert not accepts_old_callers(*REFUSED[what])
