"""Events of runs that nobody ran, and the messages they travel in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from invariant_dask.ledger.coding import to_json
from invariant_dask.ledger.events import (
    Event,
    NodeFailed,
    NodeFinished,
    NodePlanned,
    NodeReused,
    NodeStarted,
    RunEnded,
    RunPlanned,
    RunStarted,
    StoreHit,
    StorePut,
)
from invariant_dask.runtime import outbox

RUN = "7c2f9e1a" * 4
BEGAN = 1_800_000_000_000_000_000
SECOND = 1_000_000_000
WORKER = "tcp://10.0.0.1:4000"


def message(events: Iterable[Event], sender: str = "client") -> dict[str, Any]:
    return outbox.message(sender, [to_json(event) for event in events])


def about(node: str, run: str = RUN, time: int = BEGAN) -> dict[str, Any]:
    return {"time": time, "run": run, "node": node, "digest": f"{abs(hash(node)):064x}"[-64:]}


def began(nodes: int, run: str = RUN, graph: str = "poster", **more: Any) -> list[Event]:
    return [
        RunStarted(time=BEGAN, run=run, graph=graph, store="file:///data/.invariant"),
        RunPlanned(time=BEGAN, run=run, nodes=nodes, **more),
    ]


def planned(node: str, op: str, inputs: Sequence[str] = (), run: str = RUN, **more: Any) -> Event:
    reason = more.pop("reason", "not stored")
    return NodePlanned(**about(node, run), op=op, reason=reason, inputs=tuple(inputs), **more)


def ran(
    node: str, op: str, run: str = RUN, *, start: int = BEGAN, took: int = SECOND, size: int = 100,
    worker: str = WORKER,
) -> list[Event]:  # fmt: skip
    end = about(node, run, start + took)
    return [
        NodeStarted(**about(node, run, start), op=op, worker=worker),
        StorePut(**end, tier="file:///data/.invariant", size=size, nanoseconds=2_000_000),
        NodeFinished(**end, op=op, resolved="cd" * 32, artifact="ef" * 32, type="list",
                     size=size, nanoseconds=took, worker=worker),
    ]  # fmt: skip


def reused(node: str, op: str, run: str = RUN, *, saved: int = 2 * SECOND) -> list[Event]:
    return [
        StoreHit(**about(node, run), by="planned", tier="file:///data/.invariant", size=50,
                 nanoseconds=1_000_000),
        NodeReused(**about(node, run), op=op, saved=saved, size=50, artifact="ab" * 32),
    ]  # fmt: skip


def failed(node: str, op: str, error: str, run: str = RUN) -> Event:
    trace = f"Traceback (most recent call last):\n  ...\n{error}"
    end = about(node, run, BEGAN + SECOND)
    return NodeFailed(**end, op=op, error=error, traceback=trace, worker=WORKER)


def ended(state: str = "finished", run: str = RUN) -> Event:
    return RunEnded(time=BEGAN + 5 * SECOND, run=run, state=state, nanoseconds=5 * SECOND)


def diamond(run: str = RUN) -> list[Event]:
    """A source that is reused, two that take it, one of which fails, and one that takes both."""
    return [
        *began(6, run, inline=1, to_run=3, reused=1),
        planned("src", "io:load", run=run, decision="reuse", reason="stored"),
        planned("left", "photo:tone", ["src"], run=run, causes=("parameter gain: 3 -> 4",)),
        planned("right", "photo:blur", ["src"], run=run),
        planned("end", "photo:merge", ["left", "right"], run=run, reason="an input runs"),
        *reused("src", "io:load", run),
        *ran("left", "photo:tone", run),
        failed("right", "photo:blur", "ValueError: no pixels", run),
        ended("failed", run),
    ]


def long_run(nodes: int, ops: int = 7, run: str = RUN) -> Iterator[Event]:
    """A chain of many nodes: planned at once, then run one after the other."""
    yield from began(nodes, run, to_run=nodes)
    for number in range(nodes):
        before = [f"n{number - 1}"] if number else []
        yield planned(f"n{number}", f"op{number % ops}", before, run)
    for number in range(nodes):
        start = BEGAN + number * 1000
        yield from ran(f"n{number}", f"op{number % ops}", run, start=start, took=900, size=10)
