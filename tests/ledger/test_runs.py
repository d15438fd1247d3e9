"""The history of runs: what was written is found, by several writers, at any size."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger.samples import (
    HOSTILE,
    SECOND,
    START,
    any_event,
    cancelled,
    crowded_events,
    cut_into,
    digest_of,
    sample_run,
    wide_run,
)

import invariant_dask.ledger.runs as runs_module
from invariant_dask.errors import (
    LedgerError,
    LedgerLayoutError,
    LedgerUnavailableError,
    RunNotFoundError,
)
from invariant_dask.ledger.alive import is_held
from invariant_dask.ledger.database import read
from invariant_dask.ledger.events import (
    Event,
    NodeFailed,
    NodeFinished,
    NodePlanned,
    NodeStarted,
    RunEnded,
    RunStarted,
)
from invariant_dask.ledger.folding import fold
from invariant_dask.ledger.journal import read_journal
from invariant_dask.ledger.places import Ledger
from invariant_dask.ledger.rows import row_of_node
from invariant_dask.ledger.runs import History
from invariant_dask.ledger.writing import HistorySink, open_sinks


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


@pytest.fixture
def history(ledger: Ledger) -> History:
    return History(ledger)


def record(ledger: Ledger, events: list[Event], size: int = 5) -> None:
    sinks = open_sinks(ledger, events[0].run)
    for batch in cut_into(events, size):
        for sink in sinks:
            sink.write(batch)
    for sink in sinks:
        sink.close()


# --- what is written ---


def test_a_run_is_found_with_all_that_was_told_of_it(ledger: Ledger, history: History) -> None:
    record(ledger, sample_run())
    (run,) = history.runs()
    assert (run.id, run.graph, run.store, run.policy, run.writer) == (
        "run-1", "census", ".invariant", "any", "me",
    )  # fmt: skip
    assert (run.outputs, run.tags, run.context) == (
        ("after", "again"),
        ("nightly", "ci"),
        ("unit",),
    )
    assert (run.state, run.error, run.seconds) == ("failed", "node 'bad' failed", 5.0)
    assert (run.started, run.ended) == (START, START + 5 * SECOND)
    assert (run.saved, run.busy) == (5.0, 3.0)
    assert run.counts == fold(sample_run()).counts()
    assert run.document == "ab" * 32


def test_nodes_are_found_with_all_that_was_told_of_them(ledger: Ledger, history: History) -> None:
    record(ledger, sample_run())
    nodes = {node.node: node for node in history.nodes("run-1")}
    assert list(nodes) == ["after", "again", "bad", "old", "total", "words"]
    total, old, bad = nodes["total"], nodes["old"], nodes["bad"]
    assert (total.state, total.op, total.digest) == ("ran", "census:count", digest_of("total"))
    assert (total.resolved, total.artifact, total.size) == ("12" * 32, "34" * 32, 9)
    assert (total.nanoseconds, total.worker, total.kept) == (2 * SECOND, "w2", True)
    assert total.why == "parameter at_least: 2 -> 3"
    assert (old.state, old.by, old.tier, old.saved) == ("reused", "planned", "near", 5 * SECOND)
    assert (bad.state, bad.error, bad.kept) == ("failed", "ValueError: no", False)
    assert (nodes["after"].state, nodes["after"].because) == ("skipped", "bad")
    assert nodes["again"].state == "shared"


@settings(max_examples=40)
@given(crowded_events, st.integers(1, 9), st.booleans())
def test_the_history_says_what_the_fold_says_however_events_are_cut(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event], size: int, shared: bool
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("history") / "ledger")
    events = [RunStarted(time=0, run="r", tags=("a",)), *events]
    state = fold([]) if shared else None
    sink = HistorySink(ledger, "r", state)
    for batch in cut_into(events, size):
        if state is not None:
            fold(batch, state)
        sink.write(batch)
    sink.close()
    folded = fold(events)
    history = History(ledger)
    rows = read(ledger.history, "SELECT * FROM node_runs ORDER BY node")
    assert [row[1:] for row in rows] == [
        row_of_node(folded.nodes[name]) for name in sorted(folded.nodes)
    ]
    (run,) = history.runs()
    assert run.counts == folded.counts()
    assert (run.saved, run.busy, run.seconds) == (folded.saved, folded.busy, folded.seconds)
    assert [(each.seq, each.kind) for each in history.events("r")] == [
        (number, event.event) for number, event in enumerate(events)
    ]


@settings(max_examples=40)
@given(st.lists(any_event, max_size=5))
def test_any_texts_and_numbers_can_be_written_and_read(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event]
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("history") / "ledger")
    renamed = [type(event)(**{**_fields(event), "run": "r"}) for event in events]
    record(ledger, [RunStarted(time=1, run="r"), *renamed])
    history = History(ledger)
    (run,) = history.runs()
    assert len(history.nodes("r")) == len(fold([RunStarted(time=1, run="r"), *renamed]).nodes)
    assert len(history.events("r")) == len(events) + 1
    assert run.id == "r"


def _fields(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__dataclass_fields__ if name != "event"}


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_found_as_what_they_are(
    ledger: Ledger, history: History, name: str
) -> None:
    events: list[Event] = [
        RunStarted(time=1, run="r", graph=name, tags=(name,)),
        NodeFinished(time=2, run="r", node=name, digest="zz", op=name, nanoseconds=7),
        RunEnded(time=3, run="r"),
    ]
    record(ledger, events)
    shown = name.replace("\ud800", "\\ud800")
    assert [run.graph for run in history.runs(graph=shown, tag=shown, op=shown)] == [shown]
    (node,) = history.nodes("r", node=shown, op=shown, digest="zz")
    assert (node.node, node.op, node.digest) == (shown, shown, "zz")
    assert history.durations([shown])[shown].median == 7
    assert history.events("r", node=shown)[0].kind == "node.finished"


def test_nodes_of_a_run_that_is_going_on_are_there_once_they_ended(
    ledger: Ledger, history: History
) -> None:
    sink = HistorySink(ledger, "run-1")
    sink.write(sample_run()[:12])
    assert {node.node for node in history.nodes("run-1")} == {"old", "words"}
    assert history.run("latest").counts["planned"] == 4
    sink.close()
    assert len(history.nodes("run-1")) == 6


# --- whether it goes on ---


def test_a_run_runs_while_it_is_recorded_and_was_interrupted_if_nobody_does(
    ledger: Ledger, history: History
) -> None:
    sink = HistorySink(ledger, "run-1")
    sink.write(sample_run()[:-1])
    assert history.run("run-1").state == "running"
    assert len(history.runs(state="running")) == 1
    assert history.runs(state="interrupted") == []
    sink.close()
    assert history.run("run-1").state == "interrupted"
    assert history.runs(state="running") == []
    assert len(history.runs(state="interrupted", limit=1)) == 1


KILLED = """if True:
    import sys
    from pathlib import Path
    from ledger.samples import sample_run
    from invariant_dask.ledger.places import Ledger
    from invariant_dask.ledger.writing import open_sinks
    for sink in open_sinks(Ledger(Path(sys.argv[1])), "run-1"):
        globals().setdefault("sinks", []).append(sink)
        sink.write(sample_run()[:15])
    print("written", flush=True)
    sys.stdin.read()
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip


def end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.stdout.close()
    process.wait()


def test_a_killed_process_leaves_a_run_that_was_interrupted_and_tells_what_was_finished(
    ledger: Ledger, history: History
) -> None:
    process = start(KILLED, ledger.folder)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    assert history.run("run-1").state == "running"
    with pytest.raises(LedgerError, match="run run-1 is going on; cancel it first"):
        history.remove("run-1")
    process.send_signal(signal.SIGKILL)
    end(process)
    assert history.run("run-1").state == "interrupted"
    finished = {node.node for node in history.nodes("run-1")}
    assert finished == {"words", "total", "again", "old"}
    folded = fold(read_journal(ledger.journal("run-1")))
    assert {name for name, node in folded.nodes.items() if node.is_settled} == finished
    history.remove("run-1")
    assert not ledger.run_folder("run-1").exists()


def test_a_run_that_ended_between_two_looks_was_not_interrupted(
    ledger: Ledger, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = HistorySink(ledger, "run-1")
    sink.write(sample_run()[:-1])

    def ends_meanwhile(path: Path) -> bool:
        sink.write(sample_run()[-1:])
        sink.close()
        return is_held(path)

    monkeypatch.setattr(runs_module, "is_held", ends_meanwhile)
    assert history.run("run-1").state == "failed"


def test_one_process_records_a_run_at_a_time(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invariant_dask.ledger.alive._PATIENCE", 0.05)
    first, second = HistorySink(ledger, "run-1"), HistorySink(ledger, "run-1")
    first.write(sample_run()[:3])
    with pytest.raises(LedgerUnavailableError, match="another process records this run"):
        second.write(sample_run())
    second.close()
    assert is_held(ledger.lock("run-1"))
    first.close()
    assert not is_held(ledger.lock("run-1"))


# --- questions ---


@pytest.fixture
def several(ledger: Ledger) -> History:
    """Three runs, an hour apart."""
    hour = 3600 * SECOND
    record(ledger, sample_run("aa-1", graph="one"))
    record(ledger, wide_run("aa-2", 5, at=START + hour))
    record(
        ledger,
        [
            RunStarted(time=START + 2 * hour, run="bb-1", graph="one", tags=("ci",)),
            cancelled("bb-1", "words"),
            RunEnded(time=START + 3 * hour, run="bb-1", state="cancelled"),
        ],
    )
    return History(ledger)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ["bb-1", "aa-2", "aa-1"]),
        ({"limit": 2}, ["bb-1", "aa-2"]),
        ({"limit": 0}, []),
        ({"graph": "one"}, ["bb-1", "aa-1"]),
        ({"graph": "none"}, []),
        ({"tag": "ci"}, ["bb-1", "aa-1"]),
        ({"tag": "nightly"}, ["aa-1"]),
        ({"op": "wide:op"}, ["aa-2"]),
        ({"op": "wide:"}, []),
        ({"state": "finished"}, ["aa-2"]),
        ({"state": "cancelled"}, ["bb-1"]),
        ({"state": "interrupted"}, []),
        ({"prefix": "aa"}, ["aa-2", "aa-1"]),
        ({"prefix": "%"}, []),
        ({"since": START + 3600 * SECOND}, ["bb-1", "aa-2"]),
        ({"until": START + 3600 * SECOND}, ["aa-1"]),
        ({"since": datetime.fromtimestamp(START // SECOND + 1, UTC), "until": START * 2},
         ["bb-1", "aa-2"]),
        ({"graph": "one", "tag": "ci", "op": "stdlib:add", "state": "failed", "since": START},
         ["aa-1"]),
    ],
)  # fmt: skip
def test_runs_are_found_by_graph_tag_op_state_time_and_id(
    several: History, asked: dict[str, Any], expected: list[str]
) -> None:
    assert [run.id for run in several.runs(**asked)] == expected


def test_a_time_needs_a_zone(history: History) -> None:
    with pytest.raises(LedgerError, match="has no time zone"):
        history.runs(since=datetime(2026, 1, 1))


def test_a_run_is_named_by_the_beginning_of_its_id_or_as_the_latest(several: History) -> None:
    assert several.run("bb").id == "bb-1"
    assert several.run("aa-2").id == "aa-2"
    assert several.run("latest").id == "bb-1"
    with pytest.raises(RunNotFoundError, match="2 runs begin with 'aa', such as aa-1, aa-2"):
        several.run("aa")
    for name in ("cc", "", "'; DROP TABLE flow_runs; --"):
        with pytest.raises(RunNotFoundError, match=r"no run .*; see runs ls"):
            several.run(name)


def test_a_whole_id_that_begins_others_is_that_run(ledger: Ledger, history: History) -> None:
    for run in ("run-1", "run-10", "run-11"):
        record(ledger, wide_run(run, 1))
    assert history.run("run-1").id == "run-1"


def test_the_latest_of_no_runs_is_an_error_that_says_so(history: History) -> None:
    with pytest.raises(RunNotFoundError, match="no run is recorded in"):
        history.run("latest")


def test_nodes_are_found_by_id_op_digest_and_state_over_all_runs(several: History) -> None:
    assert [(n.run, n.state) for n in several.nodes(node="words")] == [
        ("bb-1", "cancelled"), ("aa-1", "ran"),
    ]  # fmt: skip
    assert [n.run for n in several.nodes(digest=digest_of("words"), limit=1)] == ["bb-1"]
    assert {n.node for n in several.nodes("aa-1", op="stdlib:add")} == {"old", "after"}
    assert [n.node for n in several.nodes("aa-1", state="failed")] == ["bad"]
    assert several.nodes(digest="no digest") == []


def test_events_are_found_by_kind_and_node(several: History) -> None:
    assert [event.kind for event in several.events("aa-1", node="total")] == [
        "node.planned", "node.started", "node.finished",
    ]  # fmt: skip
    (end,) = several.events("bb-1", kind="run.ended")
    assert (end.seq, end.node) == (2, "")


def test_durations_are_those_of_the_latest_calls(ledger: Ledger, history: History) -> None:
    record(ledger, wide_run("old", 50))  # 1000 to 1049
    record(ledger, wide_run("new", 5, at=START + SECOND))  # 1000 to 1004
    found = history.durations(["wide:op", "never:seen"])
    assert found.keys() == {"wide:op"}
    assert found["wide:op"].count == 55
    latest = history.durations(["wide:op"], last=5)["wide:op"]
    assert (latest.count, latest.low, latest.median, latest.high) == (5, 1001, 1002, 1003)
    assert latest.spread == 2
    assert history.durations([f"op{n}" for n in range(700)]) == {}


def test_a_removed_run_is_gone_and_others_stay(several: History) -> None:
    several.remove("aa-1")
    assert [run.id for run in several.runs()] == ["bb-1", "aa-2"]
    assert not several.ledger.run_folder("aa-1").exists()
    left = read(several.ledger.history, "SELECT DISTINCT run FROM node_runs")
    assert len(left) == 2
    with pytest.raises(RunNotFoundError, match="no run 'aa-1'"):
        several.remove("aa-1")


# --- many writers, many rows, no room ---


WRITER = """if True:
    import sys
    from pathlib import Path
    from ledger.samples import cut_into, wide_run
    from invariant_dask.ledger.places import Ledger
    from invariant_dask.ledger.writing import open_sinks
    ledger, name = Ledger(Path(sys.argv[1])), sys.argv[2]
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(5):
        run = f"{name}-{number}"
        sinks = open_sinks(ledger, run)
        for batch in cut_into(wide_run(run, 100), 20):
            for sink in sinks:
                sink.write(batch)
        for sink in sinks:
            sink.close()
"""


def test_several_processes_write_one_history_which_none_of_them_found(
    ledger: Ledger, history: History
) -> None:
    processes = [start(WRITER, ledger.folder, f"w{number}") for number in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        end(process)
        assert process.returncode == 0
    runs = history.runs()
    assert len(runs) == 20
    assert {run.state for run in runs} == {"finished"}
    assert all(run.counts["ran"] == 100 for run in runs)
    assert all(len(history.nodes(run.id)) == 100 for run in runs)
    assert all(len(history.events(run.id)) == 102 for run in runs)


def test_questions_about_many_rows_follow_an_index(
    ledger: Ledger, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        sink = HistorySink(ledger, f"run-{number}")
        sink.write(wide_run(f"run-{number}", 10_000, op=f"op{number % 3}", at=START + number))
        sink.close()
    steps: list[str] = []

    def explained(path: Path, sql: str, values: list[object]) -> list[tuple[Any, ...]]:
        steps.extend(row[3] for row in read(path, "EXPLAIN QUERY PLAN " + sql, values))
        return read(path, sql, values)

    monkeypatch.setattr(runs_module, "read", explained)
    assert len(history.nodes("run-3")) == 10_000
    assert len(history.nodes("run-3", node="n7", op="op0", state="ran")) == 1
    assert len(history.nodes(node="n7", limit=3)) == 3
    assert len(history.nodes(digest=digest_of("n7"))) == 10
    assert len(history.nodes(op="op1", limit=10)) == 10
    assert history.durations(["op0", "op1"], last=50)["op1"].count == 50
    assert len(history.runs(op="op1")) == 3
    assert len(history.runs(tag="none", graph="wide")) == 0
    assert len(history.runs(state="finished", since=START + 5, until=START + 9)) == 4
    assert history.run("run-4").id == "run-4"
    assert len(history.events("run-3", node="n7", kind="node.finished")) == 1
    walks = [step for step in steps if step.startswith("SCAN")]
    # A subquery's own few rows may be walked; tables of nodes and events never.
    assert [step for step in walks if "node_runs" in step or "events" in step] == []
    assert [step for step in steps if "TEMP B-TREE" in step and "node" in step] == []


def test_a_damaged_history_is_told_with_the_cure(ledger: Ledger, history: History) -> None:
    record(ledger, sample_run())
    for damage in (b"not a database at all" * 100, b"\xff" * 10_000):
        for path in ledger.folder.glob("history.sqlite*"):
            path.unlink()
        ledger.history.write_bytes(damage)
        with pytest.raises(LedgerLayoutError, match=r"is damaged .*; remove it .*runs replay"):
            history.runs()
        sink = HistorySink(ledger, "run-2")
        with pytest.raises(LedgerLayoutError, match="is damaged"):
            sink.write(wide_run("run-2", 1))
        sink.close()
        assert fold(read_journal(ledger.journal("run-1"))).state == "failed"


def test_a_history_without_its_tables_is_damaged(ledger: Ledger, history: History) -> None:
    record(ledger, sample_run())
    with sqlite3.connect(ledger.history) as connection:
        connection.execute("DROP TABLE flow_runs")
    connection.close()
    with pytest.raises(LedgerLayoutError, match=r"is damaged .*no such table"):
        history.runs()


def test_a_history_of_a_newer_version_is_refused(ledger: Ledger, history: History) -> None:
    record(ledger, sample_run())
    with sqlite3.connect(ledger.history) as connection:
        connection.execute("PRAGMA user_version=2")
    connection.close()
    with pytest.raises(LedgerLayoutError, match=r"version 2, and this .* knows version 1; use"):
        history.runs()
    sink = HistorySink(ledger, "run-2")
    with pytest.raises(LedgerLayoutError, match="version 2"):
        sink.write(wide_run("run-2", 1))
    sink.close()


def test_a_child_process_does_not_close_what_it_inherits(ledger: Ledger, history: History) -> None:
    sink = HistorySink(ledger, "run-1")
    sink.write(sample_run()[:5])
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            sink._writer.close()  # type: ignore[union-attr]
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    sink.write(sample_run()[5:])
    sink.close()
    assert history.run("run-1").state == "failed"


def test_what_one_attempt_left_open_counts_as_failed_only_if_it_did(
    ledger: Ledger, history: History
) -> None:
    """A node's row is written anew when a later event changes it."""
    base = {"run": "r", "node": "n", "digest": "aa"}
    sink = HistorySink(ledger, "r")
    sink.write([NodePlanned(time=1, **base), NodeStarted(time=2, **base)])  # type: ignore[arg-type]
    assert history.nodes("r") == []
    sink.write([NodeFailed(time=3, error="no", **base)])  # type: ignore[arg-type]
    assert [(n.state, n.error) for n in history.nodes("r")] == [("failed", "no")]
    sink.write([NodeFinished(time=2, nanoseconds=9, **base)])  # type: ignore[arg-type]
    assert [(n.state, n.error) for n in history.nodes("r")] == [("ran", "")]
    sink.close()
