from __future__ import annotations

from pathlib import Path

import pytest

from naht.errors import UsageError
from scripts.corpus.package_data import PackageData, proves, read_driver

DRIVERS = Path(__file__).parents[1] / "corpus/drivers"


def test_all_data_of_the_checkout_can_be_read() -> None:
    folders = [folder for folder in DRIVERS.iterdir() if folder.is_dir()]
    assert folders
    for folder in folders:
        data = PackageData.of(folder)
        for daemon in data.daemons:
            assert (folder / daemon.client).is_file()


def test_a_package_without_data(tmp_path: Path) -> None:
    assert PackageData.of(tmp_path / "none") == PackageData(None)


def driver(tmp_path: Path, header: str) -> Path:
    path = tmp_path / "decode.c"
    path.write_text(f'{header}\n#include "driver.h"\n/* object: nothing */\n')
    return path


def test_the_header_of_a_driver(tmp_path: Path) -> None:
    header = (
        "/* object: libtiff.so.6* tiff.so* (both)\n * link: -ltiff -lm\n * proves: A.patch\n */"
    )
    found = read_driver(driver(tmp_path, header))
    assert found.objects == ("libtiff.so.6*", "tiff.so*")
    assert found.link == ("-ltiff", "-lm")
    assert found.is_for("libtiff.so.6.0.0", "A.patch")
    assert found.is_for("libtiff.so.6.0.0", "security/A.patch")
    assert not found.is_for("libtiff.so.6.0.0", "B.patch")
    assert not found.is_for("libjpeg.so", "A.patch")


def test_a_driver_that_says_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        read_driver(driver(tmp_path, "/* a driver */"))


def test_other_c_files_belong_to_daemons(tmp_path: Path) -> None:
    (tmp_path / "server.c").write_text("int main(void) { return 0; }")
    assert PackageData.of(tmp_path).drivers == ()


def test_a_driver_without_proof_is_for_every_patch(tmp_path: Path) -> None:
    found = read_driver(driver(tmp_path, "/* object: a.so */"))
    assert found.is_for("a.so", "anything")


@pytest.mark.parametrize("text", ['{"run": []}', '{"runs": [{"argument": 1}]}', "{", '{"runs": 1}'])
def test_slips_in_runs_are_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "runs.json").write_text(text)
    with pytest.raises(UsageError):
        PackageData.of(tmp_path)


def test_patches_are_named_with_or_without_their_folder() -> None:
    assert proves(("CVE-*.patch",), "CVE-1.patch")
    assert proves(("CVE-1.patch",), "debian/CVE-1.patch")
    assert not proves((), "CVE-1.patch")
