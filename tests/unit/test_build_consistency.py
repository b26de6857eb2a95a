"""When old and new calls may run side by side."""

from __future__ import annotations

import pytest

from naht.build.native.consistency import ChangedCode, choose_consistency
from naht.errors import BuildRefusedError
from naht.hotpatch.manifest import Consistency


def code(
    *changed: str, looping: tuple[str, ...] = (), state: bool = False, itself: bool = False
) -> ChangedCode:
    return ChangedCode(changed, looping, state, itself)


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        pytest.param(code("check"), "overlap", id="one function that stands alone"),
        pytest.param(code("check", "count"), "quiescent", id="two"),
        pytest.param(code("check", state=True), "quiescent", id="with new state"),
        pytest.param(code("check", itself=True), "quiescent", id="calls itself"),
        pytest.param(code("check", looping=("check",)), "quiescent", id="loops to its entry"),
    ],
)
def test_the_choice(given: ChangedCode, chosen: Consistency) -> None:
    assert choose_consistency(given, None) == chosen


def test_the_author_may_choose_but_not_what_breaks() -> None:
    assert choose_consistency(code("check", "count"), "overlap") == "overlap"
    assert choose_consistency(code("check"), "quiescent") == "quiescent"
    with pytest.raises(BuildRefusedError) as caught:
        choose_consistency(code("check", looping=("check",)), "overlap")
    assert caught.value.reason == "overlap-unsafe"


@pytest.mark.parametrize("others", [(), ("check", "count")])
def test_main_is_refused_unless_the_author_chose(others: tuple[str, ...]) -> None:
    with pytest.raises(BuildRefusedError) as caught:
        choose_consistency(code("main", *others), None)
    assert caught.value.reason == "runs-once"
    assert all(name in caught.value.cause for name in ("main", *others))
    assert "author's patch without main" in caught.value.next_step
    assert choose_consistency(code("main", *others), "overlap") == "overlap"
