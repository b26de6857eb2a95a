"""A layer with the binary packages that we built from one source package, unpacked: their tools,
configuration, headers and the libraries that did not change are part of a live root. No script of a
package is run."""

from __future__ import annotations

import subprocess
from pathlib import Path

from naht.build.debian.cache import Cache
from naht.build.debian.package_build import BuiltPackage
from naht.errors import ToolError

_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")  # links to /usr/… on Debian


def own_packages(cache: Cache, built: BuiltPackage) -> Path:
    with cache.entry("corpus-packages", built.path.name) as entry:
        layer = entry.path / "layer"
        if not entry.complete:
            layer.mkdir()
            for name in _MERGED:
                (layer / "usr" / name).mkdir(parents=True)
                (layer / name).symlink_to(f"usr/{name}")
            for package in sorted(built.build.glob("*.deb")):
                if "-dbgsym_" not in package.name:
                    _unpack(package, layer)
            entry.seal()
    return layer


def _unpack(package: Path, layer: Path) -> None:
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE
    ) as reader:
        command = ["tar", "-x", "--keep-directory-symlink", "-C", str(layer)]
        status = subprocess.run(command, stdin=reader.stdout, check=False).returncode
    if status or reader.returncode:
        raise ToolError(f"{package.name} can't be unpacked.", "Build the package again.")
