"""Writes docs/schemas/*.json, the JSON Schemas of what `--json` prints, from the code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from naht.cli.schemas import SCHEMAS, json_schema

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "schemas"


def schema_text(name: str) -> str:
    return json.dumps(json_schema(name), indent=2, sort_keys=True) + "\n"


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in SCHEMAS:
        (FOLDER / f"{name}.json").write_text(schema_text(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
