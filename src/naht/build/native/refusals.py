"""What a build was refused for, gathered so that the author sees all of it at once.

Owns the switches by which a human may overrule a refusal, and the wording of the whole.
It decides nothing by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from naht.errors import BuildRefusedError, UsageError
from naht.hotpatch.manifest import Allowance

MAX_LINES = 20
ALLOWED_KINDS = ("layout", "data", "constructor", "ownership")


@dataclass(frozen=True)
class JudgeOptions:
    """What the author vouches for; each name must turn out to be needed."""

    allow_layout: frozenset[str] = frozenset()
    allow_data: frozenset[str] = frozenset()
    allow_constructor: frozenset[str] = frozenset()
    allow_ownership: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: str
    cause: str
    next_step: str
    where: str


@dataclass
class Refusals:
    options: JudgeOptions
    found: list[Refusal] = field(default_factory=list)
    allowances: list[Allowance] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, reason: str, cause: str, next_step: str, *, where: str = "") -> None:
        refusal = Refusal(reason, cause, next_step, where)
        if refusal not in self.found:
            self.found.append(refusal)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def unless_allowed(self, switch: str, subject: str, refusal: Refusal) -> None:
        """Records the refusal, or the author's word against it."""
        allowed = getattr(self.options, switch.removeprefix("--").replace("-", "_"))
        if subject not in allowed:
            self.add(refusal.reason, refusal.cause, refusal.next_step, where=refusal.where)
            return
        allowance = Allowance(switch=switch, subject=subject, cause=refusal.cause)
        if allowance not in self.allowances:
            self.allowances.append(allowance)

    def finish(self) -> tuple[Allowance, ...]:
        """Raises what was found; without refusals, gives the switches that were used."""
        if self.found:
            raise self._combined()
        self._refuse_unused_switches()
        return tuple(sorted(self.allowances, key=lambda a: (a.switch, a.subject, a.cause)))

    def _combined(self) -> BuildRefusedError:
        first = self.found[0]
        causes = list(dict.fromkeys(r.cause for r in self.found))
        steps = list(dict.fromkeys(r.next_step for r in self.found))
        if len(causes) > MAX_LINES:
            causes = [*causes[: MAX_LINES - 1], f"… and {len(causes) - MAX_LINES + 1} more."]
        return BuildRefusedError(
            first.reason, "\n".join(causes), "\n".join(steps[:MAX_LINES]), where=first.where
        )

    def _refuse_unused_switches(self) -> None:
        used = {(a.switch, a.subject) for a in self.allowances}
        for kind in ALLOWED_KINDS:
            switch, names = f"--allow-{kind}", getattr(self.options, f"allow_{kind}")
            for name in sorted(names):
                if (switch, name) not in used:
                    raise UsageError(
                        f"{switch} {name} was given, but nothing about {name} is refused.",
                        f"Leave out {switch} {name}, or correct the name.",
                    )
