"""Started in fresh namespaces: puts the host's file system together, and becomes its first process.

    python -m scripts.host_heal.inside ROOT WORK SITE…

WORK gets what the host writes. SITE: directories that hold naht and what it needs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from naht.build.debian import mounts

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
BOX = "srv/box"  # a container on the host, with a root of its own
POLICY = "#!/bin/sh\nexit 101\n"  # maintainer scripts start, stop and restart nothing
WRAPPER = """\
#!/usr/bin/python3
import sys

sys.path[:0] = {paths!r}
from naht.cli.main import main

sys.exit(main())
"""
INIT = "ip link set lo up; trap : TERM; echo ready; while :; do sleep 60 & wait; done"


def main(base: Path, work: Path, sites: list[Path]) -> None:
    mounts.make_private()
    root = mount_copy(base, work / "host")
    mount_copy(base, work / "box", root / BOX)
    for top in (root, root / BOX):
        mount_kernel_files(top)
        write_program(top / "usr/sbin/policy-rc.d", POLICY)
    install_naht(root, sites)
    names = Path("/etc/resolv.conf")
    (root / "etc/resolv.conf").write_bytes(names.read_bytes() if names.exists() else b"")
    os.chdir(root)
    (root / ".outer").mkdir(exist_ok=True)
    pivot(root)
    os.execv("/bin/sh", ["sh", "-c", INIT])  # noqa: S606


def mount_copy(base: Path, work: Path, target: Path | None = None) -> Path:
    for name in ("upper", "work", "root"):
        (work / name).mkdir(parents=True, exist_ok=True)
    target = target or work / "root"
    target.mkdir(parents=True, exist_ok=True)
    mounts.overlay([base], work / "upper", work / "work", target)
    return target


def mount_kernel_files(top: Path) -> None:
    mounts.special("proc", top / "proc")
    mounts.special("tmpfs", top / "run", "mode=755,size=64m")
    mounts.special("tmpfs", top / "dev", "mode=755,size=1m")
    for name in DEVICES:
        (top / "dev" / name).touch()
        mounts.bind(Path("/dev", name), top / "dev" / name)
    for name, target in {"fd": "/proc/self/fd", "stderr": "fd/2", "stdout": "fd/1"}.items():
        (top / "dev" / name).symlink_to(target)


def install_naht(root: Path, sites: list[Path]) -> None:
    paths = []
    for number, site in enumerate(sites):
        inside = f"/opt/naht/{number}"
        (root / inside[1:]).mkdir(parents=True)
        mounts.bind(site, root / inside[1:], read_only=True)
        paths.append(inside)
    write_program(root / "usr/bin/naht", WRAPPER.format(paths=paths))


def write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def pivot(root: Path) -> None:
    """The old root is gone from here: the host sees itself alone."""
    import ctypes  # noqa: PLC0415

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(155, os.fsencode(root), os.fsencode(root / ".outer")) != 0:  # pivot_root
        sys.exit(os.strerror(ctypes.get_errno()))
    os.chdir("/")
    mounts.unmount(Path("/.outer"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(word) for word in sys.argv[3:]])
