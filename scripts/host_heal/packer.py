"""Runs on the host, with the distribution's own Python: a service that packs with liblzma. Reads
commands, answers each with a line, and loads nothing anew.
"""

from __future__ import annotations

import ctypes
import lzma
import sys

TOO_MUCH = 1 << 20  # what this service's allocator refuses to give
# The header of an old .lzma file: properties, a dictionary of 8 MiB, a size that is not known.
HEADER = b"\x5d" + (8 << 20).to_bytes(4, "little") + b"\xff" * 8
RUN, MEMORY_ERROR = 0, 5  # LZMA_RUN, LZMA_MEM_ERROR
ALLOCATE = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)
FREE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


class Allocator(ctypes.Structure):
    _fields_ = (("allocate", ALLOCATE), ("free", FREE), ("opaque", ctypes.c_void_p))


class Stream(ctypes.Structure):
    _fields_ = (
        ("next_in", ctypes.c_char_p), ("avail_in", ctypes.c_size_t), ("total_in", ctypes.c_uint64),
        ("next_out", ctypes.c_void_p), ("avail_out", ctypes.c_size_t),
        ("total_out", ctypes.c_uint64), ("allocator", ctypes.POINTER(Allocator)),
        ("internal", ctypes.c_void_p), ("reserved", ctypes.c_uint64 * 12),
    )  # fmt: skip


libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
library = ctypes.CDLL("liblzma.so.5")  # the one that is loaded already


def prove() -> str:
    """A decoder runs out of memory while it is set up. The old code keeps what it had set up so
    far, half made, and may come back to it; the new code gives it up.
    """
    held: set[int] = set()

    def allocate(_opaque: int, count: int, size: int) -> int | None:
        if count * size >= TOO_MUCH:
            return None
        held.add(address := libc.malloc(count * size))
        return address

    def free(_opaque: int, address: int) -> None:
        held.discard(address)
        libc.free(address)

    allocator = Allocator(ALLOCATE(allocate), FREE(free), None)
    room = ctypes.create_string_buffer(64)
    stream = Stream(allocator=ctypes.pointer(allocator), next_in=HEADER, avail_in=len(HEADER),
                    next_out=ctypes.addressof(room), avail_out=len(room))  # fmt: skip
    begun = library.lzma_alone_decoder(ctypes.byref(stream), ctypes.c_uint64(1 << 30))
    status = library.lzma_code(ctypes.byref(stream), RUN)
    kept = len(held)
    library.lzma_end(ctypes.byref(stream))
    if (begun, status, len(held)) != (0, MEMORY_ERROR, 0):
        return f"unexpected: {begun} {status} {len(held)}"
    return f"{kept} blocks held after the error"


def serves() -> str:
    text = b"packed and unpacked"
    return lzma.decompress(lzma.compress(text)).decode()


def main() -> None:
    answers = {"prove": prove, "serves": serves}
    print("ready", flush=True)
    for line in sys.stdin:
        print(answers[line.strip()](), flush=True)


if __name__ == "__main__":
    main()
