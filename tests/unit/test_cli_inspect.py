"""`naht inspect` tells all that a hotpatch says, and shows its code change as assembly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from naht.cli.disassembly import diff_function
from naht.cli.main import main
from naht.elf.file import ElfFile
from naht.hotpatch.container import read_hotpatch
from naht.hotpatch.image import check_image
from tests.builders.small_hotpatch import SmallHotpatch, build_small_hotpatch

pytestmark = pytest.mark.compiler


def test_it_shows_what_the_manifest_says(
    small_hotpatch: SmallHotpatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(small_hotpatch.path)]) == 0
    shown = capsys.readouterr().out
    image = small_hotpatch.manifest.images[0]
    facts = (
        "SMALL-1  level 2  important", "Says no sooner", "CVE-2024-0001, DSA-5000-1",
        "pkg:deb/debian/small@1.2-3", "SMALL-0", "no thread is inside", image.target.build_id,
        "1 to the running object", "source changed", "gcc (Debian) 12.2.0", "make -j2",
        "answer.c (changed)", "A human overrode these refusals:",
        "shadow.patch by Ann, in place of CVE-2024-0001.patch", "As shadow data.",
        "--allow-data limit: It starts at another value.", "1 function with no difference",
    )  # fmt: skip
    for fact in facts:
        assert fact in shown
    (row,) = [line.split() for line in shown.splitlines() if line.startswith("  answer ")]
    function = image.functions[0]
    assert row[:4] == ["answer", "changed", str(function.old_size), str(function.new_size)]


def test_allowances_are_red(
    small_hotpatch: SmallHotpatch,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    main(["inspect", str(small_hotpatch.path)])
    assert "\x1b[1;31m--allow-data limit\x1b[0m" in capsys.readouterr().out


def test_a_title_cannot_command_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = build_small_hotpatch(tmp_path, title="\x1b]0;owned\x07 level 9\ncloses everything")
    assert main(["inspect", str(hostile.path)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\ncloses everything" not in shown


def test_json_holds_the_whole_manifest(
    small_hotpatch: SmallHotpatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(small_hotpatch.path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["digest"] == read_hotpatch(small_hotpatch.path).digest
    assert document["manifest"]["provenance"]["allowances"][0]["subject"] == "limit"


def test_a_damaged_image_is_exit_3(
    small_hotpatch: SmallHotpatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(small_hotpatch.path.read_bytes())
    data[data.index(b"\x7fELF") + 70] ^= 1
    damaged = tmp_path / "damaged.naht"
    damaged.write_bytes(data)
    assert main(["inspect", str(damaged)]) == 3
    assert "Not a hotpatch" in capsys.readouterr().err


def test_the_diff_shows_the_changed_instruction_and_names_the_rest(
    small_hotpatch: SmallHotpatch,
) -> None:
    image = small_hotpatch.manifest.images[0]
    file = read_hotpatch(small_hotpatch.path)
    view = check_image(ElfFile(file.images[image.member]), image)
    lines = diff_function(image.functions[0], image, view)
    texts = {mark: [d.line for d in lines if d.mark == mark] for mark in "-+~ "}
    (before,), (after,) = texts["-"], texts["+"]
    assert "$0x1e" in before.text
    assert "$0x14" in after.text
    (string,) = texts["~"]  # the same instruction, whose string lies in the hotpatch now
    assert string.note == '"too large"'
    # A direct branch to a helper of the running object is the same line, under its name.
    assert any(line.text.endswith("<helper>") for line in texts[" "])


def test_the_printed_diff_is_plain_in_a_pipe(small_hotpatch: SmallHotpatch) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "naht", "inspect", "--diff", small_hotpatch.path],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "\x1b" not in done.stdout
    marks = [line[0] for line in done.stdout.splitlines() if "cmp" in line]
    assert marks == ["-", "+"]


def test_without_a_decoder_the_diff_says_what_to_install(small_hotpatch: SmallHotpatch) -> None:
    program = (
        "import sys\nsys.modules['iced_x86'] = None\nfrom naht.cli.main import main\n"
        f"sys.exit(main(['inspect', '--diff', {str(small_hotpatch.path)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "naht[build]" in done.stderr
