"""Started in fresh namespaces by `enclosure`: mounts the clean root, changes into it and does one
job there. A program of its own (`python -m naht.build.debian.enter`), because namespaces belong to
processes. Refuses nothing; errors of ours are handed back as data.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import naht.build.native
from naht.build.debian import mounts
from naht.build.debian.enclosure import Layered, error_as_json
from naht.errors import NahtError

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
# Of the whole machine, whatever namespace looks at it; container runtimes protect the same ones.
_KERNEL_SETTINGS = ("sys", "sysrq-trigger", "irq", "bus", "fs")
_FROM_HOST = ("/etc/resolv.conf", "/etc/hosts")
# Imported late by the standard library, when the host's files may be out of sight.
_LATE = (
    "concurrent.futures.thread", "encodings.idna", "encodings.cp437", "encodings.latin_1",
    "encodings.ascii", "encodings.utf_16", "traceback", "linecache", "zipfile",
)  # fmt: skip


def main() -> None:
    job = json.load(sys.stdin)
    os.umask(0o022)
    root = _mount_all(job["enclosure"])
    function = _import_function(job["function"]) if "function" in job else None
    os.chroot(root)
    os.chdir("/")
    if function is None:
        sys.exit(_run(job))
    else:
        print(json.dumps(_answer(function, job["argument"])))  # noqa: T201  the answer


def _mount_all(enclosure: Mapping[str, Any]) -> Path:
    mounts.make_private()
    base = Layered(**enclosure["root"])
    root = Path(base.target)
    _mount(base, root)
    _mount_kernel_files(root)
    if enclosure["network"]:
        _show_host_names(root)
    for item in enclosure["mounts"]:
        layered = Layered(**item)
        _mount(layered, root / layered.target.lstrip("/"))
    own = Path(naht.build.native.__path__[0]).parents[1]  # its data files are read late
    _mount(Layered(str(own), (str(own),), read_only=True), root / str(own).lstrip("/"))
    return root


def _mount(layered: Layered, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    lower = [Path(p) for p in layered.lower]
    if layered.in_memory:
        mounts.special("tmpfs", Path(layered.upper).parent, "mode=755")
        for directory in (layered.upper, layered.work):
            Path(directory).mkdir()
    if layered.upper:
        mounts.overlay(lower, Path(layered.upper), Path(layered.work), target)
    else:
        mounts.bind(lower[0], target, read_only=layered.read_only)


def _mount_kernel_files(root: Path) -> None:
    mounts.special("proc", root / "proc")
    for name in _KERNEL_SETTINGS:
        if (root / "proc" / name).exists():
            mounts.bind(root / "proc" / name, root / "proc" / name, read_only=True)
    mounts.special("tmpfs", root / "dev", "mode=755,size=1m")
    for name in _DEVICES:
        (root / "dev" / name).touch()
        mounts.bind(Path("/dev", name), root / "dev" / name)
    for name, target in {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1"}.items():
        (root / "dev" / name).symlink_to(target)
    (root / "dev/stderr").symlink_to("fd/2")
    for name, kind, options in (
        ("shm", "tmpfs", "mode=1777,size=1g"),
        ("pts", "devpts", "newinstance,ptmxmode=0666,mode=620"),
    ):
        (root / "dev" / name).mkdir()
        mounts.special(kind, root / "dev" / name, options)
    (root / "dev/ptmx").symlink_to("pts/ptmx")


def _show_host_names(root: Path) -> None:
    for name in _FROM_HOST:
        target = root / name.lstrip("/")
        if Path(name).is_file():
            target.touch()
            mounts.bind(Path(name).resolve(), target, read_only=True)


def _run(job: Mapping[str, Any]) -> int:
    """The exit status of the command. We stay the first process of the namespace, as root: all in
    here ends with it, and the kernel forgets who is to die with its parent when an account changes
    (prctl(2), PR_SET_PDEATHSIG)."""
    command = os.fork()
    if command == 0:
        _become(job)
    while True:
        ended, status = os.wait()
        if ended == command:
            return os.waitstatus_to_exitcode(status) % 256


def _become(job: Mapping[str, Any]) -> NoReturn:
    try:
        if job["user"]:
            os.setgroups([])
            os.setgid(job["user"])
            os.setuid(job["user"])
        os.umask(0o022)
        os.chdir(job["cwd"])
        os.execvpe(job["command"][0], job["command"], job["env"])  # noqa: S606
    except OSError as error:
        print(f"{job['command'][0]}: {error.strerror}", file=sys.stderr)  # noqa: T201
    finally:
        os._exit(127)


def _import_function(name: str) -> Any:
    """With all of the native builder, because nothing can be imported once the root is another."""
    package = naht.build.native
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
    for late in _LATE:
        importlib.import_module(late)
    module_name, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module_name), attribute)


def _answer(function: Any, argument: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {"result": function(**argument)}
    except NahtError as error:
        return {"error": error_as_json(error)}


if __name__ == "__main__":
    main()
