"""The command `naht`, run as its users run it: a process of its own, on the host, that knows
nothing but PIDs and the hotpatch file."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.corpus.processes import Snapshot, runs
from scripts.corpus.results import Check, Refusal

_PATIENCE = 120.0
_TRIES = 4  # of an apply that finds no quiet moment; each makes many attempts by itself
_VISITS = 10  # until the memory is given back


@dataclass(frozen=True)
class Naht:
    hotpatch: Path
    build_id: str

    def apply(self, pids: Sequence[int], check: Check) -> str:
        """The hotpatch's id when all went well; else "", and the check says why."""
        for attempt in range(_TRIES):
            answers = self._run("apply", str(self.hotpatch), "--unsigned-dev", "--pid", pids)
            bad = [a for a in answers if a["outcome"] not in ("applied", "already-applied")]
            if not any(a["outcome"] == "busy" for a in bad):
                break
            check.notes.append(f"apply {attempt + 1}: busy")
        for answer in bad:
            _tell(answer, check)
        if bad:
            return ""
        self._measure(answers, check)
        return str(answers[0]["hotpatch"])

    def check_active(self, hotpatch_id: str, pids: Sequence[int], check: Check) -> None:
        """As the processes' own memory says."""
        for process in self._run("status", "--pid", pids):
            states = {h["id"]: h["state"] for h in process.get("hotpatches", ())}
            if states.get(hotpatch_id) != "active":
                check.problems.append(f"status says {states or process.get('error')}, not active")

    def revert(
        self, hotpatch_id: str, pids: Sequence[int], check: Check, *, may_be_busy: bool = False
    ) -> bool:
        """`may_be_busy`: a function that stays on the stack (a main that is at its end) is no
        problem; then nothing was reverted, and the answer is False."""
        for visit in range(_VISITS):
            left = [pid for pid in pids if runs(pid)]
            answers = self._run("revert", hotpatch_id, "--pid", left) if left else []
            bad = [a for a in answers if a["outcome"] == "busy"]
            kept = [a for a in answers if a["outcome"] == "reverted-memory-kept"]
            if not bad and not kept:
                break
            time.sleep(0.05 * (visit + 1))
        if bad and may_be_busy:
            check.notes.append(f"reverted in another run: {_text(bad[0])}")
            return False
        for answer in answers:
            if answer["outcome"] not in ("reverted", "not-applied", "reverted-memory-kept"):
                check.problems.append(f"revert: {_text(answer)}")
        if kept:
            check.notes.append("the hotpatch's memory was not given back while we looked")
        return True

    def compare(
        self, before: Snapshot, pid: int, check: Check, *, quiet: bool, kept: bool = False
    ) -> None:
        now = Snapshot.of(pid, self.build_id)
        differences = [
            d for d in before.differences(now, quiet=quiet) if not (kept and "still mapped" in d)
        ]
        check.reverted = not differences
        check.problems += [f"after revert: {difference}" for difference in differences]

    @staticmethod
    def _measure(answers: Sequence[dict[str, Any]], check: Check) -> None:
        check.processes = len(answers)
        check.threads = max(a.get("threads", 0) for a in answers)
        check.functions = max(a.get("functions", 0) for a in answers)
        check.attempts = max(a.get("attempts", 0) for a in answers)
        check.pause_ns = max(a.get("pause_ns", 0) for a in answers)
        check.memory_bytes = max(a.get("memory_bytes", 0) for a in answers)
        check.notes += sorted({n for a in answers for n in a.get("notes", ())})

    @staticmethod
    def _run(*arguments: str | Sequence[int]) -> list[dict[str, Any]]:
        words = [sys.executable, "-m", "naht"]
        for argument in arguments:
            words += [argument] if isinstance(argument, str) else map(str, argument)
        try:
            done = subprocess.run(
                [*words, "--json"], capture_output=True, timeout=_PATIENCE, check=False
            )
            answer = json.loads(done.stdout)
        except subprocess.TimeoutExpired:
            return [{"outcome": "failed", "cause": f"{words[3]} took over {_PATIENCE:.0f} s"}]
        except ValueError:
            said = (done.stderr + done.stdout).decode(errors="replace")[-500:]
            cause = f"{words[3]} ended with {done.returncode}, and no JSON: {said}"
            return [{"outcome": "failed", "cause": cause}]
        if "processes" in answer:
            return list(answer["processes"])
        return [{"outcome": "failed", **answer.get("error", answer)}]


def _tell(answer: dict[str, Any], check: Check) -> None:
    if answer["outcome"] in ("refused", "busy"):
        check.refusal = Refusal(
            answer.get("reason") or answer["outcome"], answer.get("cause", ""),
            answer.get("next_step", ""), where="live",
        )  # fmt: skip
        if check.outcome != "failed":
            check.outcome = "refused"
        return
    check.outcome = "failed"
    check.problems.append(f"apply: {_text(answer)}")


def _text(answer: dict[str, Any]) -> str:
    return " ".join(str(answer.get(k, "")) for k in ("outcome", "reason", "cause")).strip()
