"""What people are shown of a host cannot command their terminal, whoever wrote it."""

from __future__ import annotations

import pytest

from naht.cli.findings import print_old_files
from naht.domain.host import OldFile
from naht.domain.package import Package
from naht.domain.process import ProcessKey


def test_a_package_of_a_container_commands_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    owner = Package(
        name="evil\x1b[2J", version="1\x1b]0;owned\x07", architecture="amd64", source="evil",
        source_version="1",
    )  # fmt: skip
    print_old_files(
        [OldFile(key=ProcessKey(1, 1), command="x", kind="data", path="/x", package=owner)]
    )
    shown = capsys.readouterr().out
    assert "evil" in shown
    assert not {"\x1b", "\x07"} & set(shown)
