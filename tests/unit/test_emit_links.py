"""What the emitted references mean in executables and special cases: linked against the old
object's addresses, each must reach the right thing. (Code that runs: see test_emit_runs.)
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from iced_x86 import Code, Decoder, FlowControl, Instruction, Register

from naht.build.native.emit import Description, emit
from naht.build.native.running_object import RunningObject
from naht.elf import constants as c
from naht.elf.file import ElfFile
from naht.errors import BuildRefusedError
from naht.hotpatch.manifest import Hooks, Image, Manifest
from tests.builders.image_linker import LinkedImage, link
from tests.builders.native_pair import Recipe, build, changes, run

pytestmark = pytest.mark.compiler

PIE = Recipe({}, {}, flags=("-O2", "-fPIE"), link=("-pie",), output="prog")
FIXED = Recipe({}, {}, flags=("-O2", "-fno-pie"), link=("-no-pie",), output="prog")
STATIC = Recipe({}, {}, flags=("-O2", "-fno-pie"), link=("-static",), output="prog")
MAIN = "long answer(long); int main(int n, char **v) { return (int)answer(n); }"


class Emitted:
    def __init__(
        self, folder: Path, recipe: Recipe, changed: tuple[str, ...] = ("answer",),
        new: tuple[str, ...] = (), hooks: Hooks | None = None,
    ) -> None:  # fmt: skip
        pair = build(folder, recipe)
        self.manifest: Manifest
        self.manifest, images = emit(pair, changes(pair, changed, new, hooks), Description())
        self.image: Image = self.manifest.images[0]
        self.raw = images["x86_64.o"]
        self.path = folder / "x86_64.o"
        self.path.write_bytes(self.raw)
        self.linked: LinkedImage = link(self.raw, self.image)
        self.old = ElfFile(pair.old_link.path.read_bytes())
        self.new = ElfFile(pair.new_link.path.read_bytes())
        self.running = RunningObject(pair.running)

    def instructions(self, symbol: str = "answer") -> list[Instruction]:
        start, code = self.linked.code(symbol)
        return list(Decoder(64, code, ip=start))

    def calls(self, symbol: str = "answer") -> list[int]:
        flows = (FlowControl.CALL, FlowControl.UNCONDITIONAL_BRANCH)
        start, code = self.linked.code(symbol)
        return [
            i.near_branch64 for i in self.instructions(symbol)
            if i.flow_control in flows and not start <= i.near_branch64 < start + len(code)
        ]  # fmt: skip

    def old_symbol(self, name: str) -> int:
        (value,) = {s.value for s in self.old.symbols if s.name.split("@")[0] == name and s.value}
        return value


def test_readelf_and_objdump_read_the_image(tmp_path: Path) -> None:
    text = 'int puts(const char *); long answer(long n) { switch (n) { %s } return puts("no"); }'
    cases = "".join(f'case {i}: return puts("{i}") + {i};' for i in range(1, 9))
    recipe = Recipe({"a.c": text % ""}, {"a.c": text % cases})
    emitted = Emitted(tmp_path, recipe)
    listing = run(["readelf", "-W", "-a", str(emitted.path)], tmp_path)
    assert "answer" in listing
    assert "Warning" not in listing
    assert "puts" in run(["objdump", "-dr", str(emitted.path)], tmp_path)
    assert "pc=0000000000000000" in run(
        ["readelf", "--debug-dump=frames", str(emitted.path)], tmp_path
    )


@pytest.mark.parametrize("shape", [PIE, FIXED, STATIC], ids=["pie", "fixed", "static"])
def test_executables_reach_their_own(tmp_path: Path, shape: Recipe) -> None:
    text = r"""
#include <stdio.h>
#include <stdlib.h>
static __thread long mine = 3; __thread long ours[4];
static long quiet = 1; long loud;
static __attribute__((noinline)) long helper(long n) { return n + quiet++; }
__attribute__((noinline)) long open_helper(long n) { return n + loud++; }
long answer(long n) { mine += n; ours[2] += n; fprintf(stderr, "%ld\n", n);
  atexit((void (*)(void))helper);
  return helper(n) + open_helper(n) + loud BONUS; }
"""
    recipe = replace(
        shape,
        old={"a.c": text.replace("BONUS", "")},
        new={"a.c": text.replace("BONUS", "+ mine * ours[2] + open_helper(7)")},
        shared={"main.c": MAIN},
    )
    emitted = Emitted(tmp_path, recipe)
    calls = emitted.calls()
    assert calls.count(emitted.old_symbol("helper")) == 1
    assert calls.count(emitted.old_symbol("open_helper")) == 2
    if shape is not STATIC:
        assert emitted.running.stub("fprintf") in calls
    assert emitted.image.target.kind == "executable"
    reached = {i.memory_displacement for i in emitted.instructions()}  # RIP-relative ones, too
    assert emitted.old_symbol("loud") in reached
    # thread pointer offsets are those that the linker computes for the same layout
    assert thread_offsets(emitted.linked.code("answer")[1]) == thread_offsets(
        linked_function(emitted.new, "answer")
    )


def linked_function(elf: ElfFile, name: str) -> bytes:
    symbol = next(s for s in elf.symbols if s.name == name)
    return elf.read_address(symbol.value, symbol.size)


def thread_offsets(code: bytes) -> list[int]:
    return [
        i.memory_displacement for i in Decoder(64, code, ip=0)
        if i.segment_prefix and not i.is_ip_rel_memory_operand
    ]  # fmt: skip


def test_32_bit_addresses_stay_in_fixed_executables(tmp_path: Path) -> None:
    text = r"""
static long table[4] = {1, 2, 3, 4};
extern int puts(const char *);
long answer(long n) { switch (n) { CASES default: puts("none"); } return table[n & 3]; }
"""
    cases = "".join(f'case {i}: puts("c{i}"); break;' for i in range(10))
    recipe = replace(
        FIXED,
        old={"a.c": text.replace("CASES", "")},
        new={"a.c": text.replace("CASES", cases)},
        shared={"main.c": MAIN},
    )
    emitted = Emitted(tmp_path, recipe)
    kinds = {r.type for s in emitted.linked.view.sections for r in s.relocations}
    assert kinds & {c.R_X86_64_32, c.R_X86_64_32S}
    start, code = emitted.linked.code("answer")
    (jump,) = [i for i in emitted.instructions() if i.flow_control == FlowControl.INDIRECT_BRANCH]
    labels = emitted.linked.read(jump.memory_displacement, 80)
    for at in range(0, 80, 8):
        assert start < int.from_bytes(labels[at : at + 8], "little") < start + len(code)
    assert emitted.image.escapes == "data"  # the strings, not the jump table


def test_a_pie_cannot_hold_32_bit_addresses(tmp_path: Path) -> None:
    text = "static long t[4] = {1, 2, 3, 4}; long answer(long n) { return t[n & 3] BONUS; }"
    old, new = {"a.c": text.replace("BONUS", "")}, {"a.c": text.replace("BONUS", "+ 1")}
    shared = {"main.c": MAIN}
    pair = build(tmp_path, replace(PIE, old=old, new=new, shared=shared))
    fixed = build(tmp_path / "fixed", replace(FIXED, old=new, new=new, shared=shared))
    mixed = replace(pair.units[0], new=fixed.units[0].new)
    pair = replace(pair, units=(mixed,))
    with pytest.raises(BuildRefusedError) as caught:
        emit(pair, changes(pair, ("answer",)), Description())
    assert caught.value.reason == "absolute-address"


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("", "static __thread long more; more += n; n += more;", "new-tls"),
        ("", "extern __thread long theirs; n += theirs;", "tls-no-slot"),
    ],
)
def test_refusals_in_libraries(tmp_path: Path, before: str, after: str, reason: str) -> None:
    text = "__thread long theirs_too; long answer(long n) { %s return n; }"
    recipe = Recipe(
        {"a.c": text % before}, {"a.c": text % after},
        shared={}, flags=("-O2", "-fPIC", "-ftls-model=initial-exec"),
    )  # fmt: skip
    with pytest.raises(BuildRefusedError) as caught:
        Emitted(tmp_path, recipe)
    assert caught.value.reason == reason
    assert "answer" in caught.value.where


def test_a_library_without_a_slot_has_no_initial_exec(tmp_path: Path) -> None:
    text = "__thread long mine; long answer(long n) { %s return n; }"
    recipe = Recipe(
        {"a.c": text % ""}, {"a.c": text % "mine += n;"},
        flags=("-O2", "-fPIC", "-ftls-model=initial-exec"),
    )  # fmt: skip
    with pytest.raises(BuildRefusedError) as caught:
        Emitted(tmp_path, recipe)
    assert caught.value.reason == "tls-no-slot"


def test_calls_that_the_linker_bound_for_good_stay_bound(tmp_path: Path) -> None:
    text = "long open(long n) { return n; } long use(long n) { return open(n) + 1; } MORE"
    answer = "long open(long); long answer(long n) { return n * 3 + N; }"
    recipe = Recipe(
        {"a.c": answer.replace("N;", "1;")}, {"a.c": answer.replace("N;", "open(n);")},
        shared={"b.c": text.replace("MORE", "")},
        link=("-shared", "-Wl,-Bsymbolic-functions"), flags=("-O1", "-fPIC", "-fno-inline"),
    )  # fmt: skip
    emitted = Emitted(tmp_path, recipe)
    assert emitted.calls() == [emitted.old_symbol("open")]


def test_interposable_calls_go_by_name(tmp_path: Path) -> None:
    answer = "long lonely(long); long answer(long n) { return n * 3 + N; }"
    recipe = Recipe(
        {"a.c": answer.replace("N;", "1;")},
        {"a.c": answer.replace("N;", "lonely(n);")},
        shared={"b.c": "long lonely(long n) { return n; }"},
    )
    emitted = Emitted(tmp_path, recipe)
    (binding,) = [b for b in emitted.image.bindings if b.kind == "import"]
    assert binding.name == "lonely"


def test_imports_carry_their_version(tmp_path: Path) -> None:
    text = "#include <string.h>\nlong answer(char *a, char *b, long n) { return N; }"
    recipe = Recipe(
        {"a.c": text.replace("N;", "n * 77;")}, {"a.c": text.replace("N;", "memcpy(a, b, n) != b;")}
    )
    emitted = Emitted(tmp_path, recipe)
    (binding,) = [b for b in emitted.image.bindings if b.kind == "import"]
    assert (binding.name, binding.version, binding.weak) == ("memcpy", "GLIBC_2.14", False)


def test_hooks_are_put_in(tmp_path: Path) -> None:
    text = "static long limit = 3; long answer(long n) { return n + limit BONUS; } HOOK"
    hook = (
        "static int lower(void) { limit = 2; return 0; }"
        ' int (*const keep)(void) __attribute__((section(".naht.hooks.post_apply"))) = lower;'
    )
    recipe = Recipe(
        {"a.c": text.replace("BONUS", "").replace("HOOK", "")},
        {"a.c": text.replace("BONUS", "* 2").replace("HOOK", hook)},
    )
    emitted = Emitted(tmp_path, recipe, hooks=Hooks(post_apply="lower"))
    assert emitted.image.hooks.post_apply == "lower"
    assert [(f.name, f.change) for f in emitted.image.functions] == [
        ("answer", "changed"), ("lower", "new")
    ]  # fmt: skip
    assert emitted.image.escapes == "none"


@pytest.mark.parametrize(
    ("before", "after", "escapes", "consistency"),
    [
        ("return n + 1;", "return n + 2;", "none", "overlap"),
        ("return n + 1;", 'puts("hello"); return n;', "data", "overlap"),
        ("return n + 1;", "return n > 9 ? answer(n - 1) * n : n;", "none", "quiescent"),
        ("return n + 1;", "static long seen; return n + ++seen;", "none", "quiescent"),
        ("return n + 1;", "double d = (double)n * 1.7; return (long)d;", "none", "overlap"),
        ("return n + 1;", "handler = fresh; return n;", "code", "overlap"),
        ("return n + 1;", "return other(n) + fresh(n);", "none", "overlap"),
    ],
)
def test_escapes_and_consistency(
    tmp_path: Path, before: str, after: str, escapes: str, consistency: str
) -> None:
    text = (
        "int puts(const char *); long (*handler)(long); FRESH"
        "long other(long n) { return n; } long answer(long n) { BODY }"
    )
    fresh = "static __attribute__((noinline)) long fresh(long n) { return n * n * 31; }"
    recipe = Recipe(
        {"a.c": text.replace("FRESH", "").replace("BODY", before)},
        {"a.c": text.replace("FRESH", fresh if "fresh" in after else "").replace("BODY", after)},
        flags=("-O1", "-fPIC"),
    )
    emitted = Emitted(tmp_path, recipe)
    assert (emitted.image.escapes, emitted.manifest.consistency) == (escapes, consistency)


def test_functions_that_never_return_are_said_so(tmp_path: Path) -> None:
    text = (
        "void work(long); _Noreturn void die(int);"
        "long loop(long n) { for (;;) work(n STEP); }"
        "long answer(long n) { work(n STEP); return n; }"
        "void tail(long n) { work(n STEP); }"
    )
    recipe = Recipe(
        {"a.c": text.replace("STEP", "")},
        {"a.c": text.replace("STEP", "+ 1")},
        shared={"b.c": "void work(long n) {}"},
    )
    emitted = Emitted(tmp_path, recipe, ("loop", "answer", "tail"))
    returns = {f.name: f.returns for f in emitted.image.functions}
    assert returns == {"loop": False, "answer": True, "tail": True}


def test_addresses_of_imported_functions_in_fixed_executables(tmp_path: Path) -> None:
    """One that the executable already gave an address keeps it; another is found at run time."""
    text = (
        "int strcmp(const char *, const char *); int puts(const char *); long take(void *);"
        "long use(void) { return take((void *)puts); } long answer(long n) { return n * 5 + N; }"
    )
    shared = {"main.c": MAIN, "take.c": "long take(void *p) { return (long)p & 1; }"}
    recipe = replace(
        FIXED,
        old={"a.c": text.replace("N;", "1;")},
        new={"a.c": text.replace("N;", "take((void *)puts) + take((void *)strcmp);")},
        shared=shared,
    )
    emitted = Emitted(tmp_path, recipe)
    stub = emitted.running.canonical_stubs["puts"]
    constants = [
        i.immediate32 for i in emitted.instructions() if i.code == Code.MOV_R32_IMM32
    ]  # fmt: skip
    assert stub in constants
    start, far = emitted.linked.code("naht.far.answer")
    assert start in emitted.calls()
    load = next(iter(Decoder(64, far, ip=start)))
    slot = emitted.linked.addresses["naht.slot.strcmp"]
    assert (load.op0_register, load.ip_rel_memory_address) == (Register.RDI, slot)
    found = int.from_bytes(emitted.linked.read(slot, 8), "little")
    assert found == emitted.linked.addresses["strcmp"]


def test_an_id_that_is_none_is_refused(tmp_path: Path) -> None:
    text = "long answer(long n) { return n * 5 + %d; }"
    pair = build(tmp_path, Recipe({"a.c": text % 1}, {"a.c": text % 2}))
    with pytest.raises(BuildRefusedError) as caught:
        emit(pair, changes(pair, ("answer",)), Description(id="no id at all"))
    assert caught.value.reason == "invalid-hotpatch"


def test_a_running_binary_with_other_code_is_refused(tmp_path: Path) -> None:
    text = "long answer(long n) { return n * 5 + %d; }"
    pair = build(tmp_path, Recipe({"a.c": text % 1000}, {"a.c": text % 2000}))
    raw = bytearray(pair.running.read_bytes())
    at = raw.index((1000).to_bytes(4, "little"))
    raw[at : at + 4] = (1001).to_bytes(4, "little")
    altered = tmp_path / "altered.so"
    altered.write_bytes(raw)
    with pytest.raises(BuildRefusedError) as caught:
        emit(replace(pair, running=altered), changes(pair, ("answer",)), Description())
    assert (caught.value.reason, caught.value.where) == ("running-differs", "a.c: answer")


def test_functions_too_short_to_redirect(tmp_path: Path) -> None:
    text = "long answer(long n) { return %s; }"
    recipe = Recipe({"a.c": text % "n"}, {"a.c": text % "n * 7 + 3"})
    with pytest.raises(BuildRefusedError) as caught:
        Emitted(tmp_path, recipe)
    assert caught.value.reason == "too-short"
