"""Events: what happened in a run, one small frozen value each.

An event says when (`time`, nanoseconds since 1970), in which `run`, and mostly of which node: its
id and its planned digest in hex. Events of one node come in order; those of different nodes may
come in any, and `ledger.folding` gives the same state for all of them.

`ledger.coding` says how they look as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

SCHEMA = 1
"""The version of the JSON form."""

TEXT_LIMIT = 16_384
"""The most characters of a text in an event: what is longer is cut."""

NUMBER_LIMIT = 2**63
"""Numbers in an event are less, whatever their sign: databases take no greater ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened in a run."""

    event: ClassVar[str] = ""
    """The name of the type in JSON."""

    time: int
    """Nanoseconds since 1970, by the clock of where it happened."""
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEvent(Event):
    """Something that happened to a node."""

    node: str
    """Its id. Of equal nodes, which share their work, the first one's."""
    digest: str
    """Its planned digest in hex; empty for what has none."""


# --- runs ---


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A run began."""

    event: ClassVar[str] = "run.started"

    graph: str = ""
    """The name of the graph."""
    document: str = ""
    """The digest of all outputs together, in hex: what was asked."""
    outputs: tuple[str, ...] = ()
    store: str = ""
    policy: str = "any"
    """Whose entries are believed."""
    writer: str = ""
    context: tuple[str, ...] = ()
    """Names of the context values."""
    tags: tuple[str, ...] = ()
    rerun: tuple[str, ...] = ()
    """Ids of the nodes that were to run whatever is stored."""
    environment: tuple[str, ...] = ()
    """What it was asked for with, such as `python 3.12.1`: names, each with what it is."""
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlanned(Event):
    """A plan was made; again, if what the first one relied on went away."""

    event: ClassVar[str] = "run.planned"

    stage: int = 0
    """How many switches' worth of plans came before."""
    nodes: int = 0
    """How many nodes there are in all."""
    to_run: int = 0
    shared: int = 0
    """How many more will share the work of an equal one."""
    reused: int = 0
    not_looked_at: int = 0
    inline: int = 0
    undecided: int = 0
    to_load: int = 0
    """Bytes of stored artifacts that enter what runs."""
    expected: int = 0
    """Nanoseconds that ops are expected to take; 0 if that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(Event):
    """A run ended."""

    event: ClassVar[str] = "run.ended"

    state: str = "finished"
    """`finished`, `failed` or `cancelled`."""
    nanoseconds: int = 0
    error: str = ""


# --- nodes ---


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlanned(NodeEvent):
    """It was decided what happens to a node; those that nobody looked at have no event."""

    event: ClassVar[str] = "node.planned"

    op: str = ""
    decision: str = "run"
    """`run` or `reuse`."""
    reason: str = ""
    causes: tuple[str, ...] = ()
    """In words: what differs from the nearest stored result."""
    inputs: tuple[str, ...] = ()
    """Ids of the nodes whose artifacts enter."""
    shares: str = ""
    """The id of the equal node whose work it shares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReused(NodeEvent):
    """A stored artifact, or one that the scheduler held, was used for a node."""

    event: ClassVar[str] = "node.reused"

    op: str = ""
    by: str = "planned"
    """`planned` or `resolved` digest; `scheduler` if that held the result; `shared` if an equal
    node of the same run made it."""
    artifact: str = ""
    """The hash of the artifact in hex."""
    type: str = ""
    """The name of the artifact's type."""
    size: int = 0
    saved: int = 0
    """Nanoseconds that the op took when it was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStarted(NodeEvent):
    """An op is about to be called."""

    event: ClassVar[str] = "node.started"

    op: str = ""
    attempt: int = 1
    worker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed(NodeEvent):
    """An op failed and will be called again."""

    event: ClassVar[str] = "node.attempt_failed"

    attempt: int = 1
    error: str = ""
    worker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFinished(NodeEvent):
    """An op returned an artifact."""

    event: ClassVar[str] = "node.finished"

    op: str = ""
    resolved: str = ""
    artifact: str = ""
    type: str = ""
    size: int = 0
    nanoseconds: int = 0
    """How long the op took."""
    attempt: int = 1
    worker: str = ""
    kept: bool = True
    """Whether it is in the store."""
    tier: str = ""
    """The URL of the store that it went into."""
    storing: int = 0
    """How many nanoseconds that took."""
    began: int = 0
    """When the op was called, if that is told together with the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFailed(NodeEvent):
    """An op failed for good, or what it returned cannot be an artifact."""

    event: ClassVar[str] = "node.failed"

    op: str = ""
    error: str = ""
    traceback: str = ""
    worker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSkipped(NodeEvent):
    """A node did not run because of another one's failure."""

    event: ClassVar[str] = "node.skipped"

    because: str = ""
    """The id of the node that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCancelled(NodeEvent):
    """A node that could have run did not, because the run ended before."""

    event: ClassVar[str] = "node.cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodesGrown(NodeEvent):
    """A node brought further nodes with it."""

    event: ClassVar[str] = "node.grown"

    added: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseDeclared(NodeEvent):
    """A node said what will come of what it grows."""

    event: ClassVar[str] = "promise.declared"

    promise: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseEnded(NodeEvent):
    """A promise was kept or broken."""

    event: ClassVar[str] = "promise.ended"

    promise: str = ""
    kept: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class OpLogged(NodeEvent):
    """An op wrote a line to Python's log."""

    event: ClassVar[str] = "node.logged"

    level: str = "INFO"
    logger: str = ""
    text: str = ""


# --- stores ---


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHit(NodeEvent):
    """A store answered with an artifact."""

    event: ClassVar[str] = "store.hit"

    by: str = "planned"
    """`planned` or `resolved` digest."""
    tier: str = ""
    """The URL of the store, or the tier of it, that had it."""
    size: int = 0
    nanoseconds: int = 0
    """How long the look-up took; 0 if that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePut(NodeEvent):
    """Something went into a store that is not told of by the end of a node, such as code."""

    event: ClassVar[str] = "store.put"

    size: int = 0
    tier: str = ""
    nanoseconds: int = 0
    """How long it took; 0 if that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreQuarantined(NodeEvent):
    """Something damaged was set aside."""

    event: ClassVar[str] = "store.quarantined"

    tier: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierDown(Event):
    """A store, or a tier of it, does not answer and is left out."""

    event: ClassVar[str] = "store.down"

    tier: str = ""
    reason: str = ""


TYPES: Mapping[str, type[Event]] = {
    kind.event: kind
    for kind in (
        RunStarted, RunPlanned, RunEnded,
        NodePlanned, NodeReused, NodeStarted, AttemptFailed, NodeFinished, NodeFailed,
        NodeSkipped, NodeCancelled, NodesGrown, PromiseDeclared, PromiseEnded, OpLogged,
        StoreHit, StorePut, StoreQuarantined, TierDown,
    )
}  # fmt: skip
"""The types of events by their names."""


def cut(text: str) -> str:
    """Return a text, without its middle if it is too long for an event; only once."""
    if len(text) <= TEXT_LIMIT:
        return text
    half = TEXT_LIMIT // 2 - 32  # leaves room for what is said in between
    return f"{text[:half]}\n[{len(text) - 2 * half} characters are left out]\n{text[-half:]}"
