"""`naht build debian`: what is asked of the builder, what is shown of its answer, exit codes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import jsonschema
import msgspec
import pytest

from naht.build.debian.archive import Archive
from naht.build.debian.change_job import CopyNote, ObjectChange, RefusalText
from naht.build.debian.installed import Installed, newer_than_installed
from naht.build.debian.request import DebianRequest, DebianResult, Reference
from naht.build.native.request import Progress
from naht.cli import build_debian
from naht.cli.debian_result import described, print_result
from naht.cli.main import main
from naht.errors import NothingToDoError, UsageError
from naht.hotpatch.manifest import AuthorsPatch

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "build-debian.json"
BUILD_ID = "ab" * 20
LIBRARY, TOOL = "libfoo1:usr/lib/libfoo.so.1", "foo-tools:usr/bin/foo"
MADE = ObjectChange(
    name=".libs/libfoo.so.1", shipped_as=(LIBRARY, "libfoo1-udeb:usr/lib/libfoo.so.1"),
    build_id=BUILD_ID, old_file="", new_file="", running_file="",
    hotpatch=f"{BUILD_ID}.naht", functions=("parse", "check"),
)  # fmt: skip
REFUSED = ObjectChange(
    name="src/foo", shipped_as=(TOOL,), build_id="cd" * 20, old_file="", new_file="",
    running_file="",
    refusal=RefusalText(
        "layout-changed", "struct \x1bfoo grew.\nIt lives.", "Do this.\nOr \x1b.", "foo.h:3"
    ),
)  # fmt: skip
COPY = CopyNote("archive", "libfoo-dev:usr/lib/libfoo.a", ("libfoo-dev:usr/lib/libfoo.a",))


def result(*objects: ObjectChange, copies: tuple[CopyNote, ...] = ()) -> DebianResult:
    return DebianResult(
        source="foo", from_version="1-1", to_version="1-2", directory="/out/foo_1-2",
        how="1-1 and 1-2 from the archive", patches=(), advisories=("CVE-2024-0001",),
        objects=objects, copies=copies, references=(Reference(LIBRARY, "identical"),),
        unread=("debian/patches/series", "README"), unchanged=("foo-tools:usr/bin/other",),
        seconds=2.5,
    )  # fmt: skip


def run(words: str) -> int:
    return main(["build", "debian", *words.split()])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[DebianRequest]:
    """Stands in for the builds, which take minutes; they are tested for themselves."""
    requests: list[DebianRequest] = []

    def answer(request: DebianRequest, progress: Progress) -> DebianResult:
        progress("building…")
        requests.append(request)
        return result(MADE)

    monkeypatch.setattr("naht.build.debian.builder.build_debian", answer)
    return requests


def test_everything_on_the_command_line_reaches_the_builder(
    asked: list[DebianRequest], capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "foo --from 1:1-1 --to 1:1-2 --patch a.patch b.patch --patch a.patch"
        " --cve cve-2024-1111 -o out --cache /c --jobs 3 --in-place --id FOO --advisory DSA-1"
        " --severity critical --level 7 --supersedes OLD --allow-layout foo --allow-data bar"
        " --author-patch mine.patch --author Ann --author-patch too.patch"
    )
    assert run(words) == 0
    assert asked == [
        DebianRequest(
            source="foo", from_version="1:1-1", to_version="1:1-2", output=Path("out"),
            patches=("a.patch", "b.patch"), cves=("CVE-2024-1111",), cache=Path("/c"), jobs=3,
            in_place=True, id="FOO", advisories=("DSA-1",), severity="critical", level=7,
            supersedes=("OLD",), allow=frozenset({"layout:foo", "data:bar"}),
            authors_patches=(Path("mine.patch"), Path("too.patch")), author="Ann",
        )
    ]  # fmt: skip
    assert "building…" in capsys.readouterr().err


def test_the_fixed_version_may_be_left_to_the_archive(
    asked: list[DebianRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_debian, "newest_version", lambda source, cache: f"9-{source}")
    assert run("foo --from 1-1 --cache /c") == 0
    assert asked[0].to_version == "9-foo"


def test_from_what_is_installed(
    asked: list[DebianRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = Installed("libfoo1", "1-1+b2", "foo", "1-1")
    monkeypatch.setattr(
        "naht.build.debian.installed.source_of_installed", lambda name: {"libfoo1": installed}[name]
    )
    monkeypatch.setattr(build_debian, "newest_version", lambda source, cache: "1-2")
    assert run("--installed libfoo1 --cache /c") == 0
    assert (asked[0].source, asked[0].from_version, asked[0].to_version) == ("foo", "1-1", "1-2")
    assert run("--installed libfoo1 --to 1-1 --cache /c") == 9
    assert len(asked) == 1


def test_nothing_newer_is_nothing_to_do() -> None:
    installed = Installed("libfoo1", "1:1-1", "foo", "1:1-1")
    assert newer_than_installed(installed, "1:1-1+deb12u1") == "1:1-1+deb12u1"
    for newest in ("1:1-1", "1-9"):
        with pytest.raises(NothingToDoError, match="nothing newer"):
            newer_than_installed(installed, newest)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "foo",
        "--from 1 --to 2",
        "foo --installed foo",
        "--installed foo --from 1",
        "foo --from 1/2 --to 3",
        "Foo --from 1 --to 3",
        "foo --from 1 --to 3 --jobs 0",
        "foo --from 1 --to 3 --author Ann",
    ],
)
def test_wrong_usage_asks_nobody(
    words: str,
    asked: list[DebianRequest],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Archive, "newest_security_version", lambda *_: pytest.fail("asked"))
    assert run(f"{words} --cache /c") == 2
    assert asked == []
    assert "next:" in capsys.readouterr().err


def test_not_only_root_has_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/u/c")
    assert build_debian.default_cache() == Path("/home/u/c/naht/build")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert build_debian.default_cache() == Path("/var/cache/naht/build")


@pytest.mark.parametrize(
    ("objects", "code"),
    [((MADE,), 0), ((REFUSED,), 4), ((MADE, REFUSED), 8), ((), 9)],
)
def test_exit_codes(objects: tuple[ObjectChange, ...], code: int) -> None:
    assert described(result(*objects)).exit_code == code


def test_the_document_follows_its_schema(
    asked: list[DebianRequest], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("foo --from 1 --to 2 --cache /c --json") == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    made = document["objects"][0]
    assert made["hotpatch"] == f"/out/foo_1-2/{BUILD_ID}.naht"
    assert (made["outcome"], made["reference"]) == ("hotpatch", "identical")
    assert document["summary"] == {
        "objects": 1, "hotpatches": 1, "refused": 0, "copies": 0, "elapsed_ns": 2_500_000_000,
    }  # fmt: skip


def test_the_document_of_a_refusal_says_it_all() -> None:
    document = described(result(MADE, REFUSED, copies=(COPY,)))
    refused = document.objects[1]
    assert (refused.outcome, refused.hotpatch, refused.reason) == (
        "refused",
        None,
        "layout-changed",
    )
    assert (refused.next_step, refused.where, refused.reference) == (
        "Do this.\nOr \x1b.",
        "foo.h:3",
        "",
    )
    assert document.copies[0].shipped_as == ("libfoo-dev:usr/lib/libfoo.a",)


def test_people_see_every_object_every_copy_and_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_result(described(result(MADE, REFUSED, copies=(COPY,))))
    shown = capsys.readouterr().out
    lines = {line.split()[0]: line for line in shown.splitlines() if line.strip()}
    assert lines[LIBRARY].split()[1:] == [
        BUILD_ID[:12], "identical", "hotpatch", "2", f"{BUILD_ID}.naht",
    ]  # fmt: skip
    assert lines[TOOL].split()[-1] == "layout-changed"
    assert "libfoo1-udeb:usr/lib/libfoo.so.1" in lines
    assert "foo.h:3: struct \\x1bfoo grew." in shown
    assert "    It lives.\n    next: Do this.\n    next: Or \\x1b.\n" in shown
    assert "--patch NAME" in shown
    assert "\x1b" not in shown
    assert "gets no hotpatch:\n  archive" in shown
    assert "1 of 2 changed objects have a hotpatch, in /out/foo_1-2" in shown


def test_an_authors_patch_is_told_with_what_it_replaces(
    capsys: pytest.CaptureFixture[str],
) -> None:
    written = AuthorsPatch(patch="mine.patch", digest="a" * 64, author="Ann \x1b<ann@example.org>")
    made = msgspec.structs.replace(
        result(MADE), patches=("CVE-1.patch",), authors_patches=(written,)
    )
    print_result(described(made))
    shown = capsys.readouterr().out
    assert "in place of CVE-1.patch" in shown
    assert "mine.patch, by Ann \\x1b<ann@example.org>" in shown
    assert "changes     CVE-1.patch" not in shown


def test_nothing_changed_says_what_was_looked_at(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_result(described(result()))
    shown = capsys.readouterr().out
    assert "No shipped object changed" in shown
    assert "the same code as before: foo-tools:usr/bin/other\n" in shown
    assert "enter no compilation: README\n" in shown


def test_the_choice_between_source_and_installed() -> None:
    given = argparse.Namespace(source="foo", from_version="1", installed=None)
    build_debian.check_choice(given)
    given.installed = "libfoo1"
    with pytest.raises(UsageError):
        build_debian.check_choice(given)
