"""`naht calendar`, `next`, `windows assess`, `windows import`, as people and scripts meet them."""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path
from typing import Any

import icalendar
import jsonschema
import pytest

from naht.cli import prose
from naht.cli.main import main
from naht.domain.release import Position
from naht.releases.explain import _SENTENCES, explain
from naht.releases.next_step import Reason, decide
from tests.builders.releases import PRODUCT, Publisher

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
ON = "2026-09-20"


def ask(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main([*words]) == code
    return capsys.readouterr().out


def document(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ask(capsys, *words, "--json", code=code))
    name = found["schema"].removeprefix("naht.").removesuffix("/1")
    jsonschema.validate(found, json.loads((SCHEMAS / f"{name}.json").read_text()))
    return found


def facts(tmp_path: Path, **fields: object) -> str:
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(fields))
    return str(path)


@pytest.fixture
def no_records(tmp_path: Path) -> str:
    (tmp_path / "records").mkdir()
    return str(tmp_path / "records")


# --- calendar -----------------------------------------------------------------------------------


def test_the_overview_has_a_line_for_each_product(
    capsys: pytest.CaptureFixture[str], no_records: str
) -> None:
    lines = ask(capsys, "calendar", "--on", ON, "--records", no_records).splitlines()
    shown = next(line for line in lines if line.startswith("windows-server-2022-azure")).split()
    assert shown[1:] == ["B+", "H", "H", "B", "H", "?", "B", "H", "B*", "b", "h", "h"]
    assert max(map(len, lines)) <= 80


def test_one_product_release_by_release(
    capsys: pytest.CaptureFixture[str], no_records: str
) -> None:
    shown = ask(
        capsys, "calendar", "--product", "windows-server-2025", "--on", ON, "--records", no_records
    )
    assert "2026.09 B*  unplanned baseline" in shown
    assert "2026.09 B*: a hotpatch was planned for this month." in shown
    assert "2026-10-13  planned     baseline " in shown
    assert "5 restarts so far (2 unplanned), 1 to come" in shown
    table = shown[: shown.index("OOB is")].splitlines()
    assert max(map(len, table)) <= 80


def test_the_calendar_as_a_document(capsys: pytest.CaptureFixture[str], no_records: str) -> None:
    found = document(
        capsys, "calendar", "--year", "2024", "--product", "windows-server-2022-azure",
        "--records", no_records,
    )  # fmt: skip
    (product,) = found["products"]
    assert product["restarts"] == 5
    assert [e["release"]["id"] for e in product["entries"] if e["deviates"]] == ["2024.08 B*"]


def test_an_icalendar_has_an_event_for_each_release_and_plan(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, no_records: str
) -> None:
    output = tmp_path / "c.ics"
    words = ["calendar", "--product", "windows-server-2025", "--ical", "-o", str(output)]
    ask(capsys, *words, "--on", ON, "--records", no_records)
    events = icalendar.Calendar.from_ical(output.read_bytes()).walk("VEVENT")
    by_day = {e.decoded("dtstart"): e for e in events}
    planned = by_day[datetime.date(2026, 10, 13)]
    assert str(planned["status"]) == "TENTATIVE"
    assert str(planned["summary"]).startswith("Restart: ")
    flipped = by_day[datetime.date(2026, 9, 8)]
    assert str(flipped["status"]) == "CONFIRMED"
    assert "a hotpatch was planned" in str(flipped["description"])
    assert not str(by_day[datetime.date(2026, 8, 11)]["summary"]).startswith("Restart")
    assert datetime.date(2026, 9, 14) not in by_day  # an out-of-band standard update: not owed
    assert len({str(e["uid"]) for e in events}) == len(events)


def test_an_event_keeps_its_uid_when_the_plan_becomes_a_record(
    capsys: pytest.CaptureFixture[str], no_records: str
) -> None:
    def uids(day: str) -> set[str]:
        words = ["--product", "windows-server-2025", "--records", no_records, "--on", day]
        shown = ask(capsys, "calendar", "--year", "2026", "--ical", *words)
        return {str(e["uid"]) for e in icalendar.Calendar.from_ical(shown).walk("VEVENT")}

    assert uids("2026-01-01") == uids("2026-12-31")


def test_without_the_library_the_extra_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "icalendar", None)
    assert main(["calendar", "--product", "debian-12", "--ical"]) == 2
    assert "pip install 'naht[calendar]'" in capsys.readouterr().err


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_on_a_terminal_sentences_break_between_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setattr(prose, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    sentence = "It takes 2026.09 B* (KB5124008) with a restart, then a hotpatch without one. " * 3
    prose.write_sentence(sentence, label="next:", style="bold")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert " ".join(" ".join(lines).split()) == f"next: {sentence.strip()}"


def test_piped_a_sentence_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    prose.write_sentence("word " * 100, label="next:")
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_wrong_usage_of_the_calendar(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calendar", "--product", "windows-12"]) == 2
    assert "Did you mean" in capsys.readouterr().err
    assert main(["calendar", "--ical", "--json"]) == 2
    assert main(["calendar", "-o", "x.ics"]) == 2
    assert main(["calendar", "--year", "26"]) == 2
    assert main(["calendar", "--on", "2026-02-30"]) == 2
    assert main(["calendar", "--records", "/nonexistent"]) == 2
    assert main(["calendar", "--ical", "-o", "/nonexistent/c.ics"]) == 2


# --- next ---------------------------------------------------------------------------------------


def test_next_of_a_windows_device_by_its_build(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, no_records: str
) -> None:
    device = facts(
        tmp_path, installation_type="Client", edition_id="Enterprise", build="26100.7781",
        enrolled=True, vbs="running",
    )  # fmt: skip
    words = ["next", "--device", device, "--records", no_records, "--on", "2026-03-14"]
    found = document(capsys, *words)
    assert (found["action"], found["reason"], found["restarts"]) == (
        "hotpatch", "missed-hotpatches", 0,
    )  # fmt: skip
    assert [r["kb"] for r in found["releases"]] == ["KB5084597"]
    assert "taken alone, without a restart" in found["sentence"]
    assert found["sentence"] in ask(capsys, *words)


def test_next_after_a_feature_upgrade_in_a_hotpatch_month(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, no_records: str
) -> None:
    device = facts(tmp_path, product="windows-11-24h2", release="2026.02 H")
    words = ["next", "--device", device, "--records", no_records]
    upgrade = ["--upgrade-to", "windows-11-25h2"]
    found = document(capsys, *words, *upgrade, "--on", "2026-03-20")
    assert (found["track"], found["reason"], found["upgraded_to"]) == (
        "standard", "off-track", "2026.03 S",
    )  # fmt: skip
    at_baseline = document(capsys, *words, *upgrade, "--on", "2026-04-20")
    assert (at_baseline["track"], at_baseline["reason"]) == ("hotpatch", "up-to-date")
    assert main([*words, "--upgrade-to", "debian-12"]) == 2
    assert "after the upgrade" in ask(capsys, *words, *upgrade, "--on", "2026-03-20")


def test_next_that_cannot_be_told_is_exit_4(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, no_records: str
) -> None:
    device = facts(tmp_path, product="debian-12", baseline="2026.10 B", level=1)
    found = document(capsys, "next", "--device", device, "--records", no_records, code=4)
    assert found["reason"] == "nothing-recorded"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"product": "debian-12"},
        {"product": "debian-12", "release": "2020.01 H"},
        {"product": "beos", "baseline": "2026.10 B", "level": 0},
        {"build": "26100.6905", "product": "windows-server-2025"},
        {"build": "26100.6905"},
        {"build": "20348.4405", "installation_type": "Server"},
    ],
)
def test_facts_that_do_not_place_a_device_say_what_is_missing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, no_records: str, fields: dict[str, object]
) -> None:
    device = facts(tmp_path, **fields)
    assert main(["next", "--device", device, "--records", no_records]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert "\nnext:  " in shown


@pytest.mark.parametrize("text", ["[]", "{", '{"level": -1}', '{"build": "26100"}', "[" * 99_999])
def test_malformed_facts_are_exit_3(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str
) -> None:
    path = tmp_path / "facts.json"
    path.write_text(text)
    assert main(["next", "--device", str(path)]) == 3


def test_every_reason_has_its_sentence() -> None:
    assert set(_SENTENCES) == set(Reason.__args__)  # type: ignore[attr-defined]
    publisher = Publisher()
    publisher.publish("planned-baseline", 0)
    publisher.publish("hotpatch", 7)
    publisher.publish("hotpatch", 28)
    today = publisher.day
    frontier = publisher.record().frontier(today)
    for level, words in ((0, "missed one release"), (1, "takes 2025.02 H without"), (2, "up to")):
        position = Position(PRODUCT.name, "hotpatch", "2025.01 B", level)
        assert words in explain(decide(position, frontier), position, PRODUCT, today)


# --- windows ------------------------------------------------------------------------------------


def test_an_assessment_with_a_scanners_claims(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, no_records: str
) -> None:
    device = facts(
        tmp_path, name="srv1", product="windows-server-2025", build="26100.6905",
        installed_kbs=["KB5066835", "KB5070893"], scanner_missing=["KB5070881"], enrolled=True,
    )  # fmt: skip
    words = ["windows", "assess", "--facts", device, "--records", no_records]
    words += ["--missing", "kb5068861", "5073379", "--on", "2025-11-12"]
    found = document(capsys, *words)
    assert (found["train"], found["basis"]) == ("on", "build-and-kb")
    assert found["release"]["kb"] == "KB5070893"
    assert [r["kb"] for r in found["next"]["releases"]] == ["KB5068966"]
    claims = {c["kb"]: (c["missing"], c["reason"], c["install"]) for c in found["claims"]}
    assert claims == {
        "KB5070881": ("false", "parity", ""),
        "KB5068861": ("true", "missing-on-other-track", "KB5068966"),
        "KB5073379": ("false", "not-yet-released", ""),
    }
    shown = ask(capsys, *words)
    assert "On the hotpatch track, at 2025.10 H2 (KB5070893)." in shown


def test_an_assessment_from_what_windows_exports(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, no_records: str
) -> None:
    registry, hotfixes, packages = (tmp_path / n for n in ("cv.reg", "h.csv", "p.txt"))
    registry.write_text(
        "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion]\n"
        '"CurrentBuild"="26100"\n"UBR"=dword:00001af9\n"InstallationType"="Server"\n',
        encoding="utf-16",
    )
    hotfixes.write_text('"HotFixID"\n"KB5066835"\n')
    packages.write_text("Package Identity : Package_for_KB5070881~x\nState : Installed\n")
    found = document(
        capsys, "windows", "assess", "--registry", str(registry), "--hotfixes", str(hotfixes),
        "--packages", str(packages), "--enrolled", "yes", "--on", "2025-10-30",
        "--records", no_records,
    )  # fmt: skip
    assert (found["product"], found["train"]) == ("windows-server-2025", "off")
    assert found["off_since"]["kb"] == "KB5070881"


def test_an_unknown_place_is_exit_4_and_says_what_would_tell(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, no_records: str
) -> None:
    device = facts(tmp_path, product="windows-server-2025", build="26100.6905")
    words = ["windows", "assess", "--facts", device, "--records", no_records]
    assert "installed_kbs" in ask(capsys, *words, code=4)
    assert document(capsys, *words, code=4)["release"] is None


def test_at_a_baseline_both_ways_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, no_records: str
) -> None:
    device = facts(tmp_path, product="windows-server-2025", build="26100.2894")
    words = ["windows", "assess", "--facts", device, "--on", "2025-02-20", "--records", no_records]
    shown = ask(capsys, *words)
    assert "next: It takes 2025.02 H" in shown
    assert "if not enrolled: It takes the standard update 2025.02 S" in shown


def test_assess_without_facts_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["windows", "assess"]) == 2
    assert main(["windows", "assess", "--missing", "KB12"]) == 2
    assert main(["windows"]) == 0
    assert "naht windows import" in capsys.readouterr().out


ROW: dict[str, object] = {
    "date": "2026-10-13", "type": "baseline", "kb": "KB5139999", "build": "26100.34000",
    "product": "windows-server-2025", "confidence": "high",
}  # fmt: skip


def test_an_import_extends_what_the_other_commands_know(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, no_records: str
) -> None:
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([ROW]))
    words = ["windows", "import", str(rows), "--records", no_records]
    dry = document(capsys, *words, "--dry-run")
    assert (dry["path"], len(dry["added"])) == ("", 1)
    assert "1 row added" in ask(capsys, *words)
    assert document(capsys, *words, code=9)["added"] == []
    device = facts(tmp_path, product="windows-server-2025", build="26100.33438", enrolled=True)
    found = document(capsys, "next", "--device", device, "--records", no_records)
    assert [r["kb"] for r in found["releases"]] == ["KB5139999"]


def test_an_import_shows_what_it_changes_and_what_it_does_not_take(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, no_records: str
) -> None:
    rows = tmp_path / "rows.json"
    words = ["windows", "import", str(rows), "--records", no_records]
    rows.write_text(json.dumps([ROW]))
    ask(capsys, *words)
    rows.write_text(json.dumps([ROW | {"build": "26100.34001"}]))
    changed = document(capsys, *words)
    assert changed["changed"][0]["now"]["build"] == "26100.34001"
    rows.write_text(json.dumps([ROW | {"build": "26100.34002", "confidence": "low"}]))
    shown = ask(capsys, *words, code=9)
    assert "stays (high)" in shown
    assert "not taken (low)" in shown


def test_an_import_that_would_contradict_itself_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, no_records: str
) -> None:
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([ROW, ROW | {"kb": "KB5139998"}]))  # two baselines on one day
    assert main(["windows", "import", str(rows), "--records", no_records]) == 3
    assert list(Path(no_records).iterdir()) == []
