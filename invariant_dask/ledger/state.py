"""The state of a run and of its nodes: what is known once events are folded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from invariant_dask.ledger.events import (
    AttemptFailed,
    NodeEvent,
    NodePlanned,
    NodeStarted,
    OpLogged,
    RunEnded,
    RunPlanned,
    RunStarted,
    StoreQuarantined,
    TierDown,
)

LINES = 200
"""How many log lines, and other notes, a state keeps: the latest."""

STATES = (
    "planned", "running", "cancelled", "skipped", "failed", "shared", "reused", "ran"
)  # fmt: skip
"""The states of a node; a later one replaces an earlier one, never the other way round."""


@dataclass(slots=True)
class NodeState:
    """What is known of one node."""

    node: str
    digest: str = ""
    op: str = ""
    state: str = "planned"
    """One of `STATES`. A node that shares the work of another is as far as that one."""
    decision: str = ""
    reason: str = ""
    causes: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    shares: str = ""
    attempt: int = 0
    worker: str = ""
    started: int = 0
    """Nanoseconds since 1970; 0 if nobody said so."""
    ended: int = 0
    nanoseconds: int = 0
    """How long the op took."""
    saved: int = 0
    """How long it took when the artifact that was reused was made."""
    by: str = ""
    """What the artifact that was reused was found by."""
    tier: str = ""
    """The store, or tier, that the artifact came from or went to last."""
    resolved: str = ""
    artifact: str = ""
    type: str = ""
    size: int = 0
    kept: bool = False
    error: str = ""
    traceback: str = ""
    because: str = ""
    plan: NodePlanned | None = field(default=None, repr=False)
    """The event that decision, reason, causes, inputs and shares are from."""
    first: int | None = field(default=None, repr=False)
    """When its op was first called, if somebody said so."""
    start: NodeStarted | None = field(default=None, repr=False)
    """The latest call of its op."""
    outcome: NodeEvent | None = field(default=None, repr=False)
    """The event that ended it."""
    counted: tuple[int, int] = field(default=(0, 0), repr=False)
    """The nanoseconds saved and spent that the run's sums hold for it."""
    named: tuple[int, str] = field(default=(0, ""), repr=False)
    stored: tuple[int, str] = field(default=(0, ""), repr=False)

    @property
    def why(self) -> str:
        """The reason in words."""
        return "; ".join(self.causes) or self.reason

    @property
    def is_settled(self) -> bool:
        """Whether it is known how it ended."""
        return self.state not in {"planned", "running"}


@dataclass(slots=True)
class RunState:
    """What is known of one run."""

    run: str = ""
    state: str = "running"
    """`running`, `finished`, `failed` or `cancelled`."""
    asked: RunStarted | None = None
    plan: RunPlanned | None = None
    """The latest plan."""
    nodes: dict[str, NodeState] = field(default_factory=dict)
    """By node id."""
    tally: Counter[str] = field(default_factory=Counter)
    """How many nodes are in each state."""
    followers: dict[str, set[str]] = field(default_factory=dict)
    """Which nodes share the work of one, by its id."""
    started: int = 0
    ended: int = 0
    seconds: float = 0.0
    error: str = ""
    end: RunEnded | None = field(default=None, repr=False)
    """The event that state, end, seconds and error are from."""
    saved_nanoseconds: int = 0
    busy_nanoseconds: int = 0
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Store hits by tier, and by whether a planned or resolved digest found them."""
    hit_bytes: int = 0
    puts: int = 0
    put_bytes: int = 0
    quarantined: list[StoreQuarantined] = field(default_factory=list)
    down: list[TierDown] = field(default_factory=list)
    log: list[OpLogged] = field(default_factory=list)
    failures: list[AttemptFailed] = field(default_factory=list)
    """Attempts that failed before another one."""
    grown: dict[str, tuple[str, ...]] = field(default_factory=dict)
    stored: dict[str, tuple[int, str]] = field(default_factory=dict, repr=False)
    """When and where artifacts of nodes were stored of which nothing else is known yet."""

    def counts(self) -> dict[str, int]:
        """Return how many nodes ran, shared the work of one, were reused, failed and so on.

        Nodes that nobody looked at have no events; the plan says how many there are.
        """
        counts = {state: self.tally[state] for state in reversed(STATES)}
        total = self.plan.nodes if self.plan is not None else len(self.nodes)
        inline = self.plan.inline if self.plan is not None else 0
        counts["not looked at"] = max(0, total - inline - len(self.nodes))
        counts["inline"] = inline
        return counts

    @property
    def saved(self) -> float:
        """Seconds of op time that reuse saved."""
        return self.saved_nanoseconds / 1e9

    @property
    def busy(self) -> float:
        """Seconds that ops took."""
        return self.busy_nanoseconds / 1e9

    def outline(self) -> dict[str, tuple[object, ...]]:
        """Return what equal graphs have in common: no times, no workers, by node id."""
        return {
            name: (
                node.digest, node.op, node.state, node.decision, node.reason, node.causes,
                node.inputs, node.shares, node.resolved, node.artifact, node.type, node.size,
                node.error, node.because,
            )
            for name, node in sorted(self.nodes.items())
        }  # fmt: skip
