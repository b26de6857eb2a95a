from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naht.build.native.command_line import (
    CommandLine,
    compile_one,
    parse_command,
    split_response,
    without_side_outputs,
)

CWD = Path("/build/dir")


def parsed(text: str, **responses: str) -> CommandLine:
    return parse_command(tuple(text.split()), CWD, {CWD / k: Path(v) for k, v in responses.items()})


@pytest.mark.parametrize(
    ("text", "sources", "objects"),
    [
        ("-O2 -c a.c -o out/a.o", ["a.c"], ["out/a.o"]),
        ("-c ../x/a.cpp", ["../x/a.cpp"], ["a.o"]),
        ("-c a.c b.c", ["a.c", "b.c"], ["a.o", "b.o"]),
        ("-c -oa.o a.c", ["a.c"], ["a.o"]),
        ("-x c -c generated -o g.o", ["generated"], ["g.o"]),
        ("-xc++ -c thing.inc -x none -c b.S -o b.o", ["thing.inc", "b.S"], ["b.o", "b.o"]),
        ("a.c b.o libx.a -lm -o prog", ["a.c"], [None]),
        ("-include pre.c -MF dep.c -MT x.c -isystem s.c -c a.c", ["a.c"], ["a.o"]),
        ("-DX=a.c -Ia.c -c a.c", ["a.c"], ["a.o"]),
        ("a.o b.o -o prog", [], []),
    ],
)
def test_sources_and_their_objects(
    text: str, sources: list[str], objects: list[str | None]
) -> None:
    command = parsed(text)
    paths = [(CWD / s).resolve() for s in sources]
    assert [s.path for s in command.sources] == paths
    assert [command.object_of(s) for s in command.sources] == [
        CWD / o if o is not None else None for o in objects
    ]


@pytest.mark.parametrize("option", ["-E", "-S", "-M", "-MM", "-fsyntax-only", "-###"])
def test_some_runs_make_no_object(option: str) -> None:
    assert parsed("-c a.c").makes_objects
    assert not parsed(f"{option} a.c").makes_objects


def test_assembler_is_told_from_c() -> None:
    command = parsed("-c a.S b.s c.c -x assembler d")
    assert [s.assembler for s in command.sources] == [True, True, False, True]


@pytest.mark.parametrize(
    ("flags", "lto"),
    [("-flto", True), ("-flto=auto -O2", True), ("-flto -fno-lto", False), ("-O2", False)],
)
def test_the_last_lto_flag_decides(flags: str, lto: bool) -> None:
    assert parsed(f"{flags} -c a.c").uses_lto is lto


def test_one_source_of_several_is_compiled_alone() -> None:
    command = parsed("-O2 a.c b.c c.o libx.a -lm -Wl,-z,now -o prog -MD -MF d")
    assert compile_one(command, command.sources[1], Path("/x/b.o")) == [
        "-O2", "b.c", "-c", "-o", "/x/b.o",
    ]  # fmt: skip


@pytest.mark.parametrize("output", ["-o lib.so", "-olib.so", "-o lib.a.o"])
def test_an_output_that_looks_like_an_input_goes_with_its_flag(output: str) -> None:
    command = parsed(f"-O2 -fPIC -shared {output} a.c")
    assert compile_one(command, command.sources[0], Path("/x/a.o")) == [
        "-O2", "-fPIC", "-shared", "a.c", "-c", "-o", "/x/a.o",
    ]  # fmt: skip


def test_side_outputs_are_left_out() -> None:
    text = "-MD -MF x.d -MFy.d -MT t -MQ q -MP -MMD -Wp,-MD,z.d -Wp,-MMD,w.d -save-temps=obj -O2"
    assert without_side_outputs(tuple(text.split())) == ["-O2"]


def test_response_files_are_expanded_inside_each_other(tmp_path: Path) -> None:
    (tmp_path / "outer").write_text("-O2 @inner '-DNAME=\"a b\"'")
    (tmp_path / "inner").write_text("-c\na.c")
    command = parsed("@outer -g", outer=str(tmp_path / "outer"), inner=str(tmp_path / "inner"))
    assert command.arguments == ("-O2", "-c", "a.c", '-DNAME="a b"', "-g")


def test_a_response_file_that_names_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "self").write_text("-O2 @self")
    assert parsed("@self", self=str(tmp_path / "self")).arguments[0] == "-O2"


WORDS = st.lists(
    st.text(alphabet=st.characters(codec="ascii", exclude_characters="\0"), min_size=1), max_size=5
)


def quoted(word: str) -> str:
    """As GCC documents @file: "by prefixing the character with a backslash"."""
    return "".join(f"\\{c}" for c in word)


@given(WORDS)
def test_quoted_words_come_back(words: list[str]) -> None:
    assert split_response(" ".join(map(quoted, words))) == words


@pytest.mark.compiler
@pytest.mark.parametrize(
    "text",
    [
        '-DA=\'x y\' -DB="p\\"q"',
        "-DA=a\\ b\t-DB=''\n",
        '-DA="it\'s" -DB=\'say "hi"\'',
        "-DA=x\\\\y",
    ],
)
def test_splitting_agrees_with_gcc(tmp_path: Path, text: str) -> None:
    response = tmp_path / "flags"
    response.write_text(text)
    shown = subprocess.run(
        ["gcc", "-E", "-dM", "-x", "c", f"@{response}", "/dev/null"],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    ours = [w.removeprefix("-D").partition("=") for w in split_response(text)]
    assert {f"#define {name} {value}" for name, _, value in ours} <= set(shown)
