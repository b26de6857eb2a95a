"""A daemon that serves clients while all its processes are patched and reverted. It, and they, must
not notice; the hole must close in the same processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from scripts.corpus.held import prepare, wait_until
from scripts.corpus.live_root import Captured, LiveRoot, ended
from scripts.corpus.package_data import Daemon, PackageData, ProofOfDaemon, proves
from scripts.corpus.processes import Snapshot, map_object
from scripts.corpus.results import Check, Proof
from scripts.corpus.target import Target

_TO_ANSWER = 30.0
_TO_STOP = 10.0
_UNDER_LOAD = 0.7  # seconds before, between and after


class DaemonTroubleError(Exception):
    pass


def check_daemon(target: Target, daemon: Daemon) -> Check:
    check = Check("daemon", daemon.name)
    began = time.monotonic()
    wanted = tuple(p for p in daemon.proofs if proves(p.proves, target.patch))
    try:
        with serving(target.old, daemon, target.data) as served:
            observed = _patch_under_load(target, served, wanted, check)
        if wanted and check.outcome == "live" and not check.problems:
            _prove(target, daemon, wanted[0], observed, check)
    except DaemonTroubleError as error:
        check.problems.append(str(error))
    if check.problems:
        check.outcome = "failed"
    check.seconds = time.monotonic() - began
    return check


@dataclass(frozen=True)
class Served:
    root: LiveRoot
    client: Sequence[str]
    environment: Mapping[str, str]

    def ask(self, *arguments: str) -> tuple[int, str]:
        try:
            done = subprocess.run(
                [*self.client, *arguments], env=dict(self.environment), capture_output=True,
                timeout=_TO_ANSWER, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return -1, f"no answer in {_TO_ANSWER:.0f} s"
        said = done.stdout.decode(errors="replace").strip()
        return done.returncode, said or done.stderr.decode(errors="replace").strip()[-300:]

    def observe(self, proof: ProofOfDaemon) -> str:
        status, said = self.ask(*proof.arguments)
        if status:
            raise DaemonTroubleError(f"the client's proof ended with {status}: {said}")
        return said[:300]

    @contextmanager
    def load(self, answer: dict[str, Any]) -> Iterator[None]:
        process = subprocess.Popen(
            [*self.client, "load"], env=dict(self.environment), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            yield
            process.terminate()
            said, errors = process.communicate(timeout=_TO_STOP)
            try:
                answer.update(json.loads(said))
            except ValueError as error:
                text = errors.decode(errors="replace")[-300:]
                raise DaemonTroubleError(f"the client said no JSON: {text}") from error
        except subprocess.TimeoutExpired as error:
            raise DaemonTroubleError("the client does not end") from error
        finally:
            process.kill()
            process.communicate()


@contextmanager
def serving(root: LiveRoot, daemon: Daemon, package: PackageData) -> Iterator[Served]:
    prepare(root, daemon.prepare)
    data = package.directory
    assert data is not None
    enter = ["nsenter", f"--target={root.init}", "--net", "--"]
    environment = {
        **os.environ, "NAHT_CORPUS_DATA": str(data), "NAHT_CORPUS_SCRATCH": str(root.scratch),
    }  # fmt: skip
    served = Served(root, [*enter, sys.executable, str(data / daemon.client)], environment)
    with Captured(root.outside) as files:
        process = root.start(
            [f"/{daemon.program}", *daemon.arguments], stdout=files.output, stderr=files.errors,
            environment=daemon.environment,
        )  # fmt: skip
        with ended(process):
            _wait_until_ready(served, process, files, daemon)
            yield served
            _stop(root, process, daemon)
            root.end_all()


def _wait_until_ready(
    served: Served, process: subprocess.Popen[bytes], files: Captured, daemon: Daemon
) -> None:
    ready = wait_until(
        lambda: process.poll() is not None or served.ask("ready")[0] == 0, daemon.seconds_to_start
    )
    if not ready or process.poll() is not None:
        said = files.finished(None)
        text = (said.output + said.errors).decode(errors="replace")[-500:]
        served.root.end_all()
        raise DaemonTroubleError(f"{daemon.name} does not answer (status {process.poll()}): {text}")


def _patch_under_load(
    target: Target, served: Served, wanted: Sequence[ProofOfDaemon], check: Check
) -> list[str]:
    """What the first proof showed: old, patched, reverted."""
    naht = target.naht
    seen = [served.observe(p) for p in wanted[:1]]
    if not _users(served, target):
        check.outcome = "unused"
        check.notes.append("no process of it has the object mapped")
        return seen
    answer: dict[str, Any] = {}
    with served.load(answer):
        time.sleep(_UNDER_LOAD)
        pids = _users(served, target)  # now, because some daemons fork for each connection
        before = {pid: Snapshot.of(pid, target.build_id) for pid in pids}
        if hotpatch := naht.apply(pids, check):
            time.sleep(_UNDER_LOAD)
            naht.check_active(hotpatch, pids, check)
            seen += [served.observe(p) for p in wanted[:1]]
            naht.revert(hotpatch, pids, check)
            seen += [served.observe(p) for p in wanted[:1]]
            time.sleep(_UNDER_LOAD)
            _compare(target, before, check)
    _judge_load(answer, check)
    return seen


def _users(served: Served, target: Target) -> list[int]:
    return [pid for pid in served.root.processes() if _maps(pid, target.build_id)]


def _maps(pid: int, build_id: str) -> bool:
    try:
        return map_object(pid, build_id)
    except Exception:  # noqa: BLE001  it ended meanwhile
        return False


def _compare(target: Target, before: Mapping[int, Snapshot | None], check: Check) -> None:
    kept = any("not given back" in note for note in check.notes)
    for pid, snapshot in before.items():
        if snapshot is None or not _maps(pid, target.build_id):
            check.problems.append(f"process {pid} is gone, or has another image")
            continue
        target.naht.compare(snapshot, pid, check, quiet=False, kept=kept)


def _judge_load(answer: Mapping[str, Any], check: Check) -> None:
    check.requests = int(answer.get("requests", 0))
    if answer.get("errors"):
        check.problems.append(f"clients saw {answer['errors']} errors in {check.requests} requests")
    if not check.requests:
        check.problems.append("clients were never served")
    check.notes.append(f"worst answer under load: {answer.get('worst_ms')} ms")


def _prove(
    target: Target, daemon: Daemon, proof: ProofOfDaemon, observed: Sequence[str], check: Check
) -> None:
    with serving(target.new, daemon, target.data) as served:
        new = served.observe(proof)
    name = " ".join([daemon.name, *proof.arguments])
    old, patched, reverted, *_ = *observed, "", "", ""
    check.proof = Proof(name, old, patched, reverted, new)
    if not check.proof.closed:
        check.problems.append(f"the proof shows nothing: {check.proof}")


def _stop(root: LiveRoot, process: subprocess.Popen[bytes], daemon: Daemon) -> None:
    number = getattr(signal, f"SIG{daemon.stop_signal}")
    os.kill(root.host_pid(process), number)
    if not wait_until(lambda: process.poll() is not None, _TO_STOP):
        root.end_all()
