"""Every stable refusal code in the code is explained to people, and no other code is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "patch_author_guide.md"
MATRIX = ROOT / "docs" / "support_matrix.md"
REPOSITORY = ROOT / "docs" / "repository.md"

# What makes a refusal, and gives its code as the first argument.
MAKERS = {
    "BuildRefusedError", "TargetRefusedError", "Refusal", "RefusalText", "add", "_refuse", "refuse",
    "UntrustedError", "refused",
}  # fmt: skip
_CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def codes_in(folder: str) -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "src" / "naht" / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and maker(node) in MAKERS and len(node.args) >= 2:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found.add(first.value)
    return {code for code in found if _CODE.fullmatch(code)}


def maker(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def codes_of_tables(document: Path) -> set[str]:
    """Codes in the first or last cell of table rows that hold nothing but codes."""
    found: set[str] = set()
    for line in document.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line[:1] == "|" else []
        for cell in (cells[:1] + cells[-1:]) if len(cells) > 1 else []:
            if re.fullmatch(r"`[^`]+`(, `[^`]+`)*", cell):
                found |= set(re.findall(r"`([a-z0-9-]+)`", cell))
    return found


@pytest.mark.parametrize(
    ("folder", "document"), [("build", GUIDE), ("live", MATRIX), ("releases", REPOSITORY)]
)
def test_codes_and_documents_agree(folder: str, document: Path) -> None:
    in_code, in_document = codes_in(folder), codes_of_tables(document)
    assert in_code - in_document == set(), f"{document.name} does not explain these"
    assert in_document - in_code == set(), f"{document.name} explains what no longer exists"
