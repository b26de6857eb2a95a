"""Loads a library into this process, links a hotpatch image to it and redirects its functions, so
that a test sees the emitted code run. A stand-in for the engine, without threads or undo.

Usage: python -m tests.builders.run_patched LIBRARY HOTPATCH FUNCTION ARGUMENT…
Prints the function's results for all arguments, before and after, as JSON.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path

from naht.elf import constants as c
from naht.elf.file import ElfFile
from naht.hotpatch.container import read_hotpatch
from naht.hotpatch.image import HotpatchImage, check_image
from naht.hotpatch.manifest import Binding, Image
from tests.builders.image_linker import relocate

READ_WRITE, ALL = 3, 7
MAP_PRIVATE_ANONYMOUS_NOREPLACE = 0x100022
PAGE = 4096

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.dlsym.restype = ctypes.c_void_p
libc.dlsym.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
libc.dlinfo.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
RTLD_DI_LINKMAP, RTLD_DI_TLS_MODID = 2, 9


class Process:
    """This process, with the library in it."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.handle = library._handle
        link_map = ctypes.c_void_p()
        libc.dlinfo(self.handle, RTLD_DI_LINKMAP, ctypes.byref(link_map))
        assert link_map.value is not None
        self.bias = ctypes.c_size_t.from_address(link_map.value).value  # l_addr comes first

    def resolve(self, binding: Binding) -> int:
        if binding.kind == "object":
            return self.bias + binding.offset
        if binding.kind == "tls_module":
            module = ctypes.c_size_t()
            libc.dlinfo(self.handle, RTLD_DI_TLS_MODID, ctypes.byref(module))
            return module.value
        found = libc.dlsym(None, binding.name.encode()) or libc.dlsym(
            self.handle, binding.name.encode()
        )
        assert found or binding.weak, binding.name
        return int(found or 0)


def map_near(address: int, size: int) -> int:
    for distance in range(1 << 24, 1 << 30, 1 << 20):
        start = (address + distance) & -PAGE
        got = libc.mmap(start, size, READ_WRITE, MAP_PRIVATE_ANONYMOUS_NOREPLACE, -1, 0)
        if got == start:
            return start
    raise AssertionError("no room near the library")


def load(process: Process, view: HotpatchImage, image: Image) -> dict[str, int]:
    starts: dict[str, int] = {}
    size = sum(-(-s.size // PAGE) * PAGE + PAGE for s in view.sections)
    at = map_near(process.bias, size)
    arena = at
    for section in view.sections:
        starts[section.name] = at
        at += -(-max(section.size, 1) // PAGE) * PAGE
    addresses = {name: starts[d.section] + d.value for name, d in view.symbols.items()}
    addresses |= {b.symbol: process.resolve(b) for b in image.bindings}
    for section in view.sections:
        memory = bytearray(section.content or bytes(section.size))
        for r in section.relocations:
            relocate(memory, starts[section.name], r.offset, r.type, addresses[r.symbol] + r.addend)
        ctypes.memmove(starts[section.name], bytes(memory), len(memory))
    libc.mprotect(arena, size, ALL)
    if ".eh_frame" in starts:
        unwinder = ctypes.CDLL("libgcc_s.so.1")
        unwinder.__register_frame.argtypes = [ctypes.c_void_p]
        unwinder.__register_frame(starts[".eh_frame"])
    return addresses


def redirect(process: Process, image: Image, addresses: dict[str, int]) -> None:
    for function in image.functions:
        if function.parts:
            at = process.bias + function.redirect
            libc.mprotect(at & -PAGE, 2 * PAGE, ALL)
            jump = bytearray(b"\xe9" + bytes(4))
            relocate(jump, at, 1, c.R_X86_64_PC32, addresses[function.name] - 4)
            ctypes.memmove(at, bytes(jump), 5)


def main(library_path: str, hotpatch_path: str, name: str, *arguments: str) -> None:
    library = ctypes.CDLL(library_path, mode=ctypes.RTLD_GLOBAL)
    function = getattr(library, name)
    function.restype = ctypes.c_long
    process = Process(library)
    before = [function(ctypes.c_long(int(a))) for a in arguments]
    hotpatch = read_hotpatch(Path(hotpatch_path))
    (image,) = hotpatch.manifest.images
    view = check_image(ElfFile(hotpatch.images[image.member]), image)
    addresses = load(process, view, image)
    redirect(process, image, addresses)
    after = [function(ctypes.c_long(int(a))) for a in arguments]
    old = [call_old(process, addresses, f.displaced, arguments) for f in image.functions
           if f.displaced and f.name == name]  # fmt: skip
    print(json.dumps({"before": before, "after": after, "displaced": old}))


def call_old(
    process: Process, addresses: dict[str, int], symbol: str, arguments: tuple[str, ...]
) -> list[int]:
    """The old function, entered through its displaced instructions."""
    function = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long)(addresses[symbol])
    return [function(int(a)) for a in arguments]


if __name__ == "__main__":
    main(*sys.argv[1:])
