"""How far a run is, and how long it may still take."""

from __future__ import annotations

import io

from view.happenings import MS, RUN, START

from invariant_dask import Graph, MemoryStore, SwitchNode, compile, op, ref
from invariant_dask.ledger.events import (
    AttemptFailed,
    Event,
    NodeFailed,
    NodeFinished,
    NodePlanned,
    NodeReused,
    NodeStarted,
)
from invariant_dask.view.console import Bar
from invariant_dask.view.pace import Pace


def about(node: str, ms: int = 0) -> dict:
    return {"run": RUN, "time": START + ms * MS, "node": node, "digest": node}


def planned(*nodes: str) -> list[Event]:
    return [NodePlanned(**about(node), op="slow") for node in nodes]


def finished(node: str, ms: int, took: int) -> Event:
    return NodeFinished(**about(node, ms), op="slow", nanoseconds=took * MS, size=10)


def pace_after(*events: Event, expected: object = None) -> Pace:
    pace = Pace(expected)
    for event in events:
        pace.take(event)
    return pace


def test_what_is_reused_or_shared_is_nothing_to_do() -> None:
    pace = pace_after(
        *planned("a", "b"),
        NodePlanned(**about("c"), op="slow", decision="reuse"),
        NodePlanned(**about("a") | {"node": "twin"}, op="slow", shares="a"),
        NodeReused(**about("c"), op="slow"),
    )
    assert (pace.done, pace.total) == (0, 2)


def test_nodes_are_done_when_they_are_made_found_or_failed() -> None:
    pace = pace_after(
        *planned("a", "b", "c", "d"), NodeStarted(**about("a"), op="slow"), finished("a", 5, 5),
        finished("a", 5, 5), NodeReused(**about("b"), op="slow", by="resolved"),
        NodeFailed(**about("c"), op="slow"),
    )  # fmt: skip
    assert (pace.done, pace.total, pace.failed, pace.running) == (3, 4, 1, 0)


def test_an_attempt_that_failed_is_not_at_work_any_more() -> None:
    start = NodeStarted(**about("a"), op="slow")
    assert pace_after(*planned("a"), start).running == 1
    assert pace_after(*planned("a"), start, AttemptFailed(**about("a"))).running == 0


def test_time_left_is_expected_work_by_as_many_as_are_at_it() -> None:
    events = [*planned("a", "b", "c", "d", "e"), NodeStarted(**about("a"), op="slow")]
    events += [NodeStarted(**about("b"), op="slow"), finished("a", 100, 100)]
    events.append(finished("b", 100, 100))
    pace = pace_after(*events, expected=lambda op: 100 * MS)
    assert pace.time_left(START + 100 * MS) == 0.15  # three are left, by two at once


def test_nothing_is_said_of_the_time_left_without_anything_known() -> None:
    events = [*planned("a", "b"), NodeStarted(**about("a"), op="slow")]
    assert pace_after(*events).time_left(START + MS) is None
    assert pace_after(*events, expected=lambda op: None).time_left(START + MS) is None


def test_what_this_run_says_of_an_op_counts_more_than_earlier_ones() -> None:
    events = [*planned("a", "b", "c", "d"), NodeStarted(**about("a"), op="slow")]
    events += [finished(node, 300, 100) for node in "abc"]
    pace = pace_after(*events, expected=lambda op: 10**15)
    assert pace.time_left(START + 300 * MS) == 0.1


@op("pace:number", version="1")
def number(n: int) -> int:
    return n


def test_the_total_takes_in_what_switches_bring() -> None:
    graph = Graph()
    graph.add("size", "pace:number", n=1)
    graph.add("one", "pace:number", n=10)
    two = graph.add("two", "pace:number", n=20)
    graph.add("after", "stdlib:add", a=two, b=1)
    graph["choice"] = SwitchNode(ref("size"), cases={"1": "after", "2": "one"})
    pace = Pace()
    compile(graph, ["choice"], store=MemoryStore()).run(scheduler="sync", observe=pace.take)
    assert (pace.done, pace.total) == (3, 3)


def test_a_bar_is_drawn_once_work_goes_on_and_then_taken_away() -> None:
    stream = io.StringIO()
    bar = Bar(stream=stream)
    bar.write(planned("a", "b"))
    assert stream.getvalue() == ""
    bar.write([NodeStarted(**about("a"), op="slow"), finished("a", 5, 5)])
    assert bar._shown is not None
    [task] = bar._shown.tasks
    assert (task.completed, task.total) == (1, 2)
    bar.close()
    assert bar._shown is None
