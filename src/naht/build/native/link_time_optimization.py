"""Brings back what gcc's link-time optimisation makes and deletes: the object that holds the final
code of the whole program, plain and with one section per function.

Refuses more than one partition, a link that does not repeat byte for byte, objects without debug
information, clang's kind, and links that no compiler driver started.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from naht.build.native.command_line import without_output
from naht.build.native.link_inputs import InputReader, open_link
from naht.build.native.link_map import LinkMap, read_link_map
from naht.build.native.recording import Invocation, KeptFile, read_records
from naht.build.native.tool_account import credentials, hand_over
from naht.build.native.toolchain import Recorder
from naht.build.native.units import Compilation, Link, LinkedInput, command_of
from naht.elf import constants as c
from naht.elf.file import ElfFile
from naht.errors import BuildRefusedError, ToolError

KEY = "link-time-optimised"
_PARTITION = re.compile(r"\.ltrans\d*\.ltrans\.o$")
_EARLY_DEBUG = ".debug.temp.o"
_WAY_OUT = "Build with -fno-lto."


def is_optimised(link: Invocation) -> bool:
    return link.map is not None and any(map(_PARTITION.search, read_link_map(link.map).loaded))


def read_optimised_link(
    link: Invocation,
    records: Sequence[Invocation],
    compilations: Sequence[Compilation],
    recorder: Recorder,
    tree: Path,
) -> Link:
    """The same link, made again with its temporaries kept; then once more with sections."""
    driver = next((r for r in records if r.id == link.parent), None)
    if driver is None:
        raise _refuse("lto-link", "The link was not started by a compiler driver.", _WAY_OUT)
    plain = _relink(driver, link, recorder, tree, ())
    if plain.outputs[0].copy.read_bytes() != link.outputs[0].copy.read_bytes():
        raise _refuse("lto-link", "The link gives another result when it is repeated.", _WAY_OUT)
    sectioned = _relink(driver, link, recorder, tree, ("-ffunction-sections", "-fdata-sections"))
    earlier = [x for x in compilations if x.invocation.id < link.id]
    return _read(plain, sectioned, earlier, recorder, tree)


def _relink(
    driver: Invocation, link: Invocation, recorder: Recorder, tree: Path, extra: Sequence[str]
) -> Invocation:
    """Runs the stand-in once more, so that the temporaries are recorded. They are removed again:
    a makefile may take every object that lies about."""
    directory = recorder.home / "relink"
    directory.mkdir(exist_ok=True)
    hand_over(directory)
    output = directory / link.outputs[0].path.name
    arguments = without_output(list(command_of(driver).arguments))
    result = subprocess.run(
        [str(recorder.home / "bin" / driver.tool.name), *arguments, *extra,
         "-save-temps", "-o", str(output)],
        cwd=driver.cwd, env=driver.environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, errors="replace", check=False, **credentials(),
    )  # fmt: skip
    if result.returncode:
        raise ToolError(f"The link can't be repeated: {result.stderr[-2000:].strip()}", _WAY_OUT)
    records = read_records(recorder, recorder.records)
    own = (*directory.iterdir(), *recorder.records.iterdir(), *tree.rglob(f"*{_EARLY_DEBUG}"))
    for leftover in own:
        leftover.unlink()
    return [r for r in records if r.kind == "linker" and r.succeeded][-1]


def _read(
    plain: Invocation,
    sectioned: Invocation,
    compilations: Sequence[Compilation],
    recorder: Recorder,
    tree: Path,
) -> Link:
    link_map = open_link(plain)
    _prove_single_partition(link_map)
    reader = InputReader(plain, compilations, tree)
    inputs = [
        _with_sections(item, sectioned, recorder) if _PARTITION.search(item.name[0]) else item
        for item in reader.read(link_map)
        if not item.name[0].endswith(_EARLY_DEBUG)
    ]
    compiled = reader.compiled_of_all_loaded(link_map)
    return Link(plain, plain.outputs[0].copy, link_map, tuple(inputs), compiled)


def _prove_single_partition(link_map: LinkMap) -> None:
    if len(set(filter(_PARTITION.search, link_map.loaded))) != 1:
        raise _refuse(
            "lto-partitions",
            "Link-time optimisation split the program into parts that differ from build to build.",
            "Link with -flto-partition=one, or build with -fno-lto.",
        )


def _with_sections(item: LinkedInput, sectioned: Invocation, recorder: Recorder) -> LinkedInput:
    partitions = [k for k in sectioned.inputs if _PARTITION.search(k.path.name)]
    debug = [k for k in sectioned.inputs if k.path.name.endswith(_EARLY_DEBUG)]
    content = _merge(partitions, debug, recorder)
    if _functions(content) != _functions(item.content):
        raise _refuse(
            "lto-link", "With one section per function, other functions come out.", _WAY_OUT
        )
    return replace(item, key=KEY, sectioned=content)


def _merge(partitions: Sequence[KeptFile], debug: Sequence[KeptFile], recorder: Recorder) -> bytes:
    """The code refers to types in the debug information that was made before (GCC internals,
    "LTO early debug"); a relocatable link resolves that and leaves the sections apart."""
    if len(partitions) != 1 or not debug:
        raise _refuse(
            "lto-debug",
            "The objects hold no debug information, so types can't be compared.",
            "Add -g to the compiler flags: it changes no code. Or build with -fno-lto.",
        )
    output = recorder.home / "relink" / "merged.o"
    result = subprocess.run(
        [recorder.home / "real" / "ld", "-r", "-o", output,
         *(kept.copy for kept in (*partitions, *debug))],
        capture_output=True, text=True, errors="replace", check=False, **credentials(),
    )  # fmt: skip
    if result.returncode:
        raise ToolError(f"ld -r failed: {result.stderr[-2000:].strip()}", _WAY_OUT)
    content = output.read_bytes()
    output.unlink()
    return content


def _functions(content: bytes) -> frozenset[str]:
    return frozenset(s.name for s in ElfFile(content).symbols if s.type == c.STT_FUNC and s.section)


def _refuse(reason: str, cause: str, next_step: str) -> BuildRefusedError:
    return BuildRefusedError(reason, cause, next_step)
