"""Which links of two sides belong together."""

from __future__ import annotations

from pathlib import Path

from naht.build.debian.linked_pairs import linked_pairs
from naht.build.native.recording import Invocation, KeptFile

TREE = Path("/build/pond-1")


def link(number: int, output: str, *arguments: str, cwd: str = "/build/pond-1") -> Invocation:
    path = Path(cwd) / output
    return Invocation(
        id=f"{number:08}",
        kind="linker",
        tool=Path("/usr/bin/ld"),
        cwd=Path(cwd),
        arguments=arguments,
        environment={},
        succeeded=True,
        outputs=(KeptFile(path, Path("/copies") / str(number)),),
    )


def test_the_last_link_of_an_output_counts() -> None:
    base = (link(1, "pond"), link(2, "pond"))
    (pair,) = linked_pairs(base, (), (link(3, "pond"), link(4, "pond")), TREE)
    assert (pair.old.id, pair.new.id) == ("00000002", "00000004")
    assert pair.key == ("", "pond")


def test_what_no_side_linked_anew_is_no_pair() -> None:
    assert linked_pairs((link(1, "pond"),), (), (), TREE) == ()


def test_both_sides_may_differ_from_the_base() -> None:
    (pair,) = linked_pairs((link(1, "pond"),), (link(2, "pond"),), (link(3, "pond"),), TREE)
    assert (pair.old.id, pair.new.id) == ("00000002", "00000003")


def test_a_link_in_a_temporary_directory_is_told_by_directory_and_name() -> None:
    base = (link(1, "/tmp/libtool-aaaa/pond", cwd="/build/pond-1/src"),)  # noqa: S108
    new = (link(2, "/tmp/libtool-bbbb/pond", cwd="/build/pond-1/src"),)  # noqa: S108
    (pair,) = linked_pairs(base, (), new, TREE)
    assert pair.key == ("/build/pond-1/src", "pond")


def test_relocatable_links_make_no_object() -> None:
    base = (link(1, "all.o", "-r"),)
    assert linked_pairs(base, (), (link(2, "all.o", "-r"),), TREE) == ()


def test_a_new_object_has_no_old_side() -> None:
    assert linked_pairs((), (), (link(1, "fresh"),), TREE) == ()
