"""What a scheduler remembers of one run: exact numbers of all nodes, and the latest ones in full.

Memory is bounded whatever comes. A node that is in the window has the state that
`ledger.folding` gives it; of one that left it, only the state is remembered.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from invariant_dask.ledger.events import (
    Event,
    NodeEvent,
    NodePlanned,
    NodesGrown,
    OpLogged,
    RunPlanned,
    StoreHit,
    StorePut,
    StoreQuarantined,
    TierDown,
)
from invariant_dask.ledger.folding import STATES, NodeState, RunState, apply
from invariant_dask.runtime.board_states import StateTable

WINDOW = 4000
"""How many nodes of a run are remembered in full: the latest."""

EDGES = 20_000
"""How many inputs of these are."""

SPANS = 3000
"""How many executions the timeline has: the latest."""

LANE_NAME = 40
"""The most characters of a worker's name beside the timeline."""

OPS, TIERS, REASONS, LANES, FAILURES, RECENT = 200, 20, 100, 200, 100, 100

OTHER = "(other)"
"""Where all goes that would be one too many."""

_OF_STORES = (StoreHit, StorePut, StoreQuarantined, TierDown)
_RANK = {state: rank for rank, state in enumerate(STATES)}
DONE = ("ran", "reused", "failed", "skipped", "cancelled", "shared")
"""The states that count as outcomes."""


@dataclass(slots=True)
class OpTally:
    """The numbers of one op."""

    op: str
    counts: Counter[str] = field(default_factory=Counter)
    nanoseconds: int = 0
    longest: int = 0
    size: int = 0
    """Bytes of the artifacts that were made."""
    loaded: int = 0
    """Bytes of those that were reused."""
    saved: int = 0


@dataclass(slots=True)
class TierTally:
    """The numbers of one store, or tier of it."""

    tier: str
    planned: int = 0
    resolved: int = 0
    hit_bytes: int = 0
    puts: int = 0
    put_bytes: int = 0
    quarantined: int = 0
    down: int = 0
    trouble: str = ""
    """What went wrong last."""


@dataclass(frozen=True, slots=True)
class Span:
    """One execution of an op."""

    node: str
    op: str
    state: str
    start: int
    end: int
    lane: str


@dataclass(slots=True)
class Why:
    """A reason, how often it was given, and for which node first."""

    words: str
    node: str
    op: str
    times: int = 0


class WatchedRun:
    """One run as it was told so far."""

    def __init__(self, run: str) -> None:
        self.state = RunState(run)
        self.counts: Counter[str] = Counter()
        """How many nodes are in each state, of all there are."""
        self.ops: dict[str, OpTally] = {}
        self.tiers: dict[str, TierTally] = {}
        self.spans: deque[Span] = deque(maxlen=SPANS)
        self.spanned = 0
        """How many spans there ever were."""
        self.reasons: dict[str, Why] = {}
        self.recent: deque[NodeState] = deque(maxlen=RECENT)
        """What was decided to run, latest last."""
        self.failed: deque[NodeState] = deque(maxlen=FAILURES)
        self.links: Counter[tuple[str, str]] = Counter()
        """How many inputs each op has of each other one."""
        self.version = 0
        self.shape = 0
        """Changes whenever the graph does."""
        self.latest = 0
        """The time of the latest event."""
        self._seen = StateTable()
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._lanes: dict[str, int] = {}
        self._edges = 0

    @property
    def run(self) -> str:
        return self.state.run

    @property
    def lanes(self) -> list[str]:
        """The lanes of the timeline, those of one worker beside each other."""
        return sorted(self._lanes)

    @property
    def exact(self) -> bool:
        """Whether all nodes could be told apart."""
        return not self._seen.full

    @property
    def whole(self) -> bool:
        """Whether all nodes are remembered in full."""
        return len(self.state.nodes) == sum(self.counts.values())

    def add(self, event: Event) -> NodeState | None:
        """Take an event in; return the node that came to another state by it, if any."""
        self.version += 1
        self.latest = max(self.latest, event.time)
        if isinstance(event, _OF_STORES):
            self._add_to_store(event)
            return None
        if isinstance(event, NodesGrown):
            return None  # nobody asks the page what a switch brought along
        if isinstance(event, RunPlanned):
            self.shape += 1
        if not isinstance(event, NodeEvent) or isinstance(event, OpLogged):
            apply(self.state, event)
            return None
        known = self.state.nodes.get(event.node)
        given_up = (known.saved, known.size) if known and known.state == "reused" else (0, 0)
        apply(self.state, event)
        node = self.state.nodes[event.node]
        moved = self._moved(node, *given_up)
        if isinstance(event, NodePlanned):
            self._link(node)
            self._explain(node)
        self._keep(node)
        return node if moved else None

    # --- nodes ---

    def _moved(self, node: NodeState, saved: int, loaded: int) -> bool:
        """Count a node in the state it is in now; False if it was counted there before.

        What was saved and loaded for it then was not, if it is no longer reused.
        """
        before, op = self._recall(node.node)
        state = node.state
        if before is not None and _RANK[state] <= _RANK[before]:
            return False
        tally = self._tally(node.op or op)
        if before is not None:
            self.counts[before] -= 1
            then = self._tally(op)
            then.counts[before] -= 1
            then.saved -= saved
            then.loaded -= loaded
        self.counts[state] += 1
        tally.counts[state] += 1
        self._seen.set(node.node, 1 + _RANK[state] + len(STATES) * self._numbers[tally.op])
        if state == "ran":
            tally.nanoseconds += node.nanoseconds
            tally.longest = max(tally.longest, node.nanoseconds)
            tally.size += node.size
        elif state == "reused":
            tally.saved += node.saved
            tally.loaded += node.size
        elif state == "failed":
            self.failed.append(node)
        if state in {"ran", "failed"} and node.ended:
            self._span(node)
        return True

    def _recall(self, node: str) -> tuple[str | None, str]:
        value = self._seen.get(node)
        if not value:
            return None, ""
        number, rank = divmod(value - 1, len(STATES))
        return STATES[rank], self._names[number]

    def op_of(self, node: str) -> str:
        """Return the op of a node; empty if nothing was told of it."""
        return self._recall(node)[1]

    def _tally(self, op: str) -> OpTally:
        tally = self.ops.get(op)
        if tally is None:
            name = op if len(self.ops) < OPS else OTHER
            tally = self.ops.get(name)
            if tally is None:
                tally = self.ops[name] = OpTally(name)
                self._numbers[name] = len(self._names)
                self._names.append(name)
        return tally

    def _link(self, node: NodeState) -> None:
        self.shape += 1
        self._edges += len(node.inputs)
        own = self._tally(node.op).op
        for source in node.inputs:
            pair = (self.op_of(source), own)
            if pair[0] and (pair in self.links or len(self.links) < 10 * OPS):
                self.links[pair] += 1
        if self._edges > EDGES:
            node.inputs = ()

    def _explain(self, node: NodeState) -> None:
        if node.decision != "run":
            return
        self.recent.append(node)
        why = self.reasons.get(node.why)
        if why is None:
            words = node.why if len(self.reasons) < REASONS else OTHER
            why = self.reasons.setdefault(words, Why(words, node.node, node.op))
        why.times += 1

    def _span(self, node: NodeState) -> None:
        start = min(node.started or node.ended, node.ended)
        self.spanned += 1
        self.spans.append(
            Span(node.node, node.op, node.state, start, node.ended, self._lane(node, start))
        )

    def _lane(self, node: NodeState, start: int) -> str:
        """Return where there is room: each worker has as many lanes as it ran ops at once."""
        worker = (node.worker.partition("://")[2] or node.worker or "?")[:LANE_NAME]
        for number in range(1, 33):
            lane = worker if number == 1 else f"{worker} ({number})"
            if lane not in self._lanes and len(self._lanes) >= LANES:
                break
            if self._lanes.get(lane, 0) <= start:
                self._lanes[lane] = node.ended
                return lane
        self._lanes[OTHER] = node.ended
        return OTHER

    def _keep(self, node: NodeState) -> None:
        nodes = self.state.nodes
        if len(nodes) > WINDOW:
            # What was touched last stays; it is put behind the others.
            nodes[node.node] = nodes.pop(node.node)
            self.shrink(WINDOW)

    def shrink(self, window: int) -> None:
        """Forget all but the latest nodes."""
        nodes = self.state.nodes
        while len(nodes) > window:
            del nodes[next(iter(nodes))]
            self.shape += 1

    # --- stores ---

    def _add_to_store(self, event: StoreHit | StorePut | StoreQuarantined | TierDown) -> None:
        tally = self.tiers.get(event.tier)
        if tally is None:
            name = event.tier if len(self.tiers) < TIERS else OTHER
            tally = self.tiers.setdefault(name, TierTally(name))
        if isinstance(event, StoreHit):
            if event.by == "resolved":
                tally.resolved += 1
            else:
                tally.planned += 1
            tally.hit_bytes += event.size
        elif isinstance(event, StorePut):
            tally.puts += 1
            tally.put_bytes += event.size
        elif isinstance(event, StoreQuarantined):
            tally.quarantined += 1
            tally.trouble = event.reason
        else:
            tally.down += 1
            tally.trouble = event.reason
