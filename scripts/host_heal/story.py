"""What happens on the host, in order, and what is measured on the way."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.host_heal import needrestart
from scripts.host_heal.host import Host
from scripts.host_heal.inside import BOX
from scripts.host_heal.plan import AGAIN, LIBEVENT, MEMCACHED, REDIS, XZ, Update
from scripts.host_heal.truth import is_same_code

LIBRARY = "/var/lib/naht/hotpatches"
PROVEN = ("redis", "box", "packer")
SERVICES = (*PROVEN, "memcached")
PATTERNS = {
    "redis": "redis-server .*:6379", "box": "redis-server .*:6380", "memcached": "^memcached ",
    "packer": "packer.py",
}  # fmt: skip
APT = ("apt-get", "-y", "-qq", "-o", "Dpkg::Options::=--force-confold")
QUIET = {"NEEDRESTART_SUSPEND": "1", "DEBIAN_FRONTEND": "noninteractive"}
CROWD = 300
CROWD_CODE = f"""\
import os, signal, ssl, sqlite3, ctypes, lzma, bz2, decimal, curses
for _ in range({CROWD}):
    if not os.fork():
        signal.pause()
print("born", flush=True)
signal.pause()
"""
ROUNDS = 5
Talker = subprocess.Popen[str]


@dataclass
class Look:
    """The host at one moment, through both tools' eyes."""

    when: str
    findings: list[dict[str, Any]]
    needrestart: dict[int, str]
    truly_old: dict[str, bool]  # service → whether it runs code that is not what is installed
    shown: str  # what `naht scan` prints

    def of(self, pid: int) -> list[dict[str, Any]]:
        return [f for f in self.findings if f["key"]["pid"] == pid]

    def is_healed(self, pid: int) -> bool:
        """By what the process itself says: see `prove` for what it does."""
        states = {f["state"] for f in self.of(pid)}
        return "healed" in states and "stale" not in states


@dataclass
class Timing:
    processes: int
    scan: list[tuple[float, float]] = field(default_factory=list)  # seconds, of them CPU
    needrestart: list[tuple[float, float]] = field(default_factory=list)


class Story:
    def __init__(self, host: Host, library: Path) -> None:
        self.host = host
        self.library = library
        self.looks: list[Look] = []
        self.proofs: dict[str, dict[str, str]] = {}
        self.heals: dict[str, dict[str, Any]] = {}
        self.shown: dict[str, str] = {}
        self.pids: dict[str, int] = {}
        self.starts: dict[str, int] = {}
        self.same: dict[str, bool] = {}  # still the process that was started
        self.timings: list[Timing] = []
        self.checks: list[tuple[str, bool]] = []
        self.before = library.parent / "before"

    def run(self) -> None:
        self.host.run("apt-get", "-qq", "update", network=True)
        self.start_services()
        self.keep_old_files()
        self.prove("old packages")
        self.look("before any upgrade")
        self.install_again()
        self.look(f"{AGAIN} installed again, the same version")
        self.upgrade(MEMCACHED)
        self.look("memcached upgraded")
        self.upgrade(LIBEVENT)
        self.upgrade(XZ)
        self.look("libevent and xz upgraded")
        self.prove("upgraded")
        self.heal("heal")
        self.look("healed")
        self.upgrade_with_hook(REDIS)
        self.look("redis upgraded by apt with the hook")
        self.upgrade_box()
        self.look("redis upgraded in the container, too")
        self.heal("the container")
        self.heal("again")
        self.look("all healed")
        self.prove("healed")
        self.check_everything()
        self.measure()

    # --- what happens --------------------------------------------------------------------------

    def start_services(self) -> None:
        host = self.host
        target = host.root / LIBRARY[1:]
        target.mkdir(parents=True, mode=0o755)
        for path in sorted(self.library.glob("*.naht")):
            shutil.copy(path, target)
        for program in ("client.py", "packer.py"):
            shutil.copy(Path(__file__).with_name(program), host.root / "opt")
        self.client = self.start_python("client.py")
        self.packer = self.start_python("packer.py")
        host.run("redis-server", "/etc/redis/redis.conf", "--daemonize", "yes",
                 "--bind", "127.0.0.1", "--dir", "/run", "--pidfile", "/run/r.pid")  # fmt: skip
        self.running = [
            host.start("memcached", "-u", "memcache", "-l", "127.0.0.1"),
            host.start(*host.in_box("/usr/bin/redis-server", "--port", "6380", "--dir", "/run")),
        ]
        ask(self.client, "start")
        self.pids = {name: host.pid_of(PATTERNS[name]) for name in SERVICES}
        self.starts = {name: self.start_time(name) for name in SERVICES}

    def start_python(self, program: str) -> Talker:
        process = self.host.start("/usr/bin/python3", "-I", f"/opt/{program}")
        hear(process)
        return process

    def install_again(self) -> None:
        self.host.run(*APT, "--download-only", "--reinstall", "install", AGAIN, network=True)
        self.host.run(*APT, "--reinstall", "install", AGAIN, **QUIET)

    def upgrade(self, update: Update) -> str:
        packages = [f"{package}={update.new}" for package in update.packages]
        self.host.run(*APT, "--download-only", "install", *packages, network=True)
        done = self.host.run(*APT, "install", *packages, **QUIET)
        print(f"upgraded {update.source} to {update.new}", flush=True)
        return done.output + done.errors

    def upgrade_with_hook(self, update: Update) -> None:
        self.host.naht("heal", "--install-apt-hook", "--unsigned-dev")
        hook = self.host.root / "etc/apt/apt.conf.d/95naht-heal"
        self.shown["hook"] = hook.read_text()
        self.shown["apt"] = self.upgrade(update)
        self.shown["journal"] = ask(self.client, "lines journal")
        self.host.naht("heal", "--remove-apt-hook")
        self.check("apt ran the hook", "✓ applied" in self.shown["apt"])
        self.check("the journal has what the hook said", int(self.shown["journal"]) > 0)
        self.check("the hook is gone again", not hook.exists())

    def upgrade_box(self) -> None:
        """The container's own packages, by its own dpkg."""
        archives = self.host.root / "var/cache/apt/archives"
        for path in archives.glob("redis-*.deb"):
            shutil.copy(path, self.host.root / BOX / "opt")
        script = "dpkg --force-confold -i /opt/*.deb"
        self.host.run("chroot", f"/{BOX}", "sh", "-c", script, **QUIET)
        print("upgraded redis in the container", flush=True)

    def heal(self, when: str) -> None:
        command = ("heal", "--unsigned-dev", "--hotpatches", LIBRARY)
        dry = self.host.naht(*command, "--dry-run", check=False)
        self.shown[f"{when}, dry run"] = dry.output
        self.heals[when] = self.host.naht_json(*command)
        for outcome in self.heals[when]["processes"]:
            name = next((n for n, p in self.pids.items() if p == outcome["key"]["pid"]), "?")
            print(when, name, outcome["hotpatch"], outcome["outcome"], outcome["cause"], flush=True)

    # --- what is seen --------------------------------------------------------------------------

    def look(self, when: str) -> None:
        words = ("scan", "--hotpatches", LIBRARY)
        findings: Any = self.host.naht_json(*words)["findings"]
        shown = self.host.naht(*words).output
        asked = needrestart.ask(self.host)
        truth = {name: self.is_truly_old(name) for name in SERVICES}
        self.looks.append(Look(when, findings, asked.found, truth, shown))
        print(f"--- {when}\n{shown}", flush=True)

    def keep_old_files(self) -> None:
        """A copy of every object that the services have mapped."""
        for name in SERVICES:
            for path in self.mapped(name):
                target = self.before / name / path[1:]
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.top(name) / path[1:], target)

    def is_truly_old(self, name: str) -> bool:
        """By the files alone: some object that it started with is now another on disk."""
        old = self.before / name
        paths = [path for path in old.rglob("*") if path.is_file()]
        now = self.top(name)
        return any(not is_same_code(path, now / path.relative_to(old)) for path in paths)

    def mapped(self, name: str) -> set[str]:
        lines = (self.host.root / f"proc/{self.pids[name]}/maps").read_text().splitlines()
        paths = {line.split(maxsplit=5)[5] for line in lines if "/" in line and " r-xp " in line}
        return {path for path in paths if path.startswith("/usr/")}

    def top(self, name: str) -> Path:
        return self.host.root / BOX if name == "box" else self.host.root

    def prove(self, when: str) -> None:
        self.proofs[when] = {name: self.tell("prove", name) for name in PROVEN}
        serving = {name: self.tell("serves", name) for name in SERVICES}
        self.check(f"{when}: all serve", serving == SERVING)
        print(when, self.proofs[when], flush=True)

    def measure(self) -> None:
        for crowded in (False, True):
            if crowded:
                crowd = self.host.start("/usr/bin/python3", "-I", "-c", CROWD_CODE)
                hear(crowd)
            timing = Timing(len(self.host.run("ps", "-e").output.splitlines()) - 2)
            for _ in range(ROUNDS):
                scan = self.host.naht("scan", "--hotpatches", LIBRARY)
                timing.scan.append((scan.seconds, scan.cpu_seconds))
                asked = needrestart.ask(self.host)
                timing.needrestart.append((asked.seconds, asked.cpu_seconds))
            self.timings.append(timing)
            print(timing, flush=True)

    def start_time(self, name: str) -> int:
        stat = (self.host.root / f"proc/{self.pids[name]}/stat").read_text()
        return int(stat.rpartition(")")[2].split()[19])

    def tell(self, what: str, name: str) -> str:
        """The packer is spoken to directly, the servers through their client."""
        if name == "packer":
            return ask(self.packer, what)
        return ask(self.client, f"{what} {name}")

    # --- what must be so -----------------------------------------------------------------------

    def check(self, what: str, holds: bool) -> None:
        self.checks.append((what, holds))

    def ask_fresh(self) -> dict[str, str]:
        """What processes answer that were started with the new packages."""
        server = self.host.start("/usr/bin/redis-server", "--port", "6381", "--dir", "/run")
        redis = ask(self.client, "prove fresh")
        server.terminate()
        return {
            "redis": redis,
            "box": redis,
            "packer": ask(self.start_python("packer.py"), "prove"),
        }

    def check_everything(self) -> None:
        fresh = self.ask_fresh()
        for name, pid in self.pids.items():
            self.same[name] = self.starts[name] == self.start_time(name)
            self.check(f"{name} is process {pid}, as before", self.same[name])
        for name in PROVEN:
            old, upgraded, new = (
                self.proofs[w][name] for w in ("old packages", "upgraded", "healed")
            )
            self.check(f"{name}: the upgrade alone closed nothing", old == upgraded)
            self.check(f"{name} behaves as the new version: {old} → {new}", new == fresh[name])
        for look in self.looks:
            self.check_look(look)
        again = self.heals["again"]
        done = {outcome["outcome"] for outcome in again["processes"]}
        self.check("a second heal finds nothing to do", "applied" not in done)

    def check_look(self, look: Look) -> None:
        said = {
            name: any(f["state"] in ("stale", "healed") for f in look.of(pid))
            for name, pid in self.pids.items()
        }
        self.check(f"{look.when}: scan is right about every process", said == look.truly_old)

    @property
    def good(self) -> bool:
        return all(holds for _, holds in self.checks)

    def verdict(self) -> str:
        return "\n".join(f"{'ok  ' if holds else 'FAIL'} {what}" for what, holds in self.checks)


def ask(process: Talker, command: str) -> str:
    assert process.stdin
    process.stdin.write(command + "\n")
    process.stdin.flush()
    return hear(process)


def hear(process: Talker) -> str:
    assert process.stdout
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args} ended")
    return line.strip()


SERVING = {
    "redis": "value", "box": "value", "memcached": "value", "packer": "packed and unpacked",
}  # fmt: skip
