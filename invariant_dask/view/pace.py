"""How far a run is: what there is to do in it so far, what is done, how long the rest may take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from invariant_dask.ledger.events import (
    AttemptFailed,
    Event,
    NodeEvent,
    NodeFailed,
    NodeFinished,
    NodePlanned,
    NodeReused,
    NodeStarted,
)

Expected = Callable[[str], int | None]
"""Returns how many nanoseconds an op is expected to take; None if nothing is known of it."""

_ENOUGH = 3
"""So many calls in this run say more of an op than all runs before."""


class Pace:
    """Follows a run by its events, which may come late but those of a node in order.

    Parameters
    ----------
    expected
        What is known of ops from earlier runs; without it nothing is said of the time left.

    Notes
    -----
    The total grows when a switch is decided, or a node brings further ones with it: nobody knows of
    those before. Nodes that share the work of one are not counted.
    """

    def __init__(self, expected: Expected | None = None) -> None:
        self.size = 0
        """Bytes of the artifacts that were made."""
        self.failed = 0
        self._expected = expected
        self._known: dict[str, int | None] = {}
        self._ops: dict[str, str] = {}
        self._done: set[str] = set()
        self._left: Counter[str] = Counter()
        self._running: dict[str, tuple[int, str]] = {}
        self._calls: Counter[str] = Counter()
        self._spent: Counter[str] = Counter()
        self._first = 0

    @property
    def total(self) -> int:
        """How many nodes have something to do, as far as that is known."""
        return len(self._ops)

    @property
    def done(self) -> int:
        """How many of them are through with it, well or not."""
        return len(self._done)

    @property
    def running(self) -> int:
        """How many ops are at work."""
        return len(self._running)

    @property
    def has_begun(self) -> bool:
        """Whether any op was called."""
        return bool(self._first)

    def take(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, NodePlanned):
            if event.decision == "run" and not event.shares:
                self._plan(event)
        elif isinstance(event, NodeStarted):
            self._first = self._first or event.time
            if event.digest not in self._done:
                self._running[event.digest] = event.time, event.op
        elif isinstance(event, AttemptFailed):
            self._running.pop(event.digest, None)
        elif isinstance(event, NodeFinished):
            self.size += event.size
            self._calls[event.op] += 1
            self._spent[event.op] += event.nanoseconds
            self._end(event)
        elif isinstance(event, NodeReused):
            self._end(event)
        elif isinstance(event, NodeFailed):
            self.failed += 1
            self._end(event)

    def _plan(self, event: NodePlanned) -> None:
        if event.digest not in self._ops and event.digest not in self._done:
            self._ops[event.digest] = event.op
            if self._expected is not None and event.op not in self._known:
                self._known[event.op] = self._expected(event.op)
            self._left[event.op] += 1

    def _end(self, event: NodeEvent) -> None:
        self._running.pop(event.digest, None)
        op = self._ops.get(event.digest)
        if op is not None and event.digest not in self._done:
            self._done.add(event.digest)
            self._left[op] -= 1

    def time_left(self, now: int) -> float | None:
        """Return how many seconds the rest may take; None if that cannot be said.

        Parameters
        ----------
        now
            Nanoseconds since 1970.

        Notes
        -----
        The work that is left is done by as many at once as there were on average so far.
        """
        if self._expected is None or not self._first or now <= self._first:
            return None
        known = {op: self._cost(op) for op, left in self._left.items() if left > 0}
        costs = {op: cost for op, cost in known.items() if cost is not None}
        if len(costs) < len(known):
            return None
        work = sum(costs[op] * self._left[op] for op in costs)
        at_work = 0
        for since, op in self._running.values():
            spent = max(0, now - since)
            at_work += spent
            work -= min(spent, costs.get(op, 0))
        at_once = (sum(self._spent.values()) + at_work) / (now - self._first)
        return max(0.0, work) / max(1.0, at_once) / 1e9

    def _cost(self, op: str) -> float | None:
        if self._calls[op] >= _ENOUGH:
            return self._spent[op] / self._calls[op]
        told = self._known.get(op)
        if told is not None:
            return told
        return self._spent[op] / self._calls[op] if self._calls[op] else None
