"""What a run knows to be stored or not, so that it need not ask the store for each step.

The stored records of the ops that matter are read in one go, if they are few. A resolved digest
that is not among them is not stored, until somebody else writes; one that is among them is
stored, until something is removed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

from invariant_dask.plan.program import Program
from invariant_dask.store.base import Store
from invariant_dask.store.record import Found

FRESH = 0.1
"""How long, in seconds, what other processes write may go unnoticed."""

_AT_LEAST = 64
_PER_STEP = 2
_MOST = 100_000


class Known:
    """The latest stored records of the ops of some steps.

    Parameters
    ----------
    program
        What the steps belong to.
    steps
        The steps that may ask.
    store
        Where to look. What other threads of this process publish or remove is noticed at once.
    """

    def __init__(self, program: Program, steps: Iterable[int], store: Store) -> None:
        self.store = store
        self.ops = Counter(program.steps[index].bound.op.name for index in steps)
        self.own = 0
        self.mine: set[bytes] = set()
        self.missed: set[bytes] = set()
        """Planned digests that were looked up in vain before."""
        self.read()

    def read(self) -> None:
        """Read what is stored now."""
        # The marks first: what changes while we read must be noticed.
        self.since = time.monotonic()
        self.puts = self.store.puts - self.own
        self.removals = self.store.removals
        self.generation = self.store.generation()
        self.complete = self.generation is not None
        self.rows: dict[bytes, bytes] = {}
        if self.generation is None:
            return
        for op, count in self.ops.items():
            limit = min(_PER_STEP * count + _AT_LEAST, _MOST)
            rows = self.store.rows_of(op, limit)
            self.rows.update(rows)
            self.complete &= len(rows) < limit

    def accept(self) -> None:
        """Take what was published until now as known; what is new among it is not found here.

        What others may have removed is not believed any longer: all is read again then.
        """
        now, puts = time.monotonic(), self.store.puts - self.own
        if self.store.removals != self.removals or self.store.generation() != self.generation:
            self.read()
        else:
            self.since, self.puts = now, puts

    def made(self, resolved: bytes) -> None:
        """Take note that this run published an artifact."""
        self.own += 1
        self.mine.add(resolved)

    def find(self, resolved: bytes) -> Found | None:
        """Return what is stored under the resolved digest of a step, asking only if need be."""
        if resolved in self.mine or not self.fresh():
            return self.ask(resolved)
        data = self.rows.get(resolved)
        if data is not None:
            if self.store.removals != self.removals:
                return self.ask(resolved)  # what was absent still is
            return self.store.found_in(resolved, data)
        return None if self.complete else self.ask(resolved)

    def ask(self, resolved: bytes) -> Found | None:
        """Return what is stored under a resolved digest now."""
        return self.store.lookup([resolved]).get(resolved)

    def fresh(self) -> bool:
        """Return whether nobody else wrote, as far as we know."""
        if self.generation is None or self.store.puts - self.own != self.puts:
            self.generation = None
            return False
        now = time.monotonic()
        if now - self.since >= FRESH:
            self.since = now
            if self.store.generation() != self.generation:
                self.generation = None
                return False
        return True
