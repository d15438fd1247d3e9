"""When each worker was at what: one bar for each call of an op, stacked where they overlap."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from invariant_dask.ledger.events import AttemptFailed, Event, NodeStarted
from invariant_dask.ledger.folding import NodeState, RunState


@dataclass(frozen=True, slots=True)
class Bar:
    """A call of an op."""

    start: int
    """Nanoseconds since 1970, as is the end."""
    end: int
    node: str
    op: str
    worker: str
    how: str = "ran"
    """`ran`, `failed` or `running`; `again` if it failed and was called once more."""
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Row:
    """What one worker did."""

    worker: str
    lanes: tuple[tuple[Bar, ...], ...]
    """Bars that do not overlap, in order, for as many as were at work at once."""
    busy: int
    """Nanoseconds of all bars."""

    @property
    def bars(self) -> Iterator[Bar]:
        """All bars."""
        for lane in self.lanes:
            yield from lane


def bars_of(state: RunState, events: Sequence[Event] | None = None) -> list[Bar]:
    """Return what was called when, in order of time.

    Parameters
    ----------
    state
        The state of the run.
    events
        Its events, if there are any at hand: they tell of attempts that failed.
    """
    last = max((node.ended for node in state.nodes.values()), default=0)
    now = max(state.ended, last)
    starts, bars = _attempts(state, events or ())
    for node in state.nodes.values():
        bar = _bar(node, starts.get(node.node, 0), now)
        if bar is not None:
            bars.append(bar)
    bars.sort(key=lambda bar: (bar.start, bar.end, bar.worker, bar.node, bar.attempt))
    return bars


def _bar(node: NodeState, started: int, now: int) -> Bar | None:
    how = node.state
    if how not in {"ran", "failed", "running"} or node.shares:
        return None
    start = started or node.started or (node.ended - node.nanoseconds if how == "ran" else 0)
    if start <= 0:
        return None
    end = max(start, now if how == "running" else node.ended)
    return Bar(start, end, node.node, node.op, node.worker, how, max(1, node.attempt))


def _attempts(state: RunState, events: Iterable[Event]) -> tuple[dict[str, int], list[Bar]]:
    """Return when the last attempt of each node began, and bars of those before it."""
    starts: dict[str, dict[int, NodeStarted]] = defaultdict(dict)
    failed: list[AttemptFailed] = []
    for event in events:
        if event.run != state.run:
            continue
        if isinstance(event, NodeStarted):
            starts[event.node][event.attempt] = event
        elif isinstance(event, AttemptFailed):
            failed.append(event)
    bars = []
    for event in failed:
        start = starts[event.node].get(event.attempt)
        node = state.nodes.get(event.node)
        if start is not None and node is not None:
            end = max(start.time, event.time)
            worker = event.worker or start.worker
            bars.append(Bar(start.time, end, event.node, node.op, worker, "again", event.attempt))
    return {node: tries[max(tries)].time for node, tries in starts.items() if tries}, bars


def rows_of(bars: Iterable[Bar]) -> list[Row]:
    """Return what each worker did, the busiest first; `bars` are in order of time."""
    by_worker: dict[str, list[Bar]] = defaultdict(list)
    for bar in bars:
        by_worker[bar.worker].append(bar)
    rows = [
        Row(worker, _lanes(own), sum(bar.end - bar.start for bar in own))
        for worker, own in by_worker.items()
    ]
    return sorted(rows, key=lambda row: (-row.busy, row.worker))


def _lanes(bars: Iterable[Bar]) -> tuple[tuple[Bar, ...], ...]:
    lanes: list[list[Bar]] = []
    free: list[tuple[int, int]] = []
    for bar in bars:
        if free and free[0][0] <= bar.start:
            _, lane = heapq.heappop(free)
        else:
            lane = len(lanes)
            lanes.append([])
        lanes[lane].append(bar)
        heapq.heappush(free, (bar.end, lane))
    return tuple(map(tuple, lanes))
