"""Frozen control groups, from recorded texts of both versions of the hierarchy."""

from __future__ import annotations

import pytest

from naht.live.native.cgroups import GroupMount, frozen_group, parse_mounts

HYBRID = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
36 31 0:33 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
37 31 0:34 / /sys/fs/cgroup/free\\040zer rw,relatime shared:9 - cgroup cgroup rw,freezer
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
"""
CONTAINER = "50 49 0:26 /docker/ab /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n"

V1, V2 = "/sys/fs/cgroup/free zer", "/sys/fs/cgroup/unified"
GROUPS = (
    "9:name=systemd:/\n6:cpuset,freezer:/docker/ab\n4:memory:/process\n0::/system.slice/a.service\n"
)


def frozen(files: dict[str, str], groups: str = GROUPS, mountinfo: str = HYBRID) -> str:
    return frozen_group(groups, parse_mounts(mountinfo), lambda path: files.get(path, ""))


def test_mounts() -> None:
    assert parse_mounts(HYBRID) == (GroupMount(1, "/", V1), GroupMount(2, "/", V2))
    assert parse_mounts(CONTAINER) == (GroupMount(2, "/docker/ab", "/sys/fs/cgroup"),)
    assert parse_mounts("garbage\n\n1 - cgroup2 x y\n") == ()


@pytest.mark.parametrize(
    ("files", "group"),
    [
        ({}, ""),
        ({f"{V1}/docker/ab/freezer.state": "THAWED\n"}, ""),
        ({f"{V1}/docker/ab/freezer.state": "FROZEN\n"}, "/docker/ab"),
        ({f"{V1}/docker/ab/freezer.state": "FREEZING\n"}, "/docker/ab"),
        ({f"{V1}/docker/freezer.state": "FROZEN\n"}, ""),  # the group's own file repeats it
        ({f"{V2}/system.slice/a.service/cgroup.events": "populated 1\nfrozen 0\n"}, ""),
        (
            {f"{V2}/system.slice/a.service/cgroup.events": "populated 1\nfrozen 1\n"},
            "/system.slice/a.service",
        ),
        ({f"{V2}/system.slice/a.service/cgroup.freeze": "1\n"}, "/system.slice/a.service"),
        ({f"{V2}/system.slice/cgroup.freeze": "1\n"}, "/system.slice/a.service"),
        ({f"{V2}/system.slice/cgroup.freeze": "0\n"}, ""),
    ],
)
def test_which_files_decide(files: dict[str, str], group: str) -> None:
    assert frozen(files) == group


def test_a_hierarchy_that_is_mounted_in_part() -> None:
    inside, outside = "0::/docker/ab/worker\n", "0::/docker/abc\n"
    files = {"/sys/fs/cgroup/worker/cgroup.freeze": "1", "/sys/fs/cgroup/cgroup.freeze": "1"}
    assert frozen(files, inside, CONTAINER) == "/docker/ab/worker"
    assert frozen(files, outside, CONTAINER) == ""


@pytest.mark.parametrize("path", ["/../other", "/../../etc"])
def test_a_group_outside_of_our_own_is_not_guessed(path: str) -> None:
    files = {f"{V2}{path}/cgroup.freeze": "1", f"{V2}{path}/cgroup.events": "frozen 1"}
    assert frozen(files, f"0::{path}\n") == ""


@pytest.mark.parametrize("groups", ["", "\n", "0", "0:", ":::", "1:freezer"])
def test_damaged_group_lists(groups: str) -> None:
    assert frozen({f"{V2}/cgroup.freeze": "0"}, groups) == ""
