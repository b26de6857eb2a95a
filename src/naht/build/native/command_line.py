"""Understands the command line of a compiler driver (gcc and clang): what it compiles, where to,
and how to say the same with other output. Pure text, apart from the response files it is given.

Refuses nothing; what it does not know is passed through.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

_C_LIKE = frozenset({".c", ".i", ".cc", ".cp", ".cxx", ".cpp", ".CPP", ".c++", ".C", ".ii", ".tcc"})
_ASSEMBLER = frozenset({".s", ".S", ".sx"})
_SOURCES = _C_LIKE | _ASSEMBLER
_SOURCE_LANGUAGES = frozenset(
    {"c", "c++", "cpp-output", "c++-cpp-output", "assembler", "assembler-with-cpp"}
)

# Options whose value is the next argument (GCC manual, "Option Summary"; clang -help).
_WITH_VALUE = frozenset({
    "-o", "-x", "-I", "-D", "-U", "-L", "-l", "-T", "-u", "-e", "-z", "-h", "-A", "-G", "-B", "-V",
    "-F", "-include", "-imacros", "-isystem", "-iquote", "-idirafter", "-iprefix", "-iwithprefix",
    "-iwithprefixbefore", "-isysroot", "-imultilib", "-iframework", "-include-pch",
    "-MF", "-MT", "-MQ", "-MJ", "-Xlinker", "-Xassembler", "-Xpreprocessor", "-Xclang",
    "-Xarch_host", "-aux-info", "-arch", "--param", "--sysroot", "-target", "--target", "-mllvm",
    "-dumpbase", "-dumpdir", "-dumpbase-ext", "-specs", "-wrapper", "-gcc-toolchain",
})  # fmt: skip
_DEPENDENCY_FLAGS = frozenset({"-MD", "-MMD", "-M", "-MM", "-MP", "-MG", "-MV"})
_DEPENDENCY_VALUES = ("-MF", "-MT", "-MQ", "-MJ")
_SIDE_OUTPUTS = (*_DEPENDENCY_VALUES, "-save-temps", "--save-temps", "-Wp,-MD,", "-Wp,-MMD,")
_NO_OBJECT = frozenset({"-E", "-S", "-M", "-MM", "-fsyntax-only", "-###"})


@dataclass(frozen=True)
class SourceArgument:
    index: int  # position in the arguments
    path: Path  # absolute
    assembler: bool


@dataclass(frozen=True)
class CommandLine:
    """A driver's arguments, response files expanded."""

    arguments: tuple[str, ...]
    cwd: Path
    sources: tuple[SourceArgument, ...]
    output: Path | None
    compiles_only: bool  # -c
    makes_objects: bool

    @property
    def uses_lto(self) -> bool:
        """The last of -flto, -flto=…, -fno-lto decides."""
        flags = [a for a in self.arguments if a.startswith("-flto") or a == "-fno-lto"]
        return bool(flags) and flags[-1] != "-fno-lto"

    def object_of(self, source: SourceArgument) -> Path | None:
        """Where the object file of a source goes; None when the driver deletes it itself."""
        if not self.compiles_only:
            return None
        return self.output or self.cwd / f"{source.path.stem}.o"


def parse_command(
    arguments: tuple[str, ...], cwd: Path, responses: Mapping[Path, Path]
) -> CommandLine:
    expanded = tuple(_expand(arguments, cwd, responses))
    output, language = None, ""
    sources: list[SourceArgument] = []
    skip = False
    for index, argument in enumerate(expanded):
        if skip:
            skip = False
            continue
        following = expanded[index + 1] if index + 1 < len(expanded) else ""
        if argument == "-x" or (argument.startswith("-x") and len(argument) > 2):
            language = following if argument == "-x" else argument[2:]
            skip = argument == "-x"
        elif argument.startswith("-o") and not argument.startswith("-objc"):
            output = _absolute(cwd, argument[2:] or following)
            skip = argument == "-o"
        elif argument in _WITH_VALUE:
            skip = True
        elif not argument.startswith("-") and _is_source(argument, language):
            sources.append(SourceArgument(
                index, _absolute(cwd, argument), _is_assembler(argument, language),
            ))  # fmt: skip
    return CommandLine(
        expanded, cwd, tuple(sources), output, "-c" in expanded, not _NO_OBJECT & set(expanded)
    )


def _is_source(argument: str, language: str) -> bool:
    if language and language != "none":
        return language in _SOURCE_LANGUAGES
    return PurePath(argument).suffix in _SOURCES


def _is_assembler(argument: str, language: str) -> bool:
    if language and language != "none":
        return language.startswith("assembler")
    return PurePath(argument).suffix in _ASSEMBLER


def _expand(
    arguments: tuple[str, ...], cwd: Path, responses: Mapping[Path, Path], depth: int = 0
) -> list[str]:
    found: list[str] = []
    for argument in arguments:
        copy = responses.get(_absolute(cwd, argument[1:])) if argument.startswith("@") else None
        if copy is None or depth > 8:
            found.append(argument)
        else:
            inner = tuple(split_response(os.fsdecode(copy.read_bytes())))
            found += _expand(inner, cwd, responses, depth + 1)
    return found


def split_response(text: str) -> list[str]:
    """As libiberty's buildargv does: blanks part, quotes hold, a backslash takes the next."""
    words: list[str] = []
    word: list[str] | None = None
    quote = ""
    characters = iter(text)
    for character in characters:
        if character == "\\":
            word = [*(word or []), next(characters, "")]
        elif quote:
            quote = "" if character == quote else quote
            if quote:
                word = [*(word or []), character]
        elif character in "'\"":
            quote, word = character, word or []
        elif character.isspace():
            words += ["".join(word)] if word is not None else []
            word = None
        else:
            word = [*(word or []), character]
    return words + (["".join(word)] if word is not None else [])


def without_side_outputs(arguments: tuple[str, ...]) -> list[str]:
    """Without dependency files and saved temporaries, which would disturb those of the build."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in _DEPENDENCY_VALUES:
            skip = True
        elif not _is_side_output(argument):
            kept.append(argument)
    return kept


def _is_side_output(argument: str) -> bool:
    return argument in _DEPENDENCY_FLAGS or argument.startswith(_SIDE_OUTPUTS)


def compile_one(command: CommandLine, source: SourceArgument, output: Path) -> list[str]:
    """The arguments that compile just this source, with the same flags, to `output`."""
    others = {s.index for s in command.sources} - {source.index}
    kept = tuple(a for i, a in enumerate(command.arguments) if i not in others)
    compiled = without_output(without_side_outputs(kept))
    return [*(a for a in compiled if not _is_linked_file(a)), "-c", "-o", str(output)]


def _is_linked_file(argument: str) -> bool:
    if argument.startswith("-"):
        return argument.startswith(("-Wl,", "-l"))
    return PurePath(argument).suffix in (".o", ".a", ".so", ".lo")


def without_output(arguments: list[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument == "-o":
            skip = True
        elif not (argument == "-c" or (argument.startswith("-o") and argument[2:3] != "b")):
            kept.append(argument)
    return kept


def without_errors_for_warnings(arguments: list[str]) -> list[str]:
    return [a for a in arguments if not a.startswith(("-Werror", "-pedantic-errors"))]


def _absolute(cwd: Path, name: str) -> Path:
    return Path(os.path.normpath(cwd / name))
