"""Our order of versions is dpkg's."""

from __future__ import annotations

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from naht.build.debian.versions import version_key

PART = st.text("019aZ.+~", max_size=6)
VERSION = st.builds(
    lambda epoch, upstream, revision: f"{epoch}1{upstream}{revision}",
    st.sampled_from(["", "0:", "2:"]),
    PART,
    st.one_of(st.just(""), PART.map(lambda text: f"-{text}1")),
)


@settings(max_examples=150)
@given(VERSION, VERSION)
def test_like_dpkg(one: str, other: str) -> None:
    keys = version_key(one), version_key(other)
    ours = 0 if keys[0] == keys[1] else -1 if keys[0] < keys[1] else 1
    assert ours == dpkg_order(one, other)


def dpkg_order(one: str, other: str) -> int:
    for relation, meaning in (("lt", -1), ("eq", 0)):
        command = ["dpkg", "--compare-versions", one, relation, other]
        if subprocess.run(command, check=False).returncode == 0:
            return meaning
    return 1
