"""Symbols mean in our reading what they mean to the process's own dynamic loader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from naht.domain.process import LoadedObject
from naht.errors import NahtError, TargetRefusedError
from naht.live.native import link_map, procfs
from naht.live.native.discovery import find_elves, find_objects
from naht.live.native.memory import TargetMemory
from naht.live.native.symbols import ProcessSymbols
from tests.builders.live_programs import Program, compile_library, compile_program, running

pytestmark = [pytest.mark.live, pytest.mark.compiler]


class Reading:
    """One process, read."""

    def __init__(self, memory: TargetMemory) -> None:
        self.memory = memory
        self.maps = procfs.read_maps(memory.pid)
        self.symbols = ProcessSymbols(memory, self.maps)
        self.objects = find_objects(memory, self.maps)

    def object(self, name: str, instance: int = 0) -> LoadedObject:
        return [o for o in self.objects if o.path.rpartition("/")[2].startswith(name)][instance]

    def address(self, wanting: str, name: str, version: str = "") -> int:
        return self.symbols.address_of(self.object(wanting), name, version)

    def refusal(self, wanting: str, name: str, version: str = "") -> str:
        with pytest.raises(TargetRefusedError) as refused:
            self.address(wanting, name, version)
        return refused.value.reason

    def link_names(self) -> list[str]:
        elves = [elf for elf, _ in find_elves(self.memory, self.maps)]
        main = link_map.main_program(self.memory, elves)
        entries = link_map.read_link_map(self.memory, main, elves)
        return [entry.name.rpartition(b"/")[2].decode() for entry in entries]


@contextmanager
def reading(process: Program) -> Iterator[Reading]:
    with TargetMemory(process.pid) as memory:
        yield Reading(memory)


VERSIONED = """
__asm__(".symver old_f, f@V_1"); __asm__(".symver mid_f, f@V_2"); __asm__(".symver new_f, f@@V_3");
__asm__(".symver old_g, g@V_2");
int old_f(void) { return 1; } int mid_f(void) { return 2; } int new_f(void) { return 3; }
int old_g(void) { return 4; } int plain(void) { return 5; } int base(void) { return 6; }
"""
VERSION_MAP = "V_1 { global: base; }; V_2 { } V_1; V_3 { } V_2;"
ASKS_VERSIONS = """
#include <dlfcn.h>
int main(int argc, char **argv)
{
    const char *asked[][2] = {
        {"f", "V_1"}, {"f", "V_2"}, {"f", "V_3"}, {"g", "V_2"}, {"base", "V_1"},
        {"memcpy", "GLIBC_2.2.5"}, {"memcpy", "GLIBC_2.14"}, {"realpath", "GLIBC_2.3"}};
    void *self = dlopen(0, RTLD_NOW);
    for (int i = 0; i < 8; i++)
        say((unsigned long long)dlvsym(self, asked[i][0], asked[i][1]));
    say((unsigned long long)dlsym(self, "plain"));
    ready(); wait_for_end(); return 0;
}
"""


@pytest.mark.parametrize("style", ["gnu", "sysv", "both"])
def test_versions(tmp_path: Path, style: str) -> None:
    versions = tmp_path / "versions"
    versions.write_text(VERSION_MAP)
    hashes = f"-Wl,--hash-style={style}"
    library = compile_library(
        tmp_path, "libversions.so", VERSIONED, f"-Wl,--version-script={versions}", hashes
    )
    program = compile_program(
        tmp_path, "asks", ASKS_VERSIONS, "-Wl,--no-as-needed", str(library),
        f"-Wl,-rpath,{tmp_path}", hashes,
    )  # fmt: skip
    with running([program]) as process:
        f1, f2, f3, g2, base, copy_old, copy_new, path_new, plain = process.numbers_until_ready()
        with reading(process) as seen:
            assert seen.address("asks", "f", "V_1") == f1
            assert seen.address("asks", "f", "V_2") == f2
            assert seen.address("asks", "f", "V_3") == f3
            assert seen.address("asks", "g", "V_2") == g2
            assert seen.address("asks", "base", "V_1") == base
            assert seen.address("asks", "plain") == plain
            # ld.so's rule for a reference that names no version: the oldest one.
            assert seen.address("asks", "f") == f1
            assert seen.refusal("asks", "f", "V_9") == "import-missing"
            assert seen.refusal("asks", "g", "V_3") == "import-missing"
            assert seen.refusal("asks", "no_such_function") == "import-missing"
            assert seen.symbols.address_of(seen.object("asks"), "nothing", weak=True) == 0
            assert seen.address("libversions", "memcpy", "GLIBC_2.2.5") == copy_old
            assert seen.address("libversions", "memcpy", "GLIBC_2.14") == copy_new
            assert seen.address("libversions", "realpath", "GLIBC_2.3") == path_new


CALLS = "int who(void); int ask(void) { return who(); } "
PRINTS = """
#include <dlfcn.h>
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        void *handle = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
        if (!handle) { puts(dlerror()); return 1; }
        int (*ask)(void) = dlsym(handle, "ask");
        say(ask());
    }
    ready(); wait_for_end(); return 0;
}
"""


def who(number: int) -> str:
    return f"int who(void) {{ return {number}; }}"


def answer_at(seen: Reading, address: int) -> int:
    """What a function that returns a constant returns: mov $constant, %eax."""
    code = seen.memory.read(address, 16).removeprefix(bytes.fromhex("f30f1efa"))
    assert code[0] == 0xB8
    return int.from_bytes(code[1:5], "little")


def test_plugins_see_their_own_dependencies(tmp_path: Path) -> None:
    """Two dlopen'ed libraries call `who`, each means the one that it was linked with."""
    rpath = f"-Wl,-rpath,{tmp_path}"
    first = compile_library(tmp_path, "libfirst.so", who(1))
    second = compile_library(tmp_path, "libsecond.so", who(2))
    one = compile_library(tmp_path, "libone.so", CALLS, str(first), rpath)
    two = compile_library(tmp_path, "libtwo.so", CALLS, str(second), rpath)
    program = compile_program(tmp_path, "prints", PRINTS)
    with running([program, one, two]) as process:
        assert process.numbers_until_ready() == [1, 2]
        with reading(process) as seen:
            assert answer_at(seen, seen.address("libone", "who")) == 1
            assert answer_at(seen, seen.address("libtwo", "who")) == 2
            assert seen.refusal("prints", "who") == "import-missing"


def test_preloaded_libraries_interpose(tmp_path: Path) -> None:
    rpath = f"-Wl,-rpath,{tmp_path}"
    first = compile_library(tmp_path, "libfirst.so", who(1))
    preloaded = compile_library(tmp_path, "libpreloaded.so", who(7))
    one = compile_library(tmp_path, "libone.so", CALLS, str(first), rpath)
    program = compile_program(tmp_path, "prints", PRINTS)
    with running([program, one], LD_PRELOAD=str(preloaded)) as process:
        assert process.numbers_until_ready() == [7]
        with reading(process) as seen:
            assert answer_at(seen, seen.address("libone", "who")) == 7
            assert answer_at(seen, seen.address("prints", "who")) == 7


def test_a_weak_definition_that_comes_first_wins(tmp_path: Path) -> None:
    rpath = f"-Wl,-rpath,{tmp_path}"
    weak = compile_library(tmp_path, "libweak.so", "__attribute__((weak)) " + who(3))
    strong = compile_library(tmp_path, "libstrong.so", who(4))
    one = compile_library(tmp_path, "libone.so", CALLS, str(weak), str(strong), rpath)
    program = compile_program(tmp_path, "prints", PRINTS)
    with running([program, one]) as process:
        assert process.numbers_until_ready() == [3]
        with reading(process) as seen:
            assert answer_at(seen, seen.address("libone", "who")) == 3


def test_one_name_that_two_openers_mean_differently(tmp_path: Path) -> None:
    """`libshared` was brought in by the first plugin; from memory that cannot be told for sure."""
    rpath = f"-Wl,-rpath,{tmp_path}"
    shared = compile_library(tmp_path, "libshared.so", CALLS.replace("ask", "relay"))
    first = compile_library(tmp_path, "libfirst.so", who(1))
    relays = "int relay(void); int ask(void) { return relay(); }"
    inner = compile_library(tmp_path, "libinner.so", relays + who(5), str(shared), rpath)
    outer = compile_library(
        tmp_path, "libouter.so", relays + who(6), "-Wl,--no-as-needed", str(inner), str(shared),
        str(first), rpath,
    )  # fmt: skip
    program = compile_program(tmp_path, "prints", PRINTS)
    with running([program, outer]) as process:
        assert process.numbers_until_ready() == [6]
        with reading(process) as seen:
            assert seen.refusal("libshared", "who") == "import-ambiguous"


def test_dlmopen_namespaces_are_apart(tmp_path: Path) -> None:
    source = PRINTS.replace("dlopen(argv[i]", "dlmopen(LM_ID_NEWLM, argv[i]")
    rpath = f"-Wl,-rpath,{tmp_path}"
    first = compile_library(tmp_path, "libfirst.so", who(1))
    one = compile_library(
        tmp_path, "libone.so", CALLS, str(first), rpath, "-Wl,--no-as-needed", "-lc"
    )
    program = compile_program(tmp_path, "prints", source)
    with running([program, one, one]) as process:
        assert process.numbers_until_ready() == [1, 1]
        with reading(process) as seen:
            assert seen.link_names().count("libone.so") == 2
            addresses = [seen.symbols.address_of(seen.object("libone", i), "who") for i in (0, 1)]
            assert len(set(addresses)) == 2
            for i, address in enumerate(addresses):
                holder = procfs.mapping_at(seen.maps, address)
                assert holder is not None
                assert holder.path == str(first)
                assert answer_at(seen, address) == 1, i
            own = [
                seen.symbols.address_of(seen.object("libone", i), "malloc", "GLIBC_2.2.5")
                for i in (0, 1)
            ]
            assert len({*own, seen.address("prints", "malloc", "GLIBC_2.2.5")}) == 3


IFUNC = """
#include <dlfcn.h>
static int fast(int x) { return x + 1; } static int slow(int x) { return x + 2; }
static void *choose(void) { return CHOICE; }
int pick(int) __attribute__((ifunc("choose")));
"""
USES_IFUNC = """
int pick(int); int use(int x) { return pick(x); }
"""
ASKS_IFUNC = """
#include <dlfcn.h>
int pick(int);
int main(void)
{
    say((unsigned long long)dlsym(RTLD_DEFAULT, "pick"));
    if (CALLS_IT) say(pick(1));
    ready(); wait_for_end(); return 0;
}
"""


@pytest.mark.parametrize("choice", ["fast", "slow"])
@pytest.mark.parametrize("binding", ["now", "lazy"])
def test_the_chosen_implementation_of_an_ifunc(tmp_path: Path, choice: str, binding: str) -> None:
    library = compile_library(tmp_path, "libpick.so", IFUNC, f"-DCHOICE={choice}")
    program = compile_program(
        tmp_path, "asks", ASKS_IFUNC, "-DCALLS_IT=1", f"-Wl,-z,{binding}", str(library),
        f"-Wl,-rpath,{tmp_path}",
    )  # fmt: skip
    with running([program]) as process:
        chosen, _ = process.numbers_until_ready()
        with reading(process) as seen:
            assert seen.address("asks", "pick") == chosen


def test_an_ifunc_that_nobody_has_resolved_is_refused(tmp_path: Path) -> None:
    library = compile_library(tmp_path, "libpick.so", IFUNC, "-DCHOICE=fast")
    program = compile_program(
        tmp_path, "asks", ASKS_IFUNC.replace("dlsym(RTLD_DEFAULT, \"pick\")", "0"),
        "-DCALLS_IT=argc()", "-Wl,-z,lazy", "-Dargc()=(getenv(\"NEVER\")!=0)", str(library),
        f"-Wl,-rpath,{tmp_path}",
    )  # fmt: skip
    with running([program]) as process:
        process.numbers_until_ready()
        with reading(process) as seen:
            assert seen.refusal("asks", "pick") == "ifunc-unresolved"


def test_libc_s_own_ifuncs_and_those_that_choose_the_vdso(tmp_path: Path) -> None:
    names = ["memcpy", "memset", "strlen", "strchr", "time", "gettimeofday"]
    asks = "".join(f'say((unsigned long long)dlsym(RTLD_DEFAULT, "{n}"));' for n in names)
    source = f"""
    #include <dlfcn.h>
    #include <sys/time.h>
    #include <time.h>
    int main(int argc, char **argv)
    {{
        struct timeval now; time_t t = time(0); gettimeofday(&now, 0);
        char copy[argc + 99]; memcpy(copy, argv[0], argc); memset(copy, t, now.tv_sec & 1);
        {asks} ready(); wait_for_end(); return 0;
    }}
    """
    program = compile_program(tmp_path, "asks", source)
    versions = {"memcpy": "GLIBC_2.14"}
    with running([program]) as process:
        addresses = process.numbers_until_ready()
        with reading(process) as seen:
            for name, address in zip(names, addresses, strict=True):
                assert seen.address("asks", name, versions.get(name, "GLIBC_2.2.5")) == address, (
                    name
                )


UNIQUE = (
    "template <class T> struct Once {{ static int it; }}; template <class T> int Once<T>::it = {};"
)
UNIQUE_USER = UNIQUE + ' extern "C" long ask(void) {{ return (long)&Once<char>::it; }}'


def test_unique_symbols_are_one_for_all(tmp_path: Path) -> None:
    """STB_GNU_UNIQUE: libraries that do not see each other share the first definition."""
    first = compile_library(tmp_path, "libu1.so", UNIQUE_USER.format(1), compiler="g++")
    second = compile_library(tmp_path, "libu2.so", UNIQUE_USER.format(2), compiler="g++")
    source = PRINTS.replace("int (*ask)", "long (*ask)")
    program = compile_program(tmp_path, "prints", source)
    with running([program, first, second]) as process:
        one, two = process.numbers_until_ready()
        assert one == two
        with reading(process) as seen:
            name = "_ZN4OnceIcE2itE"
            assert seen.address("libu1", name) == one
            assert seen.address("libu2", name) == one


def test_addresses_of_functions_in_a_fixed_program(tmp_path: Path) -> None:
    """A non-PIE program that takes a library function's address owns it: its PLT entry."""
    library = compile_library(
        tmp_path, "libwho.so", who(8) + "void *address(void) { return (void *)who; }"
    )
    source = """
    int who(void); void *address(void);
    int main(int argc, char **argv)
    {
        int (*taken)(void) = argc > 5 ? 0 : who;
        say((unsigned long long)address()); say((unsigned long long)taken);
        ready(); wait_for_end(); return 0;
    }
    """
    program = compile_program(
        tmp_path, "fixed", source, "-no-pie", "-fno-pie", str(library), f"-Wl,-rpath,{tmp_path}"
    )
    with running([program]) as process:
        address, taken = process.numbers_until_ready()
        assert address == taken
        with reading(process) as seen:
            assert seen.address("libwho", "who") == address
            holder = procfs.mapping_at(seen.maps, address)
            assert holder is not None
            assert holder.path == str(program)


TLS = "__thread int {}; int *where(void) {{ return &{}; }}"
LISTS_MODULES = """
#include <dlfcn.h>
#include <link.h>
static int visit(struct dl_phdr_info *info, size_t size, void *unused)
{
    if (info->dlpi_tls_modid) { say(info->dlpi_addr); say(info->dlpi_tls_modid); }
    return 0;
}
__thread int mine = 5;
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) dlopen(argv[i], RTLD_NOW);
    dl_iterate_phdr(visit, 0); ready(); wait_for_end(); return mine;
}
"""


def test_tls_modules(tmp_path: Path) -> None:
    general = compile_library(tmp_path, "libgeneral.so", TLS.format("a", "a"))
    local = compile_library(tmp_path, "liblocal.so", "static " + TLS.format("b", "b"))
    none = compile_library(tmp_path, "libnone.so", who(1))
    program = compile_program(tmp_path, "lists", LISTS_MODULES)
    with running([program, general, local, none]) as process:
        numbers = process.numbers_until_ready()
        modules = dict(zip(numbers[::2], numbers[1::2], strict=True))
        with reading(process) as seen:
            for name in ("lists", "libgeneral", "liblocal"):
                loaded = seen.object(name)
                assert seen.symbols.tls_module(loaded) == modules[loaded.bias], name
            for name in ("libnone", "libc.so"):
                with pytest.raises(TargetRefusedError) as refused:
                    seen.symbols.tls_module(seen.object(name))
                assert refused.value.reason == "tls-module-unknown"
            assert seen.refusal("libnone", "mine") == "import-missing"


def test_thread_local_imports_are_refused(tmp_path: Path) -> None:
    shared = compile_library(tmp_path, "libshared.so", "__thread int theirs;")
    program = compile_program(
        tmp_path, "waits", "int main(void) { ready(); wait_for_end(); return 0; }",
        "-Wl,--no-as-needed", str(shared), f"-Wl,-rpath,{tmp_path}",
    )  # fmt: skip
    with running([program]) as process:
        assert process.line() == "ready"
        with reading(process) as seen:
            assert seen.refusal("waits", "theirs") == "import-tls"


def test_static_programs_have_no_scope(tmp_path: Path) -> None:
    program = compile_program(
        tmp_path, "static", "int main(void) { ready(); wait_for_end(); return 0; }", "-static"
    )
    with running([program]) as process:
        assert process.line() == "ready"
        with reading(process) as seen:
            assert seen.refusal("static", "malloc") == "not-linked"


def test_a_program_started_by_the_loader_by_hand(tmp_path: Path) -> None:
    library = compile_library(tmp_path, "libwho.so", who(9))
    program = compile_program(
        tmp_path, "asks",
        "int who(void); int main(void) { say((unsigned long long)who); ready(); wait_for_end(); }",
        str(library), f"-Wl,-rpath,{tmp_path}",
    )  # fmt: skip
    with running(["/lib64/ld-linux-x86-64.so.2", program]) as process:
        (address,) = process.numbers_until_ready()
        with reading(process) as seen:
            assert seen.address("asks", "who") == address


SPOILS_LINK_MAP = """
#include <link.h>
#include <dlfcn.h>
int main(int argc, char **argv)
{
    struct link_map *map = dlopen(0, RTLD_NOW), *last = map;
    while (last->l_next) last = last->l_next;
    switch (atoi(argv[1])) {
    case 0: last->l_next = map; break;
    case 1: last->l_next = (void *)0x10; break;
    case 2: map->l_next->l_ld = (void *)0x1234567; break;
    case 3: _r_debug.r_map = (void *)-8; break;
    case 4: last->l_name = (void *)0x20; break;
    case 5: _r_debug.r_state = RT_ADD; break;
    case 6: for (ElfW(Dyn) *d = _DYNAMIC; d->d_tag; d++)
            if (d->d_tag == DT_GNU_HASH) d->d_un.d_ptr = 0x7000000000000000; break;
    }
    ready(); wait_for_end(); _exit(0);
}
"""


@pytest.mark.parametrize("damage", range(7))
def test_damaged_tables_are_refused_and_never_hang(tmp_path: Path, damage: int) -> None:
    program = compile_program(tmp_path, "spoils", SPOILS_LINK_MAP, "-Wl,-z,norelro,-z,now")
    with running([program, str(damage)]) as process:
        assert process.line() == "ready"
        with reading(process) as seen, pytest.raises(NahtError):
            seen.address("spoils", "not_defined_anywhere")
