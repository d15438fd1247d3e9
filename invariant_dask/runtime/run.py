"""What one execution did: the plans it followed, what happened to each node, the values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from invariant_dask.plan.plan import Decision, Plan
from invariant_dask.plan.program import Program
from invariant_dask.runtime.handle import Outcome
from invariant_dask.store.backend import Missed


@dataclass
class Run:
    """One execution: the plan that was followed, what happened to each node, the values."""

    id: str
    program: Program
    started: int
    """Nanoseconds since the epoch."""
    seconds: float = 0.0
    values: dict[str, Any] = field(default_factory=dict)
    """Sealed value of each output."""
    plans: list[Plan] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """What happened to the nodes that got a task, by planned digest in hex."""

    missed: list[Missed] = field(default_factory=list)
    """What tiers of a chain do not have, though it was published in this run or before it."""

    @property
    def plan(self) -> Plan:
        """The plan that was followed; the first one, if it had to be made anew."""
        return self.plans[0]

    def ran(self) -> list[str]:
        """Return the ids of the nodes whose op was called."""
        return self._with("ran")

    def _with(self, kind: str) -> list[str]:
        hits = {digest for digest, outcome in self.outcomes.items() if outcome.kind == kind}
        steps = self.program.steps
        return [n for n, i in self.program.index.items() if steps[i].planned.hex() in hits]

    def counts(self) -> dict[str, int]:
        """Return how many nodes `ran`, were `reused` and were `pruned`."""
        planned = self.plan.counts()
        ran = len(self.ran())
        pruned = planned[Decision.PRUNED]
        total = len(self.program.index)
        return {"ran": ran, "reused": total - ran - pruned, "pruned": pruned}

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {what}" for what, count in self.counts().items())
        return f"<Run {self.id[:8]}: {counts} in {self.seconds:.2f} s>"
