"""Call chains of real threads: every instruction of real programs, waiting threads, the vDSO,
signal handlers, and code whose tables lie or are missing. The truth comes from readelf, and from
stepping, which needs no tables (see `tests.builders.single_step`).
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from naht.live.native import cfi, procfs
from naht.live.native.call_frames import Chain, FrameTables, Snapshot, unwind
from naht.live.native.cfi import How, Row
from naht.live.native.discovery import find_elves
from naht.live.native.frame_index import EntryReader, areas_of
from naht.live.native.memory import TargetMemory
from tests.builders.live_programs import Program, compile_program, running, wait_until
from tests.builders.single_step import StoppedThread, TrueChain, snapshot, snapshot_in, stopped

pytestmark = [pytest.mark.live, pytest.mark.compiler]

MANY_SHAPES = r"""
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>
#define OUT __attribute__((noinline))
static volatile int sink; static volatile double real;
static void handler(int number)
{
    sink += time(0) & 1;
}
OUT static int leaf(int n) { return n * 3 + sink; }
OUT static int with_alloca(int n)
{
    char *bytes = (char *)__builtin_alloca(n * 8 + 1);
    memset(bytes, n, n * 8 + 1);
    return bytes[n] + leaf(n);
}
OUT static int pushed(int a, int b, int c, int d, int e, int f, int g, int h, int i)
{
    return a + b + c + d + e + f + g + h + leaf(i);
}
OUT static int recursive(int n)
{
    int x = n ? recursive(n - 1) : pushed(1, 2, 3, 4, 5, 6, 7, 8, with_alloca(3));
    return x + leaf(n);
}
OUT static int tail(int n) { return recursive(n + sink % 2); }
OUT static int variadic(int n, ...)
{
    va_list list; int sum = 0;
    va_start(list, n); while (n--) sum += va_arg(list, int); va_end(list);
    return sum + leaf(sum);
}
OUT static int realigned(int n)
{
    int numbers[16] __attribute__((aligned(64)));
    memset(numbers, n, sizeof numbers); sink += (long)numbers & 63;
    return leaf(numbers[3]);
}
static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
static void turn(void)
{
    char text[100]; struct timespec now; int numbers[9] = {5, 3, 8, 1, 9, 2, 7, 4, 6};
    raise(SIGUSR1);
    sink += tail(4); sink += variadic(4, 1, 2, 3, 4); sink += realigned(3);
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(text, sizeof text, "%d %s %f", sink, "text", 1.5);
    qsort(numbers, 9, 4, compare); real += sin(sink); free(malloc(sink & 0xfff));
    usleep(1);
}
static void *body(void *unused)
{
    say(syscall(SYS_gettid)); ready();
    wait_for_end();
    for (;;) turn();
}
"""
IN_MAIN = "int main(void) { signal(SIGUSR1, handler); body(0); }"
IN_THREAD = """
int main(void)
{
    pthread_t thread;
    signal(SIGUSR1, handler); pthread_create(&thread, 0, body, 0); pthread_join(thread, 0);
}
"""
STEPS, MOST_STEPS = 6000, 60000
# The vDSO reads the clock again when it ticked meanwhile: looked at slowly, it never gets out.
VDSO_STEPS = 300


@contextmanager
def stopped_and_unwound(program: Program, thread: int = 0) -> Iterator[Stopped]:
    with TargetMemory(program.pid) as memory, stopped(program.pid, thread) as one:
        yield Stopped(memory, one)


class Stopped:
    """A stopped thread with all that is needed to unwind it."""

    def __init__(self, memory: TargetMemory, thread: StoppedThread) -> None:
        self.memory = memory
        self.thread = thread
        self.maps = procfs.read_maps(thread.pid)
        self.tables = FrameTables(memory, self.maps)
        mapping = procfs.mapping_at(self.maps, thread.registers()["rsp"])
        assert mapping
        self.stack_end = mapping.end

    def unwind(self, registers: dict[str, int] | None = None) -> Chain | None:
        registers = registers or self.thread.registers()
        copy = snapshot_in(self.memory, self.thread.thread, registers, self.stack_end)
        return unwind(self.tables, copy)

    def is_in(self, counter: int, path: str) -> bool:
        mapping = procfs.mapping_at(self.maps, counter)
        return mapping is not None and mapping.path == path


# --- every instruction -------------------------------------------------------------------------

WAYS = [
    ("gcc", "-O2"),
    ("gcc", "-O0"),
    ("gcc", "-O2 -fno-omit-frame-pointer"),
    ("gcc", "-O3 -fno-asynchronous-unwind-tables -funwind-tables -fcf-protection=full"),
    ("gcc", "-Os -no-pie -Wl,-z,lazy"),
    ("clang", "-O2"),
    ("clang", "-O1 -fno-omit-frame-pointer"),
]


@pytest.mark.parametrize(("compiler", "flags"), WAYS, ids=[" ".join(way) for way in WAYS])
def test_every_instruction_of_a_program(tmp_path: Path, compiler: str, flags: str) -> None:
    step_through(tmp_path, MANY_SHAPES + IN_MAIN, flags.split(), compiler)


def test_every_instruction_of_a_thread(tmp_path: Path) -> None:
    step_through(tmp_path, MANY_SHAPES + IN_THREAD, ["-O2"], "gcc")


def step_through(where: Path, source: str, flags: Sequence[str], compiler: str) -> None:
    path = compile_program(where, "shapes", source, *flags, "-lm", compiler=compiler)
    with running([path]) as program:
        thread = program.number()
        assert program.line() == "ready"
        with stopped_and_unwound(program, thread) as one:
            follow(one, program, first_chain(one))


def first_chain(one: Stopped) -> Chain:
    chain = one.unwind()
    assert chain is not None
    return chain


def follow(one: Stopped, program: Program, first: Chain) -> None:
    """At least STEPS, and on until it has been in the vDSO and in a signal's frame."""
    assert program.process.stdin
    program.process.stdin.close()  # what it waits for
    true = TrueChain(one.memory, one.thread, list(first.counters))
    steps, doubts, visited = 0, 0, Counter[str]()
    while steps < STEPS or len(visited) < 3:
        assert steps < MOST_STEPS, f"it has only been in {visited}"
        true.step()
        in_vdso = one.is_in(true.registers["rip"], "[vdso]")
        if in_vdso and visited["vdso"] >= VDSO_STEPS:
            continue
        steps += 1
        chain = one.unwind(true.registers)
        if chain is None:
            doubts += 1
            continue
        assert list(chain.counters) == true.chain
        assert all(one.memory.unsigned(address) == value for address, value in chain.words)
        in_signal = one.tables.interrupted(chain.counters[0]).signal
        visited["vdso" if in_vdso else "signal frame" if in_signal else "elsewhere"] += 1
    assert doubts < steps / 50


CPP = r"""
#include <csignal>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <sys/syscall.h>
#include <ctime>
struct Shape { virtual ~Shape() = default; virtual int area(int) const = 0; };
struct Square : Shape { int area(int n) const override { return n * n; } };
static volatile int sink;
static void handler(int) { sink += std::time(nullptr) & 1; }
static int catching(int n)
{
    std::string text = std::to_string(n);
    try { text.at(100 + n); } catch (const std::exception &) { sink += 1; }
    return text.size();
}
static void turn()
{
    std::map<std::string, std::unique_ptr<Shape>> shapes;
    raise(SIGUSR1);
    shapes["square"] = std::make_unique<Square>();
    std::function<int(int)> call = [&](int n) { return shapes.at("square")->area(n); };
    sink += call(3);
    timespec now; clock_gettime(CLOCK_REALTIME, &now);
}
int main()
{
    std::signal(SIGUSR1, handler);
    catching(1);
    say(syscall(SYS_gettid)); ready();
    wait_for_end();
    for (;;) turn();
}
"""


def test_every_instruction_of_a_cpp_program(tmp_path: Path) -> None:
    step_through(tmp_path, CPP, ["-O2", "-std=c++17", "-Wl,-z,now"], "g++")


# --- tables against another reader -------------------------------------------------------------

_FDE = re.compile(r"^\w+ \w+ \w+ FDE .*pc=(\w+)\.\.(\w+)$")
_NAMES = [
    "rax",
    "rdx",
    "rcx",
    "rbx",
    "rsi",
    "rdi",
    "rbp",
    "rsp",
    *(f"r{n}" for n in range(8, 16)),
    "ra",
]
_IN_REGISTER = re.compile(r"(r\d+) \(\w+\)")


@pytest.mark.parametrize("name", ["libc.so.6", "ld-linux-x86-64.so.2", "libm.so.6"])
def test_rows_are_those_that_readelf_shows(name: str, tmp_path: Path) -> None:
    path = compile_program(
        tmp_path, "idle", "int main(void) { ready(); wait_for_end(); }", "-Wl,--no-as-needed", "-lm"
    )
    with running([path]) as program:
        assert program.line() == "ready"
        maps = procfs.read_maps(program.pid)
        with TargetMemory(program.pid) as memory:
            elf, mapping = next(
                (e, m) for e, m in find_elves(memory, maps) if Path(m.path).name == name
            )
            reader = EntryReader(memory)
            area = next(areas_of(reader, elf))
            compared = 0
            for at, shown in shown_rows(mapping.path):
                entry = reader.entry(area, elf.bias + at)
                assert rendered(cfi.row_at(entry, elf.bias + at), shown) == shown, hex(at)
                compared += 1
    assert compared > 1000


def shown_rows(path: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The columns that readelf prints for each address of the file's entries."""
    text = subprocess.run(
        ["readelf", "--wide", "--debug-dump=frames-interp", path],
        check=False, capture_output=True, text=True,  # it misses a debug file, and says so with 1
    ).stdout  # fmt: skip
    names: list[str] = []
    inside = False
    for line in text.splitlines():
        if not line.strip() or " CIE " in line:
            inside = False
        elif _FDE.match(line):
            inside = True
        elif inside and line.lstrip().startswith("LOC"):
            names = line.split()[1:]
        elif inside:
            at, *columns = _IN_REGISTER.sub(r"\1", line).split()
            yield int(at, 16), dict(zip(names, columns, strict=True))


def rendered(row: Row, shown: dict[str, str]) -> dict[str, str]:
    """The row in readelf's words, for the columns that it shows."""
    return {
        name: frame_address(row) if name == "CFA" else rule_of(row, name, text)
        for name, text in shown.items()
    }


def frame_address(row: Row) -> str:
    if row.cfa_expression:
        return "exp"
    return f"{_NAMES[row.cfa_register]}{row.cfa_offset:+d}"


def rule_of(row: Row, name: str, shown: str) -> str:
    number = _NAMES.index(name)
    if number not in cfi.TRACKED:
        return shown
    rule = row.rules.get(number)
    if rule is None or rule.how is How.UNDEFINED:
        return "u"
    if rule.how in (How.SAVED_AT, How.EXPRESSION):
        return "exp" if rule.how is How.SAVED_AT else "vexp"
    return f"r{rule.value}" if rule.how is How.REGISTER else f"c{rule.value:+d}"


# --- where threads wait ------------------------------------------------------------------------

WAITING = r"""
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#define OUT __attribute__((noinline))
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER, own = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static pthread_t first;
static sem_t none;
static int in_poll(void) { return poll(0, 0, -1); }
static int in_nanosleep(void) { struct timespec t = {1000, 0}; return nanosleep(&t, 0); }
static int in_mutex(void) { return pthread_mutex_lock(&held); }
static int in_condition(void) { pthread_mutex_lock(&own); return pthread_cond_wait(&never, &own); }
static int in_semaphore(void) { return sem_wait(&none); }
static int in_epoll(void) { struct epoll_event e; return epoll_wait(epoll_create(1), &e, 1, -1); }
static int in_select(void) { return select(0, 0, 0, 0, 0); }
static int in_join(void) { return pthread_join(first, 0); }
static int in_read(void) { int ends[2]; char byte; pipe(ends); return read(ends[0], &byte, 1); }
static int in_sleep(void) { return sleep(1000); }
static int in_system_call(void) { return syscall(SYS_pause); }
static int in_qsort(const void *a, const void *b) { return pause(); }
static int in_callback(void) { int numbers[2] = {2, 1}; qsort(numbers, 2, 4, in_qsort); return 0; }
static int (*const waits[])(void) = {
    in_poll, in_nanosleep, in_mutex, in_condition, in_semaphore, in_epoll, in_select, in_join,
    in_read, in_sleep, in_system_call, in_callback,
};
OUT static int middle(int which, int depth)
{
    int result = depth ? middle(which, depth - 1) : waits[which]();
    __asm__ volatile("" ::: "memory");
    return result + depth;
}
static void *body(void *which)
{
    say(syscall(SYS_gettid));
    return (void *)(long)middle((long)which, 3);
}
int main(int argc, char **argv)
{
    pthread_t thread;
    first = pthread_self();
    sem_init(&none, 0, 0); pthread_mutex_lock(&held);
    for (long i = 0; i < sizeof waits / sizeof *waits; i++)
        pthread_create(&thread, 0, body, (void *)i);
    middle(0, 1);
}
"""
WAITS = {
    "in_poll", "in_nanosleep", "in_mutex", "in_condition", "in_semaphore", "in_epoll", "in_select",
    "in_join", "in_read", "in_sleep", "in_system_call", "in_callback in_qsort",
}  # fmt: skip


@pytest.mark.parametrize("flags", ["-O0", "-O2", "-O2 -fno-omit-frame-pointer", "-O2 -static-pie"])
def test_threads_that_wait(tmp_path: Path, flags: str) -> None:
    whole = [*flags.split(), "-fno-optimize-sibling-calls", "-fno-inline"]
    path = compile_program(tmp_path, "waiting", WAITING, *whole)
    names = Functions(path)
    subprocess.run(["strip", str(path)], check=True)
    with running([path]) as program:
        threads = {program.number() for _ in WAITS}
        chains = [names.of(program, unwound(program, t)) for t in threads if asleep(program, t)]
        inside = {" ".join(chain[: chain.index("middle")][::-1]) for chain in chains}
        assert inside == WAITS
        assert all(chain[-5:] == ["middle"] * 4 + ["body"] for chain in chains)
        assert asleep(program, program.pid)
        main = names.of(program, unwound(program))
        assert main == ["in_poll", "middle", "middle", "main", "_start"]


def asleep(program: Program, thread: int) -> bool:
    wait_until(lambda: procfs.read_stat(program.pid, thread).state == "S")
    return True


def unwound(program: Program, thread: int = 0) -> Chain:
    with stopped_and_unwound(program, thread) as one:
        return first_chain(one)


_OWN = re.compile(r"(in_\w+|middle|body|main|_start)$")


class Functions:
    """The extents of a program's own functions, read before it is stripped."""

    def __init__(self, path: Path) -> None:
        listed = subprocess.run(["nm", "-S", str(path)], check=True, capture_output=True, text=True)
        rows = [line.split() for line in listed.stdout.splitlines()]
        self._path = str(path)
        self._extents = {
            row[3]: range(int(row[0], 16), int(row[0], 16) + int(row[1], 16))
            for row in rows
            if len(row) == 4 and _OWN.match(row[3])
        }

    def of(self, program: Program, chain: Chain) -> list[str]:
        """The names of those functions of the chain that are the program's own, outwards."""
        maps = procfs.read_maps(program.pid)
        start = next(m.start for m in maps if m.path == self._path)
        bias = start if start >= 1 << 32 else 0
        first = [chain.counters[0], *(counter - 1 for counter in chain.counters[1:])]
        found = [self._name(counter - bias) for counter in first]
        return [name for name in found if name]

    def _name(self, address: int) -> str:
        return next((name for name, extent in self._extents.items() if address in extent), "")


# --- where unwinding must give up --------------------------------------------------------------

ODD = r"""
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#define OUT __attribute__((noinline))
typedef void (*Call)(void (*)(void));
static void stay(void) { ready(); wait_for_end(); }
static void handler(int number) { stay(); }
static void with_handler(int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    stack_t stack = {malloc(1 << 18), 0, 1 << 18};
    sigaltstack(&stack, 0); sigaction(SIGUSR1, &action, 0); raise(SIGUSR1);
}
void bare(void (*)(void));
__asm__(".globl bare\nbare: push %rbx\n call *%rdi\n pop %rbx\n ret\n");
static void made_at_run_time(void)
{
    static const char code[] = "\x53\xff\xd7\x5b\xc3"; /* push rbx; call rdi; pop rbx; ret */
    void *page = mmap(0, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(page, code, sizeof code); ((Call)page)(stay);
}
OUT static void deep(int n) { if (n) deep(n - 1); else stay(); __asm__ volatile("" ::: "memory"); }
int main(int argc, char **argv)
{
    switch (atoi(argv[1])) {
    case 0: stay(); break;
    case 1: with_handler(0); break;
    case 2: with_handler(SA_ONSTACK); break;
    case 3: bare(stay); break;
    case 4: made_at_run_time(); break;
    case 5: deep(3000); break;
    case 6: deep(5000); break;
    }
    return 0;
}
"""


@pytest.mark.parametrize(
    ("case", "frames"),
    [
        (0, range(6, 8)),
        (1, range(9, 14)),  # handler, signal frame, raise
        (2, range(0)),  # on another stack: what was interrupted is not in the copy
        (3, range(0)),  # assembler without tables
        (4, range(0)),  # code made at run time
        (5, range(3006, 3009)),
        (6, range(0)),  # deeper than the bound
    ],
)
def test_odd_stacks(tmp_path: Path, case: int, frames: range) -> None:
    path = compile_program(tmp_path, "odd", ODD, "-fno-optimize-sibling-calls")
    with running([path, str(case)]) as program:
        assert program.line() == "ready"
        assert asleep(program, program.pid)
        with stopped_and_unwound(program) as one:
            chain = one.unwind()
            assert len(chain.counters) in frames if chain else not frames


LYING = r"""
OUT void inner(void) { __asm__ volatile("nop\nnop"); }
/* At its last instruction the table says that the frame is larger than it is. */
__asm__(".globl liar\nliar:\n .cfi_startproc\n sub $16, %rsp\n .cfi_adjust_cfa_offset 16\n"
        " call inner\n add $16, %rsp\n ret\n .cfi_endproc\n");
/* Its frame holds a word that looks like a return address to main, just where that leads. */
__asm__(".globl victim\nvictim:\n .cfi_startproc\n sub $24, %rsp\n .cfi_adjust_cfa_offset 24\n"
        " mov 24(%rsp), %rax\n mov %rax, 8(%rsp)\n call *%rdi\n add $24, %rsp\n"
        " .cfi_adjust_cfa_offset -24\n ret\n .cfi_endproc\n");
void liar(void); void victim(void (*)(void));
int main(void)
{
    void (*volatile call)(void (*)(void)) = victim;
    volatile char *bytes = __builtin_alloca(getpid() & 15);
    ready();
    wait_for_end();
    for (;;) call(liar);
}
"""


def test_tables_that_lie_are_caught_by_the_code(tmp_path: Path) -> None:
    source = "#define OUT __attribute__((noinline))\n" + LYING
    path = compile_program(tmp_path, "lying", source, "-fno-omit-frame-pointer", "-no-pie")
    with running([path]) as program:
        assert program.line() == "ready"
        assert asleep(program, program.pid)
        with stopped_and_unwound(program) as one:
            first = first_chain(one)
            assert program.process.stdin
            program.process.stdin.close()
            true = TrueChain(one.memory, one.thread, list(first.counters))
            seen = []
            for _ in range(500):
                true.step()
                chain = one.unwind(true.registers)
                seen.append(chain is not None)
                assert chain is None or list(chain.counters) == true.chain
            assert 0.5 < sum(seen) / len(seen) < 1


def test_a_thread_that_spins_in_the_vdso(tmp_path: Path) -> None:
    source = """
    #include <time.h>
    int main(void) { struct timespec t; ready(); for (;;) clock_gettime(CLOCK_MONOTONIC, &t); }
    """
    with running([compile_program(tmp_path, "spin", source)]) as program:
        assert program.line() == "ready"
        inside = 0
        for _ in range(200):
            with stopped_and_unwound(program) as one:
                chain = one.unwind()
                if chain and one.is_in(chain.counters[0], "[vdso]"):
                    inside += 1
                    assert len(chain.counters) in (6, 7)
                    assert one.is_in(chain.counters[-4], str(tmp_path / "spin"))
        assert inside


def test_a_chain_stands_as_long_as_its_evidence(tmp_path: Path) -> None:
    """Whatever else is on the stack may be anything."""
    path = compile_program(tmp_path, "odd", ODD, "-O0")
    with running([path, "1"]) as program, TargetMemory(program.pid) as memory:
        assert program.line() == "ready"
        assert asleep(program, program.pid)
        with stopped(program.pid) as thread:
            tables = FrameTables(memory, procfs.read_maps(program.pid))
            copy = snapshot(memory, thread)
            chain = unwind(tables, copy)
            assert chain is not None
            assert chain.registers < set(cfi.TRACKED)
            assert unwind(tables, all_else_changed(copy, chain)) == chain


def all_else_changed(copy: Snapshot, chain: Chain) -> Snapshot:
    stack = bytearray(b"\xa5" * len(copy.stack))
    for address, value in chain.words:
        stack[address - copy.start : address - copy.start + 8] = value.to_bytes(8, "little")

    def register(number: int, value: int) -> int:
        return value if number in chain.registers else 0xA5A5A5A5

    return Snapshot(
        thread=copy.thread,
        rip=copy.rip,
        rsp=copy.rsp,
        rbp=register(cfi.RBP, copy.rbp),
        rbx=register(cfi.RBX, copy.rbx),
        r12=register(cfi.R12, copy.r12),
        r13=register(cfi.R13, copy.r13),
        r14=register(cfi.R14, copy.r14),
        r15=register(cfi.R15, copy.r15),
        start=copy.start,
        stack=bytes(stack),
    )
