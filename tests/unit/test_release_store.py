"""Records on disk: products of users, releases added to built-in ones, and what is not read."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from naht.domain.release import Product
from naht.errors import HostileInputError, UsageError
from naht.releases.store import (
    MAX_FILES,
    WINDOWS_ROWS,
    RecordFile,
    load_records,
    read_bounded,
    read_record,
    write_imported_rows,
)
from naht.releases.windows.rows import read_rows
from tests.builders.releases import Publisher

TOML = """\
schema = "naht.record/1"

[product]
name = "our-appliance"
title = "Our appliance"
baseline_months = [2, 8]
patch_day = { nth = 3, weekday = 2 }

[[releases]]
id = "2026.02 B"
product = "our-appliance"
type = "planned-baseline"
date = 2026-02-18
baseline = "2026.02 B"
level = 0
restart = "needed"
"""
ROW = {
    "date": "2026-10-13", "type": "baseline", "kb": "KB5139999", "build": "26100.34000",
    "product": "windows-server-2025", "confidence": "high",
}  # fmt: skip


def test_products_are_built_in_without_a_directory(tmp_path: Path) -> None:
    records = load_records(tmp_path / "missing")
    assert set(records) == {
        "debian-12", "windows-11-24h2", "windows-11-25h2", "windows-server-2025",
        "windows-server-2022-azure", "windows-server-2022",
    }  # fmt: skip
    assert records["debian-12"].releases == ()


def test_a_user_defines_a_product_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "appliance.toml").write_text(TOML)
    record = load_records(tmp_path)["our-appliance"]
    assert record.product.baseline_months == (2, 8)
    assert [release.id for release in record.releases] == ["2026.02 B"]


def test_a_json_record_reads_as_it_was_written(tmp_path: Path) -> None:
    publisher = Publisher()
    publisher.publish("planned-baseline")
    publisher.publish("hotpatch")
    file = RecordFile(product=publisher.product, releases=tuple(publisher.releases))
    path = tmp_path / "test.json"
    path.write_bytes(msgspec.json.encode(file))
    assert read_record(path).releases == tuple(publisher.releases)


def test_a_file_adds_releases_to_a_built_in_product(tmp_path: Path) -> None:
    publisher = Publisher(Product(name="debian-12", title="Debian 12"))
    publisher.publish("planned-baseline")
    file = RecordFile(product=publisher.product, releases=tuple(publisher.releases))
    (tmp_path / "debian.json").write_bytes(msgspec.json.encode(file))
    assert len(load_records(tmp_path)["debian-12"].releases) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bad.toml", "schema = "),
        ("bad.toml", TOML + "surprise = 1\n"),
        ("bad.toml", TOML.replace("2026.02 B", "2026.02 X")),
        ("bad.toml", TOML.replace('product = "our-appliance"', 'product = "another"')),
        ("bad.json", "{}"),
        ("bad.json", "[" * 100_000),
        ("bad.json", '{"schema": "naht.record/2"}'),
    ],
)
def test_a_malformed_file_is_an_error_that_names_it(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(HostileInputError) as refused:
        load_records(tmp_path)
    assert refused.value.where.endswith(name)


def test_imported_rows_extend_the_windows_record(tmp_path: Path) -> None:
    rows = read_rows(json.dumps([ROW]).encode(), "test")
    path = write_imported_rows(tmp_path / "new", rows)
    assert path.name == WINDOWS_ROWS
    assert load_records(tmp_path / "new")["windows-server-2025"].releases[-1].kb == "KB5139999"
    assert [p.name for p in (tmp_path / "new").iterdir()] == [WINDOWS_ROWS]


def test_too_many_files_and_too_large_ones_are_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.txt"
    large.write_bytes(b"x" * 11)
    with pytest.raises(HostileInputError, match="larger"):
        read_bounded(large, 10)
    for number in range(MAX_FILES + 1):
        (tmp_path / f"{number}.toml").touch()
    with pytest.raises(UsageError, match="more than"):
        load_records(tmp_path)


def test_an_unreadable_path_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_bounded(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        write_imported_rows(tmp_path / "file", ())
