"""What the history of runs tells: runs, their nodes and events, and how long ops take."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from invariant_dask.ledger.events import NUMBER_LIMIT
from invariant_dask.ledger.state import NodeState, RunState


@dataclass(frozen=True, slots=True)
class FlowRun:
    """One run of a graph."""

    id: str
    graph: str
    """The name of the graph."""
    document: str
    """The digest of all outputs together, in hex."""
    outputs: tuple[str, ...]
    tags: tuple[str, ...]
    policy: str
    context: tuple[str, ...]
    """Names of the context values."""
    writer: str
    store: str
    state: str
    """`running`, `finished`, `failed`, `cancelled`, or `interrupted`: nobody recorded an end."""
    started: int
    """Nanoseconds since 1970."""
    ended: int
    """0 if nobody recorded it."""
    seconds: float
    counts: Mapping[str, int]
    """How many nodes are in each state, as `RunState.counts` tells."""
    saved: float
    """Seconds of op time that reuse saved."""
    busy: float
    """Seconds that ops took."""
    error: str

    def interrupted(self) -> FlowRun:
        """Return the same run as one whose process is gone."""
        return replace(self, state="interrupted")


@dataclass(frozen=True, slots=True)
class NodeRun:
    """What became of a node in a run."""

    run: str
    node: str
    digest: str
    """The planned digest in hex: what was asked for."""
    op: str
    state: str
    """One of `ledger.state.STATES`."""
    attempt: int
    decision: str
    why: str
    """The reason in words."""
    resolved: str
    artifact: str
    type: str
    size: int
    tier: str
    """The store, or tier, that the artifact came from or went to."""
    by: str
    """What a reused artifact was found by."""
    kept: bool
    """Whether it is in a store."""
    nanoseconds: int
    """How long the op took."""
    saved: int
    """Nanoseconds that reuse saved."""
    worker: str
    started: int
    ended: int
    because: str
    """The node whose failure kept this one from running."""
    error: str


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event of a run in the index; the journal has all of it."""

    run: str
    seq: int
    """Which one it is in the run, from 0."""
    time: int
    kind: str
    node: str


@dataclass(frozen=True, slots=True)
class Durations:
    """How long the latest calls of an op took, in nanoseconds."""

    op: str
    count: int
    median: int
    low: int
    """A quarter took less."""
    high: int
    """A quarter took more."""

    @property
    def spread(self) -> int:
        """The range in which the middle half is."""
        return self.high - self.low


def durations_of(op: str, nanoseconds: Sequence[int]) -> Durations:
    """Return what there is to say of some calls of an op, one at least."""
    found = sorted(nanoseconds)
    low, median, high = (found[round((len(found) - 1) * part)] for part in (0.25, 0.5, 0.75))
    return Durations(op, len(found), median, low, high)


# --- how rows are kept ---

RUN_COLUMNS = (
    "id", "graph", "document", "outputs", "tags", "policy", "context", "writer", "store", "state",
    "started", "ended", "seconds", "counts", "saved", "busy", "error",
)  # fmt: skip
NODE_COLUMNS = (
    "node", "digest", "op", "state", "attempt", "decision", "why", "resolved", "artifact", "type",
    "size", "tier", "by", "kept", "nanoseconds", "saved", "worker", "started", "ended", "because",
    "error",
)  # fmt: skip


def text(value: str) -> str:
    """Return a text that a database takes: what is no valid Unicode is written as it is in code."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def number(value: int) -> int:
    """Return a number, or the greatest that a database takes."""
    return max(-NUMBER_LIMIT, min(value, NUMBER_LIMIT - 1))


def packed(digest: str) -> bytes | str:
    """Return a digest in half the room; what is none stays a text."""
    try:
        raw = bytes.fromhex(digest)
    except ValueError:
        return text(digest)
    return raw if raw and raw.hex() == digest else text(digest)


def _unpacked(value: bytes | str) -> str:
    return value.hex() if isinstance(value, bytes) else value


def row_of_run(state: RunState) -> tuple[Any, ...]:
    """Return the values of `RUN_COLUMNS`."""
    asked = state.asked
    lists = (asked.outputs, asked.tags, asked.context) if asked is not None else ((), (), ())
    outputs, tags, context = (json.dumps([text(each) for each in names]) for names in lists)
    graph, document, policy, writer, store = (
        map(text, (asked.graph, asked.document, asked.policy, asked.writer, asked.store))
        if asked is not None
        else ("", "", "", "", "")
    )
    return (
        state.run, graph, document, outputs, tags, policy, context, writer, store,
        text(state.state), number(state.started), number(state.ended), state.seconds,
        json.dumps(state.counts()), state.saved, state.busy, text(state.error),
    )  # fmt: skip


def row_of_node(node: NodeState) -> tuple[Any, ...]:
    """Return the values of `NODE_COLUMNS`."""
    return (
        text(node.node), packed(node.digest), text(node.op), node.state, number(node.attempt),
        text(node.decision), text(node.why), packed(node.resolved), packed(node.artifact),
        text(node.type), number(node.size), text(node.tier), text(node.by), node.kept,
        number(node.nanoseconds), number(node.saved), text(node.worker), number(node.started),
        number(node.ended), text(node.because), text(node.error),
    )  # fmt: skip


def run_of(row: Sequence[Any]) -> FlowRun:
    """Return the run whose `RUN_COLUMNS` these are."""
    told = dict(zip(RUN_COLUMNS, row, strict=True))
    for name in ("outputs", "tags", "context"):
        told[name] = tuple(json.loads(told[name]))
    told["counts"] = json.loads(told["counts"])
    return FlowRun(**told)


def node_of(row: Sequence[Any]) -> NodeRun:
    """Return the node of a run's id and the `NODE_COLUMNS` these are."""
    told = dict(zip(("run", *NODE_COLUMNS), row, strict=True))
    for name in ("digest", "resolved", "artifact"):
        told[name] = _unpacked(told[name])
    told["kept"] = bool(told["kept"])
    return NodeRun(**told)


def told_of(state: RunState) -> tuple[FlowRun, list[NodeRun]]:
    """Return what the history would tell of a run in this state."""
    nodes = [row_of_node(node) for _, node in sorted(state.nodes.items())]
    return run_of(row_of_run(state)), [node_of((state.run, *row)) for row in nodes]
