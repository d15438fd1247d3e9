"""The state of a run, folded from its events in whatever order they come.

Each fact is the greatest of what was told, in an order that does not depend on arrival: mostly the
latest, and of two at one time the one whose content is greater. So the same events give the same
state, however they were mixed or cut into batches. The state is what progress, report, history and
dashboard show.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any

from invariant_dask.ledger.events import (
    TYPES,
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
from invariant_dask.ledger.state import LINES, STATES, NodeState, RunState

__all__ = ["LINES", "STATES", "NodeState", "RunState", "apply", "fold"]

_RANK = {state: rank for rank, state in enumerate(STATES)}

_OUTCOMES: dict[type[NodeEvent], str] = {
    NodeCancelled: "cancelled",
    NodeSkipped: "skipped",
    NodeFailed: "failed",
    NodeReused: "reused",
    NodeFinished: "ran",
}
_STORED = (StoreHit, StorePut)
_WITH_OP = (NodeFinished, NodeReused, NodeFailed)
_WITH_WORKER = (NodeFinished, NodeFailed)


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
        if state.asked is None or _is_later(state.asked, event):  # the first one asked
            state.asked, state.started = event, event.time
    elif isinstance(event, RunPlanned):
        old = state.plan
        if old is None or (event.stage, _order(event)) > (old.stage, _order(old)):
            state.plan = event
    elif isinstance(event, RunEnded):
        if state.end is None or _is_later(event, state.end):
            state.end, state.state = event, event.state
            state.ended, state.error = event.time, event.error
            state.seconds = event.nanoseconds / 1e9
    elif isinstance(event, TierDown):
        _keep(state.down, event)


def _apply_to_node(state: RunState, event: NodeEvent) -> None:
    if isinstance(event, _STORED):
        _stored(state, event)
        return
    if isinstance(event, StoreQuarantined):
        _keep(state.quarantined, event)
        return
    node = state.nodes.get(event.node)
    if node is None:
        node = state.nodes[event.node] = NodeState(event.node)
        state.tally[node.state] += 1
        node.stored = state.stored.pop(event.node, node.stored)
        node.tier = node.stored[1]
    if event.digest:
        node.named = max(node.named, (event.time, event.digest))
        node.digest = node.named[1]
    kind = type(event)
    if isinstance(event, NodeFinished) and event.began:
        node.first = event.began if node.first is None else min(node.first, event.began)
        node.started = node.first
    if isinstance(event, NodeFinished) and event.kept:
        state.puts += 1
        state.put_bytes += event.size
        node.stored = max((event.time, event.tier), node.stored)
        node.tier = node.stored[1]
    if kind in _OUTCOMES:
        _end(node, event)
        _settle(state, node)
        return
    change = _CHANGES.get(kind)
    if change is not None:
        change(state, node, event)


def _stored(state: RunState, event: StoreHit | StorePut) -> None:
    if isinstance(event, StoreHit):
        state.hits[event.tier, event.by] += 1
        state.hit_bytes += event.size
    else:
        state.puts += 1
        state.put_bytes += event.size
    where = (event.time, event.tier)
    node = state.nodes.get(event.node)
    if node is None:
        # A look-up makes no node: what is pruned may have been looked for too.
        state.stored[event.node] = max(where, state.stored.get(event.node, (0, "")))
    else:
        node.stored = max(where, node.stored)
        node.tier = node.stored[1]


def _planned(state: RunState, node: NodeState, event: NodePlanned) -> None:
    node.op = max(node.op, event.op)
    if node.plan is not None and not _is_later(event, node.plan):
        return
    if event.shares != node.shares:
        _follow(state, node, event.shares)
    node.plan = event
    node.decision, node.reason, node.causes = event.decision, event.reason, event.causes
    node.inputs, node.shares = event.inputs, event.shares
    _settle(state, node)


def _follow(state: RunState, node: NodeState, leader: str) -> None:
    if node.shares:
        state.followers[node.shares].discard(node.node)
        if not state.followers[node.shares]:
            del state.followers[node.shares]
    if leader:
        state.followers.setdefault(leader, set()).add(node.node)


def _started(state: RunState, node: NodeState, event: NodeStarted) -> None:
    node.op = max(node.op, event.op)
    node.attempt = max(node.attempt, event.attempt)
    node.first = event.time if node.first is None else min(node.first, event.time)
    node.started = node.first
    old = node.start
    if old is None or (event.attempt, _order(event)) > (old.attempt, _order(old)):
        node.start = event
    node.worker = _worker(node)
    _settle(state, node)


def _again(state: RunState, node: NodeState, event: AttemptFailed) -> None:
    _keep(state.failures, event)
    node.attempt = max(node.attempt, event.attempt)
    _settle(state, node)


def _end(node: NodeState, event: NodeEvent) -> None:
    """Let an event end a node, if it goes further than what ended it so far."""
    if isinstance(event, _WITH_OP):
        node.op = max(node.op, event.op)
    if isinstance(event, NodeFinished):
        node.attempt = max(node.attempt, event.attempt)
    old = node.outcome
    if old is not None:
        rank, reached = _RANK[_state_after(event)], _RANK[_state_after(old)]
        if rank < reached or (rank == reached and not _is_later(event, old)):
            return
        # Nothing of what is replaced may stay.
        node.artifact = node.type = node.by = node.resolved = ""
        node.size = node.saved = node.nanoseconds = 0
        node.error = node.traceback = node.because = ""
        node.kept = False
    node.outcome, node.ended = event, event.time
    if isinstance(event, NodeFinished):
        node.artifact, node.type, node.size = event.artifact, event.type, event.size
        node.resolved, node.nanoseconds, node.kept = event.resolved, event.nanoseconds, event.kept
    elif isinstance(event, NodeReused):
        node.artifact, node.type, node.size = event.artifact, event.type, event.size
        node.by, node.saved, node.kept = event.by, event.saved, True
    elif isinstance(event, NodeFailed):
        node.error, node.traceback = event.error, event.traceback
    elif isinstance(event, NodeSkipped):
        node.because = event.because
    node.worker = _worker(node)
    if node.first is None:  # where only results are told of
        node.started = event.time - node.nanoseconds if isinstance(event, NodeFinished) else 0


def _state_after(outcome: NodeEvent) -> str:
    if isinstance(outcome, NodeReused) and outcome.by == "shared":
        return "shared"
    return _OUTCOMES[type(outcome)]


def _worker(node: NodeState) -> str:
    """Return where a node was last: where it ended, else where it was called."""
    ended = node.outcome.worker if isinstance(node.outcome, _WITH_WORKER) else ""
    return ended or (node.start.worker if node.start is not None else "")


def _settle(state: RunState, node: NodeState) -> None:
    """Bring the state of a node, and of those that share its work, up to date."""
    _advance(state, node)
    for name in state.followers.get(node.node, ()):
        _advance(state, state.nodes[name])


def _advance(state: RunState, node: NodeState) -> None:
    now = _own_state(node)
    leader = state.nodes.get(node.shares) if node.shares and now == "planned" else None
    if leader is not None:
        now = _own_state(leader)
        now = "shared" if now == "ran" else now
    if now != node.state:
        state.tally[node.state] -= 1
        state.tally[now] += 1
        node.state = now
    _sum_up(state, node)


def _sum_up(state: RunState, node: NodeState) -> None:
    counted = node.saved if node.state == "reused" else 0, node.nanoseconds
    if counted != node.counted:
        state.saved_nanoseconds += counted[0] - node.counted[0]
        state.busy_nanoseconds += counted[1] - node.counted[1]
        node.counted = counted


def _own_state(node: NodeState) -> str:
    if node.outcome is not None:
        return _state_after(node.outcome)
    return "running" if node.attempt else "planned"


def _grown(state: RunState, node: NodeState, event: NodesGrown) -> None:
    known = state.grown.get(node.node, ())
    state.grown[node.node] = tuple(sorted({*known, *event.added}))


def _logged(state: RunState, _node: NodeState, event: OpLogged) -> None:
    _keep(state.log, event)


_CHANGES: dict[type[NodeEvent], Callable[[RunState, NodeState, Any], None]] = {
    NodePlanned: _planned,
    NodeStarted: _started,
    AttemptFailed: _again,
    NodesGrown: _grown,
    OpLogged: _logged,
}


def _content(event: Event) -> tuple[Any, ...]:
    return tuple(getattr(event, name) for name in _NAMES[type(event)])


_NAMES = {kind: tuple(each.name for each in fields(kind)) for kind in TYPES.values()}


def _is_later(event: Event, other: Event) -> bool:
    """Whether an event is later than another of its type; at one time, whether it says more."""
    if event.time != other.time:
        return event.time > other.time
    return _content(event) > _content(other)


def _order(event: Event) -> tuple[Any, ...]:
    return event.time, _content(event)


def _keep(notes: list, event: Event) -> None:  # type: ignore[type-arg]  # of any one type
    """Add a note, in order of time, and forget the earliest if there are too many."""
    if notes and notes[-1].time < event.time:
        notes.append(event)
    else:
        insort(notes, event, key=_order)
    if len(notes) > LINES:
        del notes[0]
