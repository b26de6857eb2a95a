"""How far a rebuilt object is the shipped one, with real compilations."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from naht.build.debian.origins import find_origins, names_by_link
from naht.build.debian.reference import ReferenceProof, prove_reference
from tests.builders.small_shipped import COMMAND, PATH, A, B, Recorded, build, package

pytestmark = pytest.mark.compiler


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return build(tmp_path_factory.mktemp("rebuilt"), {"a.c": A, "b.c": B})


def prove(
    rebuilt: Recorded, folder: Path, sources: dict[str, str], command: str = COMMAND
) -> ReferenceProof:
    shipped = build(folder / "theirs", {"a.c": A, "b.c": B, **sources}, command)
    (proof,) = prove_reference(
        package(folder / "shipped", {PATH: shipped.tree / "libx.so"}),
        package(folder / "ours", {PATH: rebuilt.tree / "libx.so"}),
        rebuilt.records,
    )
    return proof


def test_the_same_source_is_identical_although_stripped(rebuilt: Recorded, tmp_path: Path) -> None:
    proof = prove(rebuilt, tmp_path, {})
    assert (proof.verdict, proof.comparison.differences) == ("identical", ())
    assert proof.reference is not None
    assert proof.reference.read_bytes() == (rebuilt.tree / "libx.so").read_bytes()


def test_other_debug_information_leaves_the_same_code(rebuilt: Recorded, tmp_path: Path) -> None:
    proof = prove(rebuilt, tmp_path, {"a.c": "// a line more\n" + A})
    assert proof.verdict == "same-code"


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [("+ 7", "+ 8", "second"), ("{1, 2}", "{1, 3}", "numbers"), ("* 3", "* 5", "third")],
)
def test_what_differs_in_place_is_named(
    rebuilt: Recorded, tmp_path: Path, old: str, new: str, name: str
) -> None:
    sources = {"a.c": A.replace(old, new), "b.c": B.replace(old, new)}
    proof = prove(rebuilt, tmp_path, sources)
    assert proof.verdict == "partly"
    assert name in proof.comparison.differences
    assert "first" not in proof.comparison.differences


def test_a_string_without_a_name_is_told_by_its_place(rebuilt: Recorded, tmp_path: Path) -> None:
    proof = prove(rebuilt, tmp_path, {"a.c": A.replace("first %d", "First %d")})
    assert proof.verdict == "partly"
    assert [d.split("+")[0] for d in proof.comparison.differences] == [".rodata"]


def test_more_code_shifts(rebuilt: Recorded, tmp_path: Path) -> None:
    more = "\nint fourth(int n) { return n / 7 + first(n / 11) * third(n % 13); }\n"
    proof = prove(rebuilt, tmp_path, {"b.c": B + more})
    assert proof.verdict == "shifted"
    assert any(".text" in d for d in proof.comparison.differences)
    assert not {"first", "second", "third"} & set(proof.comparison.differences)


def test_functions_with_other_code_are_named_although_all_is_shifted(
    rebuilt: Recorded, tmp_path: Path
) -> None:
    more = "\nint fourth(int n) { return n / 7 + first(n / 11) * third(n % 13); }\n"
    proof = prove(rebuilt, tmp_path, {"a.c": A.replace("+ 7", "+ 77777"), "b.c": more + B})
    assert proof.verdict == "shifted"
    names = {"first", "second", "third"} & set(proof.comparison.differences)
    assert names == {"second"}


def test_an_object_that_was_not_rebuilt_is_missing(rebuilt: Recorded, tmp_path: Path) -> None:
    library = rebuilt.tree / "libx.so"
    (proof,) = prove_reference(
        package(tmp_path / "shipped", {"usr/lib/other.so": library}),
        package(tmp_path / "ours", {PATH: library}),
        rebuilt.records,
    )
    assert (proof.verdict, proof.reference) == ("missing", None)


def test_an_object_without_a_link_is_missing(rebuilt: Recorded, tmp_path: Path) -> None:
    both = {PATH: rebuilt.tree / "libx.so"}
    (proof,) = prove_reference(
        package(tmp_path / "a", both), package(tmp_path / "b", both),
        [r for r in rebuilt.records if r.kind != "linker"],
    )  # fmt: skip
    assert proof.verdict == "missing"
    assert "the rebuilt object is identical" in proof.note


def test_what_was_altered_after_the_link_is_said(rebuilt: Recorded, tmp_path: Path) -> None:
    """As `cmake --install` does it, which blanks run paths."""
    altered = tmp_path / "libx.so"
    content = (rebuilt.tree / "libx.so").read_bytes()
    altered.write_bytes(content.replace(b"second %d", b"SECOND %d"))
    both = {PATH: altered}
    (proof,) = prove_reference(
        package(tmp_path / "a", both), package(tmp_path / "b", both), rebuilt.records
    )
    assert proof.verdict == "identical"
    assert proof.note.startswith("altered after its link: .rodata+")


def test_a_library_that_is_linked_twice_has_both_links(tmp_path: Path) -> None:
    twice = f"{COMMAND} && gcc -shared -o second.so a.o b.o"
    recorded = build(tmp_path / "b", {"a.c": A, "b.c": B}, twice)
    files = {PATH: recorded.tree / "libx.so", "usr/lib/s.so": recorded.tree / "second.so"}
    origins = find_origins(package(tmp_path / "p", files).objects, recorded.records)
    assert [len(o.links) for o in origins.values()] == [2, 2]
    assert [link.outputs[0].path.name for link in origins[f"small:{PATH}"].links] == [
        "libx.so", "second.so",
    ]  # fmt: skip
    assert set(names_by_link(origins).values()) == {(f"small:{PATH}", "small:usr/lib/s.so")}


def test_without_a_build_id_the_code_finds_the_link(tmp_path: Path) -> None:
    command = COMMAND.replace("-shared", "-shared -Wl,--build-id=none")
    other = f"{command} && gcc -shared -Wl,--build-id=none -o b.so b.o"
    recorded = build(tmp_path / "b", {"a.c": A, "b.c": B}, other)
    shutil.copy(recorded.tree / "libx.so", recorded.tree / "renamed.so")
    objects = package(tmp_path / "p", {"usr/x.so": recorded.tree / "renamed.so"}).objects
    (origin,) = find_origins(objects, recorded.records).values()
    assert [link.outputs[0].path.name for link in origin.links] == ["libx.so"]
