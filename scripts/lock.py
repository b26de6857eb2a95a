"""Writes requirements/{run,repository,build,dev}.txt: every dependency, pinned with the hashes that
the public package index states. It reads pyproject.toml alone and ignores this machine's pip
configuration, so that no local index, folder or host name gets into the files.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# Made by `make lock` from pyproject.toml, for Python 3.11 and later on Linux x86-64.
# Install with: pip install --require-hashes -r requirements/{name}.txt
"""


def main() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    run: list[str] = project["project"]["dependencies"]
    extras: dict[str, list[str]] = project["project"]["optional-dependencies"]
    build = run + extras["build"]
    every = run + [requirement for extra in extras.values() for requirement in extra]
    dev = every + project["dependency-groups"]["dev"] + project["build-system"]["requires"]
    repository = run + extras["repository"]
    for name, requirements in (
        ("run", run), ("repository", repository), ("build", build), ("dev", dev),
    ):  # fmt: skip
        write_lock(name, requirements)
    return 0


def write_lock(name: str, requirements: list[str]) -> None:
    """Keeps the pins that are there and still satisfy; `--upgrade` renews them all."""
    target = ROOT / "requirements" / f"{name}.txt"
    target.parent.mkdir(exist_ok=True)
    command = [
        sys.executable, "-m", "piptools", "compile", "--quiet", "--generate-hashes",
        "--allow-unsafe", "--strip-extras", "--no-header", "--no-annotate",
        "--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-find-links",
        "--output-file", str(target), *sys.argv[1:], "-",
    ]  # fmt: skip
    text = "\n".join(requirements)
    subprocess.run(command, input=text, text=True, check=True, cwd=ROOT, env=neutral_environment())
    body = "".join(
        line for line in target.read_text().splitlines(keepends=True) if not line.startswith("#")
    )
    target.write_text(HEADER.format(name=name) + body)


def neutral_environment() -> dict[str, str]:
    """Without pip's and uv's settings, except where the certificates are."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PIP_", "UV_")) or key == "PIP_CERT"
    }
    return kept | {"PIP_CONFIG_FILE": os.devnull}


if __name__ == "__main__":
    sys.exit(main())
