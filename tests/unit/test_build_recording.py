from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naht.build.native.recording import read_records
from naht.build.native.toolchain import Recorder
from naht.errors import HostileInputError


def encode(*pairs: tuple[str, str]) -> bytes:
    return b"".join(f"{k}\0{v}\0".encode("utf-8", "surrogateescape") for k, v in pairs)


def recorder(folder: Path) -> Recorder:
    (folder / "records").mkdir(exist_ok=True)
    return Recorder(folder, ())


HEAD = (("kind", "driver"), ("tool", "/usr/bin/gcc"), ("cwd", "/b"))


def test_a_record_is_read_as_written(tmp_path: Path) -> None:
    own = recorder(tmp_path)
    record = encode(
        *HEAD, ("arg", "-c"), ("arg", "copy"), ("arg", ""), ("env", "A=b=c"), ("env", "odd"),
        ("response", "flags"), ("copy", "f1"), ("status", "0"),
        ("output", "../a.o"), ("copy", "f2"),
    )  # fmt: skip
    (own.records / "2").write_bytes(record)
    (own.records / "1").write_bytes(encode(*HEAD, ("status", "256")))
    (own.records / ".3").write_bytes(b"unfinished")
    first, second = read_records(own, own.records)
    assert (first.succeeded, second.succeeded) == (False, True)
    assert second.arguments == ("-c", "copy", "")
    assert second.environment == {"A": "b=c"}
    assert [(k.path, k.copy) for k in second.responses] == [(Path("/b/flags"), own.files / "f1")]
    assert [(k.path, k.copy) for k in second.outputs] == [(Path("/a.o"), own.files / "f2")]


@pytest.mark.parametrize(
    "raw",
    [b"", b"kind", b"kind\0driver", encode(("kind", "other"), ("cwd", "/")),
     encode(("kind", "driver"), ("cwd", "relative"))],
)  # fmt: skip
def test_a_malformed_record_is_refused(tmp_path: Path, raw: bytes) -> None:
    own = recorder(tmp_path)
    (own.records / "1").write_bytes(raw)
    with pytest.raises(HostileInputError):
        read_records(own, own.records)


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8"))))
def test_arguments_survive(tmp_path_factory: pytest.TempPathFactory, arguments: list[str]) -> None:
    own = recorder(tmp_path_factory.mktemp("records"))
    (own.records / "1").write_bytes(encode(*HEAD, *(("arg", a) for a in arguments)))
    assert read_records(own, own.records)[0].arguments == tuple(arguments)
