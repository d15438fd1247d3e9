"""What a run knows to be stored or not, so that it need not ask the store for each step.

Before a run, the stored records of the ops that will run are read in one go, if they are few. A
resolved digest that is not among them is not stored, until somebody else writes.
"""

from __future__ import annotations

import time
from collections import Counter

from invariant_dask.plan.plan import Decision, Plan
from invariant_dask.store.base import Store
from invariant_dask.store.record import Found

FRESH = 0.1
"""How long, in seconds, what other processes write may go unnoticed."""

_AT_LEAST = 64
_PER_STEP = 2


class Known:
    """The stored records of the ops of a run.

    Parameters
    ----------
    plan
        What will run.
    store
        Where to look. What other threads of this process publish is noticed at once.
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        self.store = store
        self.puts = store.puts
        self.own = 0
        self.mine: set[bytes] = set()
        self.since = time.monotonic()
        self.generation = store.generation()
        self.rows: dict[bytes, bytes] = {}
        self.complete: set[str] = set()
        if self.generation is None:
            return
        steps = plan.program.steps
        for op, count in Counter(steps[i].bound.op.name for i in plan.steps(Decision.RUN)).items():
            limit = _PER_STEP * count + _AT_LEAST
            rows = store.rows_of(op, limit)
            if len(rows) < limit:
                self.rows.update(rows)
                self.complete.add(op)

    def made(self, resolved: bytes) -> None:
        """Take note that this run published an artifact."""
        self.own += 1
        self.mine.add(resolved)

    def find(self, op: str, resolved: bytes) -> Found | None:
        """Return what is stored under the resolved digest of a step, asking only if need be."""
        if op not in self.complete or resolved in self.mine or not self.fresh():
            return self.store.lookup([resolved]).get(resolved)
        data = self.rows.get(resolved)
        return None if data is None else self.store.found_in(resolved, data)

    def fresh(self) -> bool:
        """Return whether nobody else wrote, as far as we know."""
        if self.store.puts - self.own != self.puts:
            self.complete.clear()
            return False
        now = time.monotonic()
        if now - self.since >= FRESH:
            self.since = now
            if self.store.generation() != self.generation:
                self.complete.clear()
                return False
        return True
