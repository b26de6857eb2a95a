"""The smallest 32-bit Linux program: says "ready", then waits for ever."""

from __future__ import annotations

import struct
from pathlib import Path

_BASE = 0x0804_8000
_TEXT = b"ready\n"


def write_tiny_elf32(path: Path) -> Path:
    header_size, entry_size = 52, 32
    code_at = header_size + entry_size
    code = _code(_BASE + code_at)
    size = code_at + len(code)
    header = struct.pack(
        "<4sBBBB8xHHIIIIIHHHHHH", b"\x7fELF", 1, 1, 1, 0, 2, 3, 1, _BASE + code_at, header_size,
        0, 0, header_size, entry_size, 1, 0, 0, 0,
    )  # fmt: skip
    segment = struct.pack("<8I", 1, 0, _BASE, _BASE, size, size, 5, 0x1000)
    path.write_bytes(header + segment + code)
    path.chmod(0o755)
    return path


def _code(address: int) -> bytes:
    """write(1, text, 6); for (;;) pause();"""
    write, pause = 4, 29
    body = b"\xb8" + struct.pack("<I", write) + b"\xbb\x01\0\0\0\xb9" + b"TEXT"
    body += b"\xba" + struct.pack("<I", len(_TEXT)) + b"\xcd\x80"
    body += b"\xb8" + struct.pack("<I", pause) + b"\xcd\x80\xeb\xf7"
    return body.replace(b"TEXT", struct.pack("<I", address + len(body))) + _TEXT
