"""What the host of this test runs: packages of the distribution in the versions before their
security updates, and what is upgraded when. Pure data.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Update:
    source: str
    packages: tuple[str, ...]
    old: str
    new: str


MEMCACHED = Update("memcached", ("memcached",), "1.6.18-1", "1.6.18-1+deb12u1")
LIBEVENT = Update(
    "libevent", ("libevent-2.1-7",), "2.1.12-stable-8", "2.1.12-stable-8+deb12u1"
)  # fmt: skip
XZ = Update("xz-utils", ("liblzma5",), "5.4.1-1+deb12u1", "5.4.1-1+deb12u2")
REDIS = Update(
    "redis", ("redis-server", "redis-tools"), "5:7.0.15-1~deb12u7", "5:7.0.15-1~deb12u10"
)
UPDATES = (MEMCACHED, LIBEVENT, XZ, REDIS)
# Those whose hotpatches are built; nothing else of the list has changed code that runs here.
AGAIN = "libssl3"  # installed again as it is
BUILT = (XZ, REDIS, LIBEVENT)
TOOLS = ("needrestart", "python3", "libffi8", "iproute2", "procps", "util-linux", "adduser")
