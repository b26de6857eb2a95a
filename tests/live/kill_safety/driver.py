"""Runs one engine operation with the fault-injection core: dies at step NAHT_FAULT_STEP.

Usage: driver.py CORE apply|revert HOTPATCH PID
"""

from __future__ import annotations

# ruff: noqa: PLC0415  (the core is exchanged before the engine is imported)
import importlib.machinery
import importlib.util
import sys
from pathlib import Path


def install_core(path: str) -> None:
    loader = importlib.machinery.ExtensionFileLoader("naht._core", path)
    spec = importlib.util.spec_from_file_location("naht._core", path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules["naht._core"] = module


def main(core: str, operation: str, hotpatch: str, pid: str) -> None:
    import naht

    install_core(core)
    naht._core = sys.modules["naht._core"]
    from naht.hotpatch.container import read_hotpatch
    from naht.hotpatch.verified import accept_unsigned
    from naht.live.engine import RetryPolicy
    from naht.live.native.engine import NativeEngine
    from naht.live.native.procfs import read_key

    verified = accept_unsigned(read_hotpatch(Path(hotpatch)))
    engine, key, retry = NativeEngine(), read_key(int(pid)), RetryPolicy(attempts=60)
    if operation == "apply":
        outcome = engine.apply(verified, key, retry=retry, dry_run=False)
    else:
        outcome = engine.revert(verified.manifest.id, key, retry=retry, dry_run=False)
    print(outcome.outcome, outcome.cause)


if __name__ == "__main__":
    main(*sys.argv[1:])
