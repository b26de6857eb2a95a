"""Whether two files hold the same code and data, found out without naht: binutils takes away the
build-id and all that is not loaded, and what is left is compared.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory


def is_same_code(one: Path, other: Path) -> bool:
    with TemporaryDirectory() as folder:
        images = [
            loaded_content(path, Path(folder) / str(n)) for n, path in enumerate((one, other))
        ]
    return images[0] == images[1]


def loaded_content(path: Path, target: Path) -> bytes:
    subprocess.run(
        ["objcopy", "-O", "binary", "--remove-section=.note.gnu.build-id", path, target], check=True
    )
    return target.read_bytes()
