"""The state of a run, folded from its events in whatever order they come.

Of what is told twice the later telling counts, and of two at one time the one that says more; so
equal events give equal states. The state is what progress, report, history and dashboard show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from invariant_dask.ledger.events import (
    AttemptFailed,
    Event,
    NodeCancelled,
    NodeEvent,
    NodeFailed,
    NodeFinished,
    NodePlanned,
    NodeReused,
    NodesGrown,
    NodeSkipped,
    NodeStarted,
    OpLogged,
    RunEnded,
    RunPlanned,
    RunStarted,
    StoreHit,
    StorePut,
    StoreQuarantined,
    TierDown,
)

LINES = 200
"""How many log lines, and other notes, a state keeps: the latest."""

STATES = (
    "planned", "running", "cancelled", "skipped", "failed", "shared", "reused", "ran"
)  # fmt: skip
"""The states of a node; a later one replaces an earlier one, never the other way round."""

_RANK = {state: rank for rank, state in enumerate(STATES)}


@dataclass(slots=True)
class NodeState:
    """What is known of one node."""

    node: str
    digest: str = ""
    op: str = ""
    state: str = "planned"
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
    resolved: str = ""
    artifact: str = ""
    type: str = ""
    size: int = 0
    kept: bool = False
    error: str = ""
    traceback: str = ""
    because: str = ""
    planned_at: int = 0

    @property
    def why(self) -> str:
        """The reason in words."""
        return "; ".join(self.causes) or self.reason


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
    started: int = 0
    ended: int = 0
    seconds: float = 0.0
    error: str = ""
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

    def counts(self) -> dict[str, int]:
        """Return how many nodes ran, shared the work of one, were reused, failed and so on.

        Nodes that nobody looked at have no events; the plan says how many there are.
        """
        found = Counter(node.state for node in self.nodes.values())
        counts = {state: found.get(state, 0) for state in reversed(STATES)}
        total = self.plan.nodes if self.plan is not None else len(self.nodes)
        inline = self.plan.inline if self.plan is not None else 0
        counts["not looked at"] = max(0, total - inline - len(self.nodes))
        counts["inline"] = inline
        return counts

    @property
    def saved(self) -> float:
        """Seconds of op time that reuse saved."""
        return sum(n.saved for n in self.nodes.values() if n.state == "reused") / 1e9

    @property
    def busy(self) -> float:
        """Seconds that ops took."""
        return sum(n.nanoseconds for n in self.nodes.values() if n.state == "ran") / 1e9

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


def fold(events: Iterable[Event], state: RunState | None = None) -> RunState:
    """Return the state that events give, added to one that is there already.

    Parameters
    ----------
    events
        Of one run; those of others are passed over.
    state
        Changed in place and returned; by default a new one.
    """
    state = RunState() if state is None else state
    for event in events:
        if not state.run:
            state.run = event.run
        if event.run == state.run:
            apply(state, event)
    return state


def apply(state: RunState, event: Event) -> None:
    """Change a state by one event of its run."""
    if isinstance(event, NodeEvent):
        _apply_to_node(state, event)
    elif isinstance(event, RunStarted):
        state.asked, state.started = event, event.time
    elif isinstance(event, RunPlanned):
        if state.plan is None or (event.stage, event.time) >= (state.plan.stage, state.plan.time):
            state.plan = event
    elif isinstance(event, RunEnded):
        state.state, state.ended, state.error = event.state, event.time, event.error
        state.seconds = event.nanoseconds / 1e9
    elif isinstance(event, TierDown):
        _keep(state.down, event)


def _apply_to_node(state: RunState, event: NodeEvent) -> None:
    if isinstance(event, StoreHit):
        state.hits[event.tier, event.by] += 1
        state.hit_bytes += event.size
        return
    if isinstance(event, StorePut):
        state.puts += 1
        state.put_bytes += event.size
        return
    if isinstance(event, StoreQuarantined):
        _keep(state.quarantined, event)
        return
    node = state.nodes.get(event.node)
    if node is None:
        node = state.nodes[event.node] = NodeState(event.node)
    node.digest = event.digest or node.digest
    change = _CHANGES.get(type(event))
    if change is not None:
        change(state, node, event)


def _planned(_state: RunState, node: NodeState, event: NodePlanned) -> None:
    if event.time < node.planned_at:
        return
    node.planned_at = event.time
    node.op = event.op or node.op
    node.decision, node.reason, node.causes = event.decision, event.reason, event.causes
    node.inputs, node.shares = event.inputs, event.shares


def _started(_state: RunState, node: NodeState, event: NodeStarted) -> None:
    _advance(node, "running", 0)
    node.op = event.op or node.op
    if event.attempt >= node.attempt:
        node.attempt = event.attempt
        node.worker = event.worker or node.worker
    node.started = min(node.started or event.time, event.time)


def _again(state: RunState, node: NodeState, event: AttemptFailed) -> None:
    _keep(state.failures, event)
    node.attempt = max(node.attempt, event.attempt)


def _finished(_state: RunState, node: NodeState, event: NodeFinished) -> None:
    if not _advance(node, "ran", event.time):
        return
    node.op = event.op or node.op
    node.resolved, node.artifact, node.type = event.resolved, event.artifact, event.type
    node.size, node.nanoseconds, node.kept = event.size, event.nanoseconds, event.kept
    node.attempt = max(node.attempt, event.attempt)
    node.worker = event.worker or node.worker
    if not node.started:  # a scheduler that tells of results only
        node.started = event.time - event.nanoseconds


def _reused(_state: RunState, node: NodeState, event: NodeReused) -> None:
    if not _advance(node, "shared" if event.by == "shared" else "reused", event.time):
        return
    node.op = event.op or node.op
    node.by, node.saved, node.kept = event.by, event.saved, True
    node.artifact, node.type, node.size = event.artifact, event.type, event.size


def _failed(_state: RunState, node: NodeState, event: NodeFailed) -> None:
    if _advance(node, "failed", event.time):
        node.op = event.op or node.op
        node.error, node.traceback = event.error, event.traceback
        node.worker = event.worker or node.worker


def _skipped(_state: RunState, node: NodeState, event: NodeSkipped) -> None:
    if _advance(node, "skipped", event.time):
        node.because = event.because


def _cancelled(_state: RunState, node: NodeState, event: NodeCancelled) -> None:
    _advance(node, "cancelled", event.time)


def _grown(state: RunState, node: NodeState, event: NodesGrown) -> None:
    state.grown[node.node] = event.added


def _logged(state: RunState, _node: NodeState, event: OpLogged) -> None:
    _keep(state.log, event)


_CHANGES: dict[type[NodeEvent], Callable[[RunState, NodeState, Any], None]] = {
    NodePlanned: _planned,
    NodeStarted: _started,
    AttemptFailed: _again,
    NodeFinished: _finished,
    NodeReused: _reused,
    NodeFailed: _failed,
    NodeSkipped: _skipped,
    NodeCancelled: _cancelled,
    NodesGrown: _grown,
    OpLogged: _logged,
}


def _advance(node: NodeState, state: str, time: int) -> bool:
    """Let a node go on to a state; False if it is further already."""
    if (_RANK[state], time) < (_RANK[node.state], node.ended):
        return False
    node.state, node.ended = state, time
    return True


def _keep(notes: list, event: Event) -> None:  # type: ignore[type-arg]  # of any one type
    """Add a note, in order of time, and forget the earliest if there are too many."""
    notes.append(event)
    if len(notes) > 1 and notes[-2].time > event.time:
        notes.sort(key=lambda each: each.time)
    if len(notes) > LINES:
        del notes[0]
