"""What a scheduler remembers of runs: exact, bounded, and deaf to nonsense."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from dashboard.stories import (
    BEGAN,
    RUN,
    SECOND,
    about,
    began,
    diamond,
    ended,
    failed,
    long_run,
    message,
    planned,
    ran,
    reused,
)

from invariant_dask.ledger.coding import to_json
from invariant_dask.ledger.events import (
    AttemptFailed,
    NodeFinished,
    NodePlanned,
    NodesGrown,
    OpLogged,
    RunStarted,
    StoreHit,
    StoreQuarantined,
    TierDown,
)
from invariant_dask.ledger.folding import fold
from invariant_dask.runtime import board_run, board_states, outbox
from invariant_dask.runtime.board import FEW, RUNS, Board
from invariant_dask.runtime.board_run import OPS, OTHER, REASONS, SPANS, TIERS, WINDOW
from invariant_dask.runtime.board_view import counts, details, overview, summary

ROOT = Path(__file__).parents[2]


def board_of(*events) -> Board:
    board = Board(clock=lambda: BEGAN + 7 * SECOND)
    board.receive(message(events))
    return board


def told(board: Board) -> dict[str, int]:
    return {state: count for state, count in counts(board.latest).items() if count}


def test_board_counts_what_happened_to_each_node() -> None:
    board = board_of(*diamond())
    assert told(board) == {
        "ran": 1, "reused": 1, "failed": 1, "planned": 1, "inline": 1, "not looked at": 1,
    }  # fmt: skip
    found = summary(board.latest, board.clock())
    assert (found["state"], found["seconds"]) == ("failed", 5.0)
    assert (found["saved_seconds"], found["busy_seconds"]) == (2.0, 1.0)
    assert (found["made_bytes"], found["reused_bytes"], found["hits"]) == (100, 50, 1)


def test_counts_are_those_of_the_fold_in_whatever_order_events_come_and_however_often() -> None:
    events = [*diamond(), *ran("end", "photo:merge"), *ran("right", "photo:blur")]
    choice = random.Random(7)
    for _ in range(200):
        some = choice.choices(events, k=choice.randrange(1, 40))
        assert counts(board_of(*some).latest) == fold(some).counts()


def test_node_that_is_told_of_twice_counts_once_after_it_was_forgotten_too() -> None:
    first = ran("first", "op", took=3 * SECOND, size=7)
    many = [event for number in range(WINDOW + 5) for event in ran(f"n{number}", "op", size=0)]
    board = board_of(*began(WINDOW + 6), *first, *many, *first)
    assert told(board) == {"ran": WINDOW + 6}
    assert board.latest.ops["op"].nanoseconds == (WINDOW + 8) * SECOND
    assert board.latest.ops["op"].size == 7
    assert len(board.latest.state.nodes) == WINDOW


def test_node_that_ran_after_all_is_no_longer_counted_as_reused_or_failed() -> None:
    board = board_of(*reused("a", "op"), failed("b", "op", "no"), *ran("a", "op"), *ran("b", "op"))
    assert told(board) == {"ran": 2}
    found = details(board.latest, 0)
    assert (found["saved_seconds"], found["reused_bytes"]) == (0.0, 0)
    assert found["failures"] == []


def test_op_that_nobody_named_at_first_is_counted_under_its_name_later() -> None:
    nameless = NodePlanned(**about("a"))
    board = board_of(nameless, *ran("a", "op"))
    rows = {row["op"]: row["nodes"] for row in details(board.latest, 0)["ops"]}
    assert rows == {"": 0, "op": 1}


def test_reasons_failures_retries_and_log_lines_are_told_latest_first() -> None:
    board = board_of(
        *diamond(),
        AttemptFailed(**about("left"), attempt=1, error="TimeoutError: 2 s"),
        OpLogged(**about("left"), text="one"),
        OpLogged(**about("left", time=BEGAN + 1), text="two"),
    )
    found = details(board.latest, 0)
    assert {why["reason"]: why["times"] for why in found["reasons"]} == {
        "parameter gain: 3 -> 4": 1, "not stored": 1, "an input runs": 1,
    }  # fmt: skip
    assert found["failures"][0] == {
        "node": "right", "op": "photo:blur", "digest": about("right")["digest"],
        "error": "ValueError: no pixels",
    }  # fmt: skip
    assert [each["error"] for each in found["retries"]] == ["TimeoutError: 2 s"]
    assert [line["text"] for line in found["log"]] == ["two", "one"]


def test_stores_are_told_apart_with_their_hits_and_their_troubles() -> None:
    board = board_of(
        StoreHit(**about("a"), by="planned", tier="near", size=3),
        StoreHit(**about("b"), by="resolved", tier="near", size=4),
        StoreQuarantined(**about("c"), tier="near", reason="damaged"),
        TierDown(time=BEGAN, run=RUN, tier="far", reason="503"),
    )
    near, far = details(board.latest, 0)["tiers"]
    assert (near["hits_planned"], near["hits_resolved"], near["hit_bytes"]) == (1, 1, 7)
    assert (near["quarantined"], near["trouble"]) == (1, "damaged")
    assert (far["down"], far["trouble"]) == (1, "503")
    assert board.totals.trouble == {("near", "quarantined"): 1, ("far", "down"): 1}


def test_lanes_of_the_timeline_do_not_overlap() -> None:
    choice = random.Random(3)
    events = []
    for number in range(300):
        start = BEGAN + choice.randrange(10 * SECOND)
        events.append((start + choice.randrange(1, SECOND), start, number))
    board = board_of(
        *(
            event
            for end, start, number in sorted(events)
            for event in ran(f"n{number}", "op", start=start, took=end - start)
        )
    )
    assert len(board.latest.lanes) > 3
    for lane in board.latest.lanes:
        spans = sorted((s.start, s.end) for s in board.latest.spans if s.lane == lane)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


@pytest.mark.parametrize(
    "nonsense",
    [
        None, 7, "events", [], {}, {"v": 1}, {"v": 1, "settled": "token"},
        {"run": "r", "digest": "d", "kind": "ran"},
        {"v": 2, "events": []}, {"v": 1, "events": "abc"}, {"v": 1, "events": {"a": 1}},
        {"v": 1, "events": '[null, 3, "x", [], {}]'},
        {"v": 1, "events": json.dumps([{"event": "node.planned"}])},
        {"v": 1, "events": json.dumps([{"event": 7}])},
        {"v": 1, "events": json.dumps([{"event": "run.started", "time": "now", "run": "r"}])},
        {"v": 1, "events": json.dumps([{"event": "run.started", "time": 1, "run": ["r"]}])},
        {"v": 1, "events": json.dumps([{"event": "run.started", "time": True, "run": "r"}])},
        {"v": 1, "events": json.dumps([to_json(planned("a", "op")) | {"inputs": [1, 2]}])},
        {"v": 1, "events": json.dumps([{"1": 2}])},
        {"v": 1, "worker": 12, "events": json.dumps([{"event": "of a newer version"}])},
    ],
    ids=repr,
)  # fmt: skip
def test_nonsense_is_dropped(nonsense) -> None:
    board = board_of(*diamond())
    before = details(board.latest, 0)
    board.receive(nonsense)
    assert details(board.latest, 0) == before
    assert len(board.runs) == 1


def test_what_could_not_be_read_is_counted_and_the_rest_of_the_message_taken() -> None:
    board = Board()
    good = to_json(planned("a", "op"))
    board.receive(
        outbox.message("client", [good, {"event": "node.planned"}, None, good | {"op": 3}])
    )
    board.receive(outbox.message("client", [good]) | {"v": 99})
    assert board.dropped == 4
    assert told(board) == {"planned": 1}


def test_numbers_that_cannot_be_are_brought_into_range() -> None:
    board = board_of(*began(1))
    data = to_json(ran("a", "op")[-1]) | {"size": -(10**30), "nanoseconds": 10**40, "time": -5}
    board.receive(outbox.message("client", [data]))
    assert board.dropped == 0
    found = details(board.latest, board.clock())
    assert found["made_bytes"] == 0
    json.dumps(found)


def test_names_of_any_length_are_cut_and_stay_different() -> None:
    long = "x" * 1_000_000
    board = board_of(
        planned(long + "a", "o" * 1_000_000, [long + "b"], causes=("why" * 100_000,) * 100),
        planned(long + "b", "op\ud800"),
        failed(long + "c", "op", "e" * 1_000_000),
        OpLogged(**about(long + "a"), text="t" * 1_000_000),
    )
    run = board.latest
    assert len(run.state.nodes) == 3
    assert all(len(name) <= 200 for name in [*run.state.nodes, *run.ops])
    assert run.state.nodes[next(iter(run.state.nodes))].inputs[0] in run.state.nodes
    json.dumps(overview(board), ensure_ascii=False).encode()
    assert len(json.dumps(overview(board))) < 60_000


def test_what_is_told_apart_is_bounded() -> None:
    board = Board()
    many = 3 * OPS
    names = [f"x{number}" for number in range(many)]
    board.receive(message(planned(name, name, reason=name) for name in names))
    board.receive(message(e for name in names for e in ran(name, name, worker=f"tcp://{name}")))
    board.receive(message(StoreHit(**about("a"), tier=name, size=1) for name in names))
    board.receive(message(NodesGrown(**about(name), added=(name,) * 9) for name in names))
    run = board.latest
    assert len(run.ops) == OPS + 1
    assert sum(op.counts["ran"] for op in run.ops.values()) == many
    assert run.ops[OTHER].counts["ran"] == many - OPS
    assert len(run.tiers) <= TIERS + 1
    assert sum(tier.planned for tier in run.tiers.values()) == many
    assert len(run.reasons) <= REASONS + 1
    assert sum(why.times for why in run.reasons.values()) == many
    assert len(run.lanes) <= board_run.LANES + 1
    assert not run.state.grown
    assert len({op for op, _ in board.totals.nodes}) == OPS + 1


def test_only_the_latest_runs_are_remembered_and_few_of_them_in_full() -> None:
    board = Board()
    for number in range(RUNS + 7):
        board.receive(message(long_run(FEW + 50, run=f"run{number}")))
    assert list(board.runs) == [f"run{number}" for number in range(7, RUNS + 7)]
    assert len(board.runs["run7"].state.nodes) == FEW
    assert told(board) == {"ran": FEW + 50}
    assert counts(board.runs["run7"])["ran"] == FEW + 50
    assert board.totals.runs["started"] == RUNS + 7


def test_nodes_that_find_no_place_are_counted_and_the_run_says_it_is_not_exact(monkeypatch) -> None:
    monkeypatch.setattr(board_states, "LIMIT", 64 * 20)
    board = board_of(*(e for n in range(3000) for e in ran(f"n{n}", "op")))
    assert counts(board.latest)["ran"] >= 3000
    assert not summary(board.latest, 0)["exact"]


FOLLOW = """
import itertools, json, resource, sys
from dashboard.stories import long_run, message
from invariant_dask.runtime.board import Board
from invariant_dask.runtime.board_view import details

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

board, events = Board(), long_run(int(sys.argv[1]))
board.receive(message(itertools.islice(events, 2)))
before = peak()
while batch := list(itertools.islice(events, 500)):
    board.receive(message(batch))
unit = 1 if sys.platform == "darwin" else 1024
run = board.latest
print(json.dumps({
    "bytes": unit * (peak() - before), "nodes": len(run.state.nodes), "spans": len(run.spans),
    "details": details(run, 0),
}))
"""


def check_long_run(nodes: int, megabytes: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FOLLOW, str(nodes)], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [ROOT, ROOT / "tests"]))},
    )  # fmt: skip
    found = json.loads(done.stdout)
    run = found["details"]
    assert {state: count for state, count in run["counts"].items() if count} == {"ran": nodes}
    assert run["exact"]
    assert sum(row["ran"] for row in run["ops"]) == nodes
    assert (found["nodes"], found["spans"]) == (WINDOW, SPANS)
    assert found["bytes"] < megabytes * 1_000_000


def test_run_of_100_000_nodes_is_counted_exactly_in_little_memory() -> None:
    check_long_run(100_000, 25)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_run_of_a_million_nodes_is_counted_exactly_in_bounded_memory() -> None:
    check_long_run(1_000_000, 60)


def test_worker_that_dask_names_is_that_of_events_without_one() -> None:
    board = Board()
    event = NodeFinished(**about("a"), op="op", nanoseconds=5)
    board.receive(message([event], "worker") | {"worker": "tcp://1.2.3.4:5"})
    assert board.latest.state.nodes["a"].worker == "tcp://1.2.3.4:5"
    assert board.latest.lanes == ["1.2.3.4:5"]


def test_run_that_ended_stands_still_while_one_that_goes_on_does_not() -> None:
    board = board_of(RunStarted(time=BEGAN, run=RUN))
    assert summary(board.latest, board.clock())["seconds"] == 7.0
    board.receive(message([ended()]))
    assert summary(board.latest, board.clock())["seconds"] == 5.0
