"""Numbers of all runs since a scheduler began; they only grow, as Prometheus wants counters to."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

from invariant_dask.ledger.events import (
    AttemptFailed,
    Event,
    RunEnded,
    RunStarted,
    StoreHit,
    StorePut,
    StoreQuarantined,
    TierDown,
)
from invariant_dask.ledger.folding import NodeState
from invariant_dask.runtime.board_run import DONE, OPS, OTHER, TIERS

BOUNDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
"""Upper ends, in seconds, of what histograms count apart."""


_COUNTED = (
    StoreHit, StorePut, StoreQuarantined, TierDown, AttemptFailed, RunStarted, RunEnded
)  # fmt: skip


@dataclass(slots=True)
class Histogram:
    """How often a time fell between which bounds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0

    def add(self, nanoseconds: int) -> None:
        seconds = nanoseconds / 1e9
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Return how many times were at most each bound, as Prometheus wants them."""
        found, total = [], 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self.counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class Totals:
    """Counters by op and outcome, and by tier; at most so many ops and tiers are told apart."""

    def __init__(self) -> None:
        self.nodes: Counter[tuple[str, str]] = Counter()
        """By op and outcome."""
        self.size: Counter[tuple[str, str]] = Counter()
        """Bytes of artifacts by op and outcome."""
        self.saved: Counter[str] = Counter()
        """Nanoseconds by op."""
        self.times: dict[str, Histogram] = {}
        """How long ops took, by op."""
        self.attempts = 0
        """Attempts that failed before another one."""
        self.hits: Counter[tuple[str, str]] = Counter()
        """By tier, and by what they were found by."""
        self.store_bytes: Counter[tuple[str, str]] = Counter()
        """By tier and `hit` or `put`."""
        self.puts: Counter[str] = Counter()
        self.store_times: dict[tuple[str, str], Histogram] = {}
        """By tier and `hit` or `put`."""
        self.trouble: Counter[tuple[str, str]] = Counter()
        """By tier and `quarantined` or `down`."""
        self.runs: Counter[str] = Counter()
        """By the state they ended in; and `started`."""
        self._ops: set[str] = set()
        self._tiers: set[str] = set()

    def add_outcome(self, node: NodeState, state: str) -> None:
        """Count a node that came to a state."""
        if state not in DONE:
            return
        op = _bounded(self._ops, node.op, OPS)
        self.nodes[op, state] += 1
        if state in {"ran", "reused"}:
            self.size[op, state] += node.size
        if state == "ran":
            self.times.setdefault(op, Histogram()).add(node.nanoseconds)
        elif state == "reused":
            self.saved[op] += node.saved

    def add_event(self, event: Event) -> None:
        """Count what is no outcome of a node."""
        if not isinstance(event, _COUNTED):
            return
        if isinstance(event, (StoreHit, StorePut)):
            tier = _bounded(self._tiers, event.tier, TIERS)
            kind = "hit" if isinstance(event, StoreHit) else "put"
            if isinstance(event, StoreHit):
                self.hits[tier, "resolved" if event.by == "resolved" else "planned"] += 1
            else:
                self.puts[tier] += 1
            self.store_bytes[tier, kind] += event.size
            if event.nanoseconds:
                self.store_times.setdefault((tier, kind), Histogram()).add(event.nanoseconds)
        elif isinstance(event, (StoreQuarantined, TierDown)):
            kind = "down" if isinstance(event, TierDown) else "quarantined"
            self.trouble[_bounded(self._tiers, event.tier, TIERS), kind] += 1
        elif isinstance(event, AttemptFailed):
            self.attempts += 1
        elif isinstance(event, RunStarted):
            self.runs["started"] += 1
        elif isinstance(event, RunEnded):
            known = event.state in {"finished", "failed", "cancelled"}
            self.runs[event.state if known else OTHER] += 1


def _bounded(known: set[str], name: str, limit: int) -> str:
    if name not in known:
        if len(known) >= limit:
            return OTHER
        known.add(name)
    return name
