"""What is found in binary packages, and which packages are refused."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from naht.build.debian.binary_package import MAX_HEADER_SIZE, read_files, read_package
from naht.build.debian.shipped import read_shipped
from naht.errors import HostileInputError
from tests.builders.small_packages import (
    elf,
    hard_link,
    member,
    static_archive,
    symbolic_link,
    tar,
    write_deb,
)

REL, EXEC, DYN, CORE = 1, 2, 3, 4
ID = bytes(range(20))


def test_every_kind_of_code_is_listed(tmp_path: Path) -> None:
    library = elf(DYN, ID)
    deb = write_deb(
        tmp_path / "a.deb",
        [
            member("./usr/lib/libx.so.1", library),
            member("./usr/bin/x", elf(EXEC), 0o4755),
            hard_link("./usr/bin/y", "./usr/bin/x"),
            symbolic_link("./usr/lib/libx.so", "libx.so.1"),
            member("./usr/lib/libx.a", static_archive({"x.o": elf(REL)})),
            member("./usr/lib/crt.o", elf(REL)),
            member("./usr/bin/script", b"#!/bin/sh\necho \x7fELF\n"),
            member("./usr/share/other", library[:18] + b"\x08\x00" + library[20:]),
            member("./usr/share/nothing", b""),
        ],
    )
    shipped = read_shipped([deb], tmp_path / "into")
    assert [(f.name, f.kind) for f in shipped.files] == [
        ("small:usr/lib/libx.so.1", "object"),
        ("small:usr/bin/x", "object"),
        ("small:usr/bin/y", "object"),
        ("small:usr/lib/libx.a", "archive"),
        ("small:usr/lib/crt.o", "relocatable"),
        ("small:usr/share/other", "foreign"),
    ]
    first, second, third = shipped.objects
    assert (first.build_id, first.file.read_bytes()) == (ID.hex(), library)
    assert first.file.name == "libx.so.1"
    assert (second.build_id, second.privileged) == (None, True)
    assert (third.file, third.privileged) == (second.file, True)


def test_packages_of_one_name_in_two_debs_keep_their_own_copies(tmp_path: Path) -> None:
    debs = [
        write_deb(tmp_path / f"{n}.deb", [member("./bin/x", elf(EXEC, ID[n:]))]) for n in (0, 4)
    ]
    one, other = read_shipped(debs, tmp_path / "into").objects
    assert one.file.read_bytes() != other.file.read_bytes()


def test_the_fields_name_the_source_and_what_was_built_in(tmp_path: Path) -> None:
    deb = write_deb(
        tmp_path / "a.udeb", [],
        {"Source": "origin (2:3.1-2)", "Built-Using": "gcc-12 (= 12.2),\n x (= 1)",
         "Static-Built-Using": "x (= 1), y (= 2)"},
    )  # fmt: skip
    package = read_package(deb)
    assert (package.name, package.version) == ("small", "1.0-1")
    assert (package.source, package.source_version) == ("origin", "2:3.1-2")
    assert package.built_using == ("gcc-12 (= 12.2)", "x (= 1)", "y (= 2)")
    assert package.is_udeb


def test_without_a_source_field_the_source_is_the_package(tmp_path: Path) -> None:
    package = read_package(write_deb(tmp_path / "a.deb", []))
    assert (package.source, package.source_version) == ("small", "1.0-1")


@pytest.mark.parametrize("name", ["../x", "./usr/../../x", "/etc/x"])
def test_a_member_that_leaves_the_root_is_refused(tmp_path: Path, name: str) -> None:
    deb = write_deb(tmp_path / "a.deb", [member(name, elf(DYN))])
    with pytest.raises(HostileInputError, match="leaves the root"):
        read_shipped([deb], tmp_path / "into")


def test_a_hard_link_that_leaves_the_root_is_refused(tmp_path: Path) -> None:
    deb = write_deb(tmp_path / "a.deb", [hard_link("./x", "../../etc/shadow")])
    with pytest.raises(HostileInputError, match="leaves the root"):
        read_shipped([deb], tmp_path / "into")


def test_a_link_to_a_file_of_the_host_reads_nothing(tmp_path: Path) -> None:
    deb = write_deb(
        tmp_path / "a.deb",
        [symbolic_link("./bin", "/bin"), hard_link("./x", "./bin/true")],
    )
    assert read_shipped([deb], tmp_path / "into").files == ()


@pytest.mark.parametrize("cut", [200, 1030, 1536])
def test_a_package_that_is_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    deb = write_deb(tmp_path / "a.deb", [member("./x", b"x" * 4000), member("./y", b"y" * 4000)])
    deb.write_bytes(deb.read_bytes()[:-cut])
    with pytest.raises(HostileInputError):
        list(read_files(read_package(deb)))


def test_archives_inside_that_are_cut_short_are_refused(tmp_path: Path) -> None:
    whole = tar([member("./x", elf(DYN)), member("./y", b"y" * 4000)])
    deb = write_deb(tmp_path / "a.deb", whole[:3000])
    with pytest.raises(HostileInputError):
        list(read_files(read_package(deb)))


def test_an_object_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    whole = tar([member("./x.so", elf(DYN) + bytes(8000))])
    deb = write_deb(tmp_path / "a.deb", whole[:3000])
    with pytest.raises(HostileInputError):
        read_shipped([deb], tmp_path / "into")


def test_names_that_would_fill_memory_are_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, MAX_HEADER_SIZE + 1
    raw = info.tobuf(tarfile.GNU_FORMAT) + b"x" * 1024
    with pytest.raises(HostileInputError, match="1 MiB"):
        list(read_files(read_package(write_deb(tmp_path / "a.deb", raw))))


def test_an_extended_header_cannot_change_a_size_to_less_than_nothing(tmp_path: Path) -> None:
    record = b"12 size=-99\n"
    extended = tarfile.TarInfo("pax")
    extended.type, extended.size = tarfile.XHDTYPE, len(record)
    plain, _ = member("./x", b"")
    raw = extended.tobuf(tarfile.USTAR_FORMAT) + record.ljust(512, b"\0")
    raw += plain.tobuf(tarfile.USTAR_FORMAT) + bytes(1024)
    with pytest.raises(HostileInputError):
        list(read_files(read_package(write_deb(tmp_path / "a.deb", raw))))


def test_a_file_that_is_no_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.deb").write_bytes(elf(DYN))
    with pytest.raises(HostileInputError):
        read_package(tmp_path / "a.deb")


@pytest.mark.parametrize("name", ["", "../x", "a b"])
def test_a_package_without_a_proper_name_is_refused(tmp_path: Path, name: str) -> None:
    deb = write_deb(tmp_path / "a.deb", [], {"Package": name})
    with pytest.raises(HostileInputError):
        read_package(deb)


def test_a_file_with_broken_headers_is_listed_as_foreign(tmp_path: Path) -> None:
    broken = bytearray(elf(DYN, ID))
    broken[32:40] = b"\xff" * 8  # where the program headers are
    deb = write_deb(tmp_path / "a.deb", [member("./x.so", bytes(broken))])
    assert [f.kind for f in read_shipped([deb], tmp_path / "into").files] == ["foreign"]
