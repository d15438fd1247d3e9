"""Events for tests: strategies for all types, and a small run by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, get_type_hints

from hypothesis import strategies as st
from strategies import text

from invariant_dask.ledger.events import (
    SCHEMA,
    TYPES,
    Event,
    NodeCancelled,
    NodeFailed,
    NodeFinished,
    NodePlanned,
    NodeReused,
    NodeSkipped,
    NodeStarted,
    RunEnded,
    RunPlanned,
    RunStarted,
    StoreHit,
)

SECOND = 10**9
START = 1_800_000_000 * SECOND

# What terminals, pages, databases and shells stumble over.
HOSTILE = (
    "<script>alert(1)</script>", "'; DROP TABLE node_runs; --", "a\nb\r\nc", "\x1b[31mred\x07",
    "nul\x00inside", "\ud800 alone", "\u202egnp.exe", "\U0010ffff", "[bold]markup[/]", "%s%n",
    "x" * 20_000,
)  # fmt: skip

_numbers = st.one_of(st.integers(0, 3), st.integers(-(2**63) + 1, 2**63 - 1))
_texts = st.one_of(text, st.sampled_from(HOSTILE[:-1]))
_small = st.sampled_from(["", "a", "b", "shared"])


def _field(hint: Any, texts: st.SearchStrategy[str], numbers: st.SearchStrategy[int]) -> Any:
    return {
        str: texts,
        int: numbers,
        bool: st.booleans(),
        tuple[str, ...]: st.lists(texts, max_size=3).map(tuple),
    }[hint]


def _events_of(
    kind: type[Event], texts: st.SearchStrategy[str], numbers: st.SearchStrategy[int], **fixed: Any
) -> st.SearchStrategy[Event]:
    hints = get_type_hints(kind)
    given = {each.name: _field(hints[each.name], texts, numbers) for each in fields(kind)}
    given.update({name: st.just(value) for name, value in fixed.items() if name in given})
    return st.builds(kind, **given)


any_event = st.one_of(
    *(_events_of(kind, _texts, _numbers, schema=SCHEMA) for kind in TYPES.values())
)
"""Any event, of any run, with any texts."""

# Few ids and times, so that they meet.
crowded_events = st.lists(
    st.one_of(
        *(
            _events_of(kind, _small, st.integers(0, 3), run="r", schema=SCHEMA)
            for kind in TYPES.values()
        )
    ),
    max_size=30,
)
"""Events of one run that tell different things of the same nodes at the same times."""


def digest_of(name: str) -> str:
    return name.encode().hex().ljust(64, "0")[:64]


def sample_run(run: str = "run-1", *, graph: str = "census", at: int = START) -> list[Event]:
    """A run of six nodes: two ran, one shares, one was reused, one failed, one was skipped."""

    def base(name: str, after: float) -> dict[str, Any]:
        time = at + int(after * SECOND)
        return {"time": time, "run": run, "node": name, "digest": digest_of(name)}

    planned = {
        "words": ("stdlib:split", "never seen", ()),
        "total": ("census:count", "parameter at_least: 2 -> 3", ("words",)),
        "again": ("census:count", "the same work as total", ("words",)),
        "old": ("stdlib:add", "stored", ()),
        "bad": ("census:break", "never seen", ("words",)),
        "after": ("stdlib:add", "follows from bad", ("bad", "old")),
    }
    events: list[Event] = [
        RunStarted(
            time=at, run=run, graph=graph, document="ab" * 32, outputs=("after", "again"),
            store=".invariant", writer="me", context=("unit",), tags=("nightly", "ci"),
        ),
        RunPlanned(
            time=at + SECOND // 10, run=run, nodes=8, to_run=4, shared=1, reused=1, not_looked_at=1,
            inline=1,
        ),
    ]  # fmt: skip
    for name, (op, reason, inputs) in planned.items():
        events.append(
            NodePlanned(
                **base(name, 0.2), op=op, decision="reuse" if name == "old" else "run",
                reason=reason, inputs=inputs, shares="total" if name == "again" else "",
            )
        )  # fmt: skip
    events += [
        StoreHit(**base("old", 0.3), by="planned", tier="near", size=70),
        NodeReused(
            **base("old", 0.3), op="stdlib:add", by="planned", artifact="cd" * 32, type="int",
            size=70, saved=5 * SECOND,
        ),
        NodeStarted(**base("words", 0.4), op="stdlib:split", worker="w1"),
        NodeFinished(
            **base("words", 1.4), op="stdlib:split", resolved=digest_of("words"),
            artifact="ef" * 32, type="list", size=50, nanoseconds=SECOND, worker="w1",
        ),
        NodeStarted(**base("total", 1.5), op="census:count", worker="w2"),
        NodeStarted(**base("bad", 1.5), op="census:break", worker="w1"),
        NodeFinished(
            **base("total", 3.5), op="census:count", resolved="12" * 32, artifact="34" * 32,
            type="int", size=9, nanoseconds=2 * SECOND, worker="w2",
        ),
        NodeFailed(
            **base("bad", 4), op="census:break", error="ValueError: no", traceback="Traceback ...",
            worker="w1",
        ),
        NodeSkipped(**base("after", 4), because="bad"),
        RunEnded(
            time=at + 5 * SECOND, run=run, state="failed", nanoseconds=5 * SECOND,
            error="node 'bad' failed",
        ),
    ]  # fmt: skip
    return events


def wide_run(run: str, nodes: int, *, op: str = "wide:op", at: int = START) -> list[Event]:
    """A run of many nodes that ran one after the other."""
    events: list[Event] = [RunStarted(time=at, run=run, graph="wide")]
    for number in range(nodes):
        name = f"n{number}"
        events.append(
            NodeFinished(
                time=at + number, run=run, node=name, digest=digest_of(name), op=op,
                resolved=digest_of(name), artifact=digest_of(name), size=number,
                nanoseconds=1000 + number,
            )
        )  # fmt: skip
    return [*events, RunEnded(time=at + nodes, run=run, nanoseconds=nodes)]


def cut_into(events: Sequence[Event], size: int) -> list[list[Event]]:
    return [list(events[start : start + size]) for start in range(0, len(events), size)]


def cancelled(run: str, node: str, time: int = START) -> NodeCancelled:
    return NodeCancelled(time=time, run=run, node=node, digest=digest_of(node))
