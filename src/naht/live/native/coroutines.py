"""Signs that a process may keep stacks that belong to no thread: coroutines, fibres, goroutines.

What lies on such a stack cannot be found from the threads, so nobody can prove that a function is
not in use. Owns the signs, read from the dynamic symbols and notes of what is loaded. A program
that brings its own unnamed switching code shows none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from naht.elf import constants as c
from naht.live.native.dynamic import DynamicObject
from naht.live.native.loaded_elf import LoadedElf, has_go_build_id
from naht.live.native.memory import TargetMemory

# POSIX contexts count where they are used (libc itself defines them), libraries where they are.
_USED = (b"makecontext", b"swapcontext")
_PRESENT = (b"jump_fcontext", b"make_fcontext", b"ontop_fcontext", b"co_switch", b"coro_transfer")
# libcrypto uses contexts for its ASYNC jobs only, and none of them can wait on its stack
# unless somebody calls this (openssl, crypto/async/async.c).
_WRAPPED = {b"libcrypto.so": b"ASYNC_pause_job"}


def hidden_stack_signs(memory: TargetMemory, elves: Sequence[LoadedElf]) -> tuple[str, ...]:
    """What speaks for coroutines, in words; empty when nothing does."""
    objects = [DynamicObject(memory, elf) for elf in elves]
    signs = [sign for o in objects for sign in _signs_of(o, objects)]
    if any(has_go_build_id(memory, elf) for elf in elves):
        signs.append("it holds code of the Go language")
    return tuple(signs)


def _signs_of(dynamic: DynamicObject, others: Sequence[DynamicObject]) -> Iterator[str]:
    for name in _USED:
        if dynamic.imports(name) and not _is_wrapped(dynamic, others):
            yield f"{_title(dynamic)} uses {name.decode()}"
    for name in _PRESENT:
        if dynamic.indices_of(name):
            yield f"{_title(dynamic)} has {name.decode()}"


def _is_wrapped(dynamic: DynamicObject, others: Sequence[DynamicObject]) -> bool:
    for prefix, opener in _WRAPPED.items():
        if dynamic.soname.startswith(prefix) and dynamic.indices_of(opener):
            return not any(o.imports(opener) for o in others)
    return False


def _title(dynamic: DynamicObject) -> str:
    if dynamic.soname:
        return dynamic.soname.decode("ascii", "backslashreplace")
    return "the program" if dynamic.value(c.DT_DEBUG) else "an object of it"
