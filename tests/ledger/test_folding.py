"""The fold: the same state for the same events, however they arrive."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from ledger.samples import START, cancelled, crowded_events, digest_of, sample_run

from invariant_dask.ledger.events import (
    AttemptFailed,
    Event,
    NodeEvent,
    NodeFailed,
    NodeFinished,
    NodePlanned,
    NodeReused,
    NodeStarted,
    OpLogged,
    RunEnded,
    RunStarted,
    StoreHit,
    StorePut,
)
from invariant_dask.ledger.folding import LINES, fold

N = {"run": "r", "node": "n", "digest": digest_of("n")}


@given(crowded_events, st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_the_same_state(
    events: list[Event], chance: random.Random
) -> None:
    mixed = list(events)
    chance.shuffle(mixed)
    assert fold(mixed) == fold(events)


@given(st.randoms(use_true_random=False))
def test_nodes_may_overtake_each_other(chance: random.Random) -> None:
    """Order is kept for each node, as with workers that report on their own."""
    queues: dict[str, list[Event]] = {}
    for event in sample_run():
        queues.setdefault(event.node if isinstance(event, NodeEvent) else "", []).append(event)
    mixed = []
    while queues:
        name = chance.choice(sorted(queues))
        mixed.append(queues[name].pop(0))
        if not queues[name]:
            del queues[name]
    assert fold(mixed) == fold(sample_run())


@given(crowded_events, st.integers(0, 30))
def test_a_fold_goes_on_where_another_ended(events: list[Event], at: int) -> None:
    assert fold(events[at:], fold(events[:at])) == fold(events)


@given(crowded_events)
def test_the_sums_that_are_kept_are_those_of_the_nodes(events: list[Event]) -> None:
    state = fold(events)
    nodes = state.nodes.values()
    assert +state.tally == Counter(node.state for node in nodes)
    assert state.saved == sum(node.saved for node in nodes if node.state == "reused") / 1e9
    assert state.busy == sum(node.nanoseconds for node in nodes if node.state == "ran") / 1e9


def test_counts_tell_of_all_nodes_of_the_plan() -> None:
    assert fold(sample_run()).counts() == {
        "ran": 2, "reused": 1, "shared": 1, "failed": 1, "skipped": 1, "cancelled": 0,
        "running": 0, "planned": 0, "not looked at": 1, "inline": 1,
    }  # fmt: skip


def test_equal_runs_have_equal_outlines_whenever_they_were() -> None:
    first, second = fold(sample_run()), fold(sample_run("another", at=START + 10**12))
    assert first.outline() == second.outline()
    assert first != second


def test_events_of_another_run_are_passed_over() -> None:
    assert fold([*sample_run("a"), *sample_run("b")]) == fold(sample_run("a"))


def test_a_node_that_shares_work_is_as_far_as_the_one_it_shares_with() -> None:
    follower = NodePlanned(time=1, run="r", node="m", digest=N["digest"], shares="n")
    steps: list[tuple[Event, str]] = [
        (NodePlanned(time=1, **N), "planned"),
        (NodeStarted(time=2, **N), "running"),
        (NodeFailed(time=3, **N), "failed"),
        (NodeReused(time=3, **N), "reused"),
        (NodeFinished(time=4, **N), "shared"),
    ]
    state = fold([follower])
    for event, expected in steps:
        fold([event], state)
        assert state.nodes["m"].state == expected
    assert +state.tally == {"ran": 1, "shared": 1}


def test_a_node_that_got_what_an_equal_one_made_shares_and_saves_nothing() -> None:
    shared = NodeReused(time=5, by="shared", saved=7, **N)
    stored = NodeReused(time=1, by="planned", saved=3, **N)
    assert fold([shared]).counts()["shared"] == 1
    assert fold([shared]).saved == 0
    for events in ([shared, stored], [stored, shared]):
        assert fold(events).nodes["n"].state == "reused"
        assert fold(events).saved == 3 / 1e9


def test_nodes_that_share_with_each_other_in_a_circle_do_no_harm() -> None:
    circle = [
        NodePlanned(time=1, run="r", node=name, digest="", shares=other)
        for name, other in (("a", "b"), ("b", "a"), ("c", "c"))
    ]
    assert {node.state for node in fold(circle).nodes.values()} == {"planned"}


def test_of_two_results_the_later_counts_and_nothing_of_the_other_stays() -> None:
    failed = NodeFailed(time=9, error="no", traceback="Traceback", worker="w1", **N)
    reused = NodeReused(time=1, by="resolved", saved=7, artifact="aa", **N)
    for events in ([failed, reused], [reused, failed]):
        node = fold(events).nodes["n"]
        assert (node.state, node.error, node.traceback, node.worker) == ("reused", "", "", "")
        assert (node.ended, node.saved, node.by, node.kept) == (1, 7, "resolved", True)
    earlier = NodeFinished(time=1, nanoseconds=5, resolved="aa", worker="w1", kept=False, **N)
    later = NodeFinished(time=2, nanoseconds=3, worker="w2", **N)
    for events in ([earlier, later], [later, earlier]):
        node = fold(events).nodes["n"]
        assert (node.nanoseconds, node.resolved, node.worker, node.kept) == (3, "", "w2", True)


def test_a_start_is_the_one_that_was_told_else_it_follows_from_the_result() -> None:
    start = NodeStarted(time=50, **N)
    end = NodeFinished(time=100, nanoseconds=40, **N)
    assert fold([end]).nodes["n"].started == 60
    assert fold([end, start]).nodes["n"].started == fold([start, end]).nodes["n"].started == 50


def test_an_attempt_that_failed_shows_that_the_op_was_called() -> None:
    events = [
        AttemptFailed(time=2, attempt=1, error="no", **N),
        NodeStarted(time=3, attempt=2, worker="w2", **N),
        NodeStarted(time=4, attempt=1, worker="w1", **N),
    ]
    assert fold(events[:1]).nodes["n"].state == "running"
    node = fold(events).nodes["n"]
    assert (node.attempt, node.worker) == (2, "w2")


def test_an_end_that_is_told_before_the_beginning_counts() -> None:
    end = RunEnded(time=9, run="r", state="failed", nanoseconds=10**9, error="no")
    state = fold([end, RunStarted(time=1, run="r", graph="g")])
    assert (state.state, state.started, state.ended, state.seconds) == ("failed", 1, 9, 1.0)


def test_a_look_up_makes_no_node_and_tells_where_the_artifact_of_one_is() -> None:
    hit = StoreHit(time=3, tier="far", by="resolved", size=5, **N)
    put = StorePut(time=4, tier="near", **N)
    assert fold([hit]).nodes == {}
    assert fold([hit]).hits == {("far", "resolved"): 1}
    for events in ([hit, put, cancelled("r", "n")], [cancelled("r", "n"), put, hit]):
        assert fold(events).nodes["n"].tier == "near"


def test_the_latest_lines_of_the_log_are_kept_whatever_their_order() -> None:
    lines = [OpLogged(time=n // 2, text=str(n), **N) for n in range(3 * LINES)]
    kept = fold(lines).log
    assert len(kept) == LINES
    random.Random(3).shuffle(lines)
    assert fold(lines).log == kept
    assert {line.time for line in kept} == set(range(LINES, 3 * LINES // 2))
