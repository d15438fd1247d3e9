"""What a user relies on of a run's events, journal and history, on every scheduler."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict

import pytest
import sample_ops

from invariant_dask import Graph, MemoryStore, Node, OpRegistry, Secret, compile, ref
from invariant_dask.errors import ObserverError, OpFailedError, SpecError
from invariant_dask.ledger.coding import to_json
from invariant_dask.ledger.events import (
    Event,
    NodeEvent,
    NodeStarted,
    StorePut,
)
from invariant_dask.ledger.folding import fold
from invariant_dask.ledger.journal import read_journal
from invariant_dask.ledger.places import Ledger
from invariant_dask.ledger.runs import History
from invariant_dask.runtime import outbox
from invariant_dask.runtime.listening import Listener, listening
from invariant_dask.runtime.outbox import outbox_of

SCHEDULERS = ["sync", "threads", "processes", "cluster"]


@pytest.fixture(params=SCHEDULERS)
def scheduler(request: pytest.FixtureRequest) -> object:
    return request.getfixturevalue("client") if request.param == "cluster" else request.param


def graph(seed: int = 5) -> Graph:
    g = Graph("sums")
    g.add("source", sample_ops.source, seed=seed)
    g.add("total", sample_ops.total, values=ref("source"))
    g.add("same", sample_ops.total, values=ref("source"))
    g.add("double", sample_ops.double, value=ref("total"))
    g.add("again", sample_ops.double, value=ref("double"))
    return g


def test_what_a_worker_that_leaves_had_to_tell_is_not_lost(monkeypatch) -> None:
    from distributed import Client

    monkeypatch.setattr("invariant_dask.runtime.outbox._EVERY", 600)
    event = NodeStarted(time=1, run="r", node="n", digest="d")
    heard: list[Event] = []
    arrived = threading.Event()

    def hear(each: Event) -> None:
        heard.append(each)
        arrived.set()

    def tell(dask_worker: object) -> None:
        outbox_of(dask_worker).emit(event)

    with Client(
        processes=False, n_workers=2, dashboard_address=":0", set_as_default=False
    ) as client:
        leaving = min(client.scheduler_info()["workers"])
        with listening(client, Listener("r", hear)):
            client.run(tell, workers=[leaving])
            client.retire_workers([leaving])
            assert arrived.wait(30)
    assert heard == [event]


def test_one_event_that_cannot_be_read_costs_no_other() -> None:
    good = NodeStarted(time=1, run="r", node="n", digest="d")
    heard: list[Event] = []
    bad = {"event": "node.started", "run": "r", "time": "now"}
    Listener("r", heard.append).hear(outbox.message("worker", [bad, to_json(good)]))
    assert heard == [good]


def per_node(events: list[Event]) -> dict[str, list[str]]:
    """What happened to each node, in the order in which it was told."""
    found = defaultdict(list)
    for event in events:
        if isinstance(event, NodeEvent) and event.node:
            found[event.node].append(event.event)
    return dict(found)


RAN = ["node.planned", "node.started", "node.finished"]


def test_each_node_tells_in_order_what_happens_to_it(scheduler, tmp_path, caplog) -> None:
    events: list[Event] = []
    compiled = compile(graph(), ["again", "same"], store=tmp_path / "s")
    run = compiled.run(scheduler=scheduler, observe=events.append)
    ran = [e for e in RAN if scheduler != "processes" or e != "node.started"]
    assert per_node(events) == {
        "source": ran,
        "total": ran,
        "same": ["node.planned", "node.reused"],
        "double": ran,
        "again": ran,
    }
    assert [e.event for e in events if not isinstance(e, NodeEvent)] == [
        "run.started", "run.planned", "run.ended"
    ]  # fmt: skip
    assert run.state == fold(events)
    assert "did not arrive in time" not in caplog.text
    assert {name: node.state for name, node in run.state.nodes.items()} == {
        "source": "ran", "total": "ran", "same": "shared", "double": "ran", "again": "ran"
    }  # fmt: skip


def test_equal_graphs_tell_the_same_of_each_node_on_every_scheduler(client, tmp_path) -> None:
    told, outlines = [], []
    g = graph()
    g.add("said", sample_ops.say, text="hello")
    for number, chosen in enumerate(["sync", "threads", client]):
        events: list[Event] = []
        compiled = compile(g, store=tmp_path / str(number))
        run = compiled.run(scheduler=chosen, observe=events.append)
        told.append(per_node(events))
        outlines.append(run.state.outline())
    assert told[0] == told[1] == told[2]
    assert told[0]["said"] == ["node.planned", "node.started", "node.logged", "node.finished"]
    assert outlines[0] == outlines[1] == outlines[2]


def test_what_is_reused_says_where_it_was_and_what_it_saved(scheduler, tmp_path) -> None:
    store = tmp_path / "s"
    first = compile(graph(), ["again"], store=store).run(scheduler=scheduler)
    events: list[Event] = []
    run = compile(graph(), ["again"], store=store).run(scheduler=scheduler, observe=events.append)
    assert per_node(events) == {"again": ["node.planned", "store.hit", "node.reused"]}
    assert run.state.counts()["not looked at"] == 3
    assert run.state.hits == {(str(store), "planned"): 1}
    again = run.state.nodes["again"]
    assert (again.state, again.by) == ("reused", "planned")
    assert again.artifact == first.state.nodes["again"].artifact
    assert run.state.saved > 0


def test_counts_of_run_and_events_agree(scheduler, tmp_path) -> None:
    store = tmp_path / "s"
    for seed, plus in ((5, 0), (5, 0), (6, 0), (6, 1)):
        g = graph(seed)
        g.add("more", sample_ops.total, values=ref("source"), plus=plus)
        run = compile(g, store=store).run(scheduler=scheduler)
        told, counts = run.state.counts(), run.counts()
        assert (told["ran"], told["shared"], told["reused"], told["not looked at"]) == (
            counts["ran"], counts["shared"], counts["reused"], counts["pruned"]
        )  # fmt: skip


def failing() -> tuple[Graph, OpRegistry]:
    registry = OpRegistry()
    registry.register("here:fails", _fail, version="1")
    registry.register("here:pass", _same, version="1")
    g = Graph("fails")
    g.add("fine", "here:pass", value=1)
    g.add("bad", "here:fails", value=ref("fine"))
    g.add("after", "here:pass", value=ref("bad"))
    g.add("later", "here:pass", value=ref("after"))
    return g, registry


def _fail(value):
    raise ValueError(f"no {value}")


def _same(value):
    return value


def test_failure_tells_what_failed_and_what_was_skipped_for_it(scheduler, tmp_path) -> None:
    g, registry = failing()
    events: list[Event] = []
    compiled = compile(g, store=tmp_path / "s", registry=registry)
    with pytest.raises(OpFailedError):
        compiled.run(scheduler=scheduler, observe=events.append)
    state = fold(events)
    assert {name: node.state for name, node in state.nodes.items()} == {
        "fine": "ran", "bad": "failed", "after": "skipped", "later": "skipped"
    }  # fmt: skip
    assert state.state == "failed"
    assert state.nodes["bad"].error == "ValueError: no 1"
    assert "in _fail" in state.nodes["bad"].traceback
    assert state.nodes["later"].because == "bad"


def test_attempts_that_failed_are_told(tmp_path) -> None:
    registry = OpRegistry()
    tries: list[int] = []

    def flaky(value):
        tries.append(value)
        if len(tries) < 3:
            raise OSError("not yet")
        return value

    registry.register("here:flaky", flaky, version="1")
    g = Graph("flaky", {"a": Node("here:flaky", {"value": 1}, retries=2)})
    events: list[Event] = []
    run = compile(g, store=tmp_path / "s", registry=registry).run(observe=events.append)
    assert [e.event for e in events if isinstance(e, NodeEvent)] == [
        "node.planned", "node.started", "node.attempt_failed", "node.started",
        "node.attempt_failed", "node.started", "node.finished",
    ]  # fmt: skip
    assert [failure.error for failure in run.state.failures] == ["OSError: not yet"] * 2
    assert run.state.nodes["a"].attempt == 3


def test_lines_that_ops_log_are_told_without_secrets(scheduler, tmp_path) -> None:
    g = Graph()
    g.add("said", sample_ops.say, text=ref("password"))
    run = compile(g, context={"password": Secret("hunter2")}, store=tmp_path / "s").run(
        scheduler=scheduler
    )
    if scheduler != "processes":
        assert [(line.level, line.text) for line in run.state.log] == [
            ("WARNING", "the text is <secret>")
        ]
    assert "hunter2" not in repr(run.state)


def test_an_observer_that_fails_is_told_once_and_hears_no_more(tmp_path, caplog) -> None:
    heard = []

    def explode(event: Event) -> None:
        heard.append(event)
        raise RuntimeError("boom")

    run = compile(graph(), store=tmp_path / "s").run(observe=explode)
    assert run.values["again"] == 40
    assert run.state.state == "finished"
    assert len(heard) == 1
    assert caplog.text.count("the observer of run") == 1


def test_an_observer_that_fails_is_an_error_of_a_strict_run(tmp_path) -> None:
    def explode(_event: Event) -> None:
        raise RuntimeError("boom")

    compiled = compile(graph(), store=tmp_path / "s")
    with pytest.raises(ObserverError, match="the observer failed: RuntimeError"):
        compiled.run(observe=explode, strict=True)
    assert compiled.plan().run == []  # the run itself did not fail


def test_a_strict_run_that_finds_all_stored_lets_go_of_its_ledger(tmp_path) -> None:
    def explode(_event: Event) -> None:
        raise RuntimeError("boom")

    compiled = compile(graph(), store=tmp_path / "s")
    compiled.compute(scheduler="sync")
    with pytest.raises(ObserverError):
        compiled.run(observe=explode, strict=True, ledger=tmp_path / "ledger")
    assert "invariant-dask-ledger" not in {thread.name for thread in threading.enumerate()}
    assert list((tmp_path / "ledger" / "runs").glob("*/lock")) == []


def test_source_that_goes_into_a_store_is_told(tmp_path) -> None:
    events: list[Event] = []
    compiled = compile(graph(), store=tmp_path / "s")
    compiled.run(scheduler="sync", observe=events.append)
    puts = [event for event in events if isinstance(event, StorePut)]
    found = compiled.store.recent("invariant:code", 9)
    assert {put.digest for put in puts} == {record.resolved.hex() for record in found}
    assert all(put.size for put in puts)
    assert len(puts) == 3


def test_a_ledger_that_cannot_be_written_costs_no_run(tmp_path, caplog) -> None:
    (tmp_path / "ledger").write_text("a file")
    compiled = compile(graph(), store=tmp_path / "s")
    run = compiled.run(ledger=tmp_path / "ledger")
    assert run.values["again"] == 40
    assert caplog.text.count("the journal of run") == caplog.text.count("the history of run") == 1
    with pytest.raises(ObserverError):
        compiled.run(ledger=tmp_path / "ledger", strict=True)


def test_ledger_is_where_it_is_said_to_be(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INVARIANT_LEDGER")
    store = tmp_path / "s"
    compiled = compile(graph(), store=store)
    assert compiled.run(tags=["nightly"]).journal.is_relative_to(store / "ledger")
    assert compiled.run(ledger=False).journal is None
    assert compiled.run(ledger="here").journal.is_relative_to(tmp_path / "here")
    assert compile(graph(), store=MemoryStore()).run().journal is None
    monkeypatch.setenv("INVARIANT_LEDGER", str(tmp_path / "there"))
    run = compile(graph(), store=MemoryStore()).run()
    assert run.journal.is_relative_to(tmp_path / "there")
    history = History(Ledger(store / "ledger"))
    assert [found.tags for found in history.runs(tag="nightly")] == [("nightly",)]
    assert fold(read_journal(run.journal)) == run.state
    with pytest.raises(SpecError, match="tags must be a list"):
        compiled.run(tags="nightly")


def test_compute_is_recorded_on_a_cluster_and_where_somebody_asks(client, tmp_path) -> None:
    ledger = tmp_path / "ledger"
    compiled = compile(graph(), store=tmp_path / "s")
    os.environ["INVARIANT_LEDGER"] = str(ledger)
    try:
        compile(graph(1), store=tmp_path / "s").compute(scheduler="sync")
        assert not ledger.exists()
        compile(graph(2), store=tmp_path / "s").compute(scheduler=client, ledger=False)
        assert not ledger.exists()
        compile(graph(3), store=tmp_path / "s").compute(scheduler=client)
        assert len(History(Ledger(ledger)).runs()) == 1
        compiled.compute(scheduler="sync", ledger=True)
        assert len(History(Ledger(ledger)).runs()) == 2
    finally:
        os.environ["INVARIANT_LEDGER"] = "off"


def test_runs_at_once_on_one_cluster_hear_their_own_events(client, tmp_path) -> None:
    runs = {}

    def work(seed: int) -> None:
        runs[seed] = compile(graph(seed), store=tmp_path / "s").run(scheduler=client)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(11, 15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run in runs.values():
        assert run.state.counts()["ran"] == 4
        assert {node.state for node in run.state.nodes.values()} == {"ran", "shared"}


_KILLED = """
import os, sys
from invariant_dask import Graph, OpRegistry, compile, ref

def step(n):
    if n == 6:
        print("six", flush=True)
        sys.stdin.readline()
    return n + 1

registry = OpRegistry()
registry.register("here:step", step, version="1")
g = Graph("killed")
g.add("n0", "here:step", n=0)
for i in range(1, 10):
    g.add(f"n{i}", "here:step", n=ref(f"n{i - 1}"))
compile(g, store=sys.argv[1], registry=registry).run(scheduler="sync", ledger=sys.argv[2])
"""


def test_killed_run_leaves_a_journal_that_tells_which_nodes_were_finished(tmp_path) -> None:
    ledger = tmp_path / "ledger"
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(tmp_path / "s"), str(ledger)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "six\n"
    journal = None
    while journal is None:  # events are on their way for a moment
        for found in (ledger / "runs").glob("*/events.jsonl"):
            if (
                b'"n6"' in found.read_bytes()
                and b"node.started" in found.read_bytes().split(b"\n")[-2]
            ):
                journal = found
    process.send_signal(signal.SIGKILL)
    process.communicate()
    state = fold(read_journal(journal))
    assert {name: node.state for name, node in state.nodes.items()} == {
        **{f"n{i}": "ran" for i in range(6)}, "n6": "running",
        **{f"n{i}": "planned" for i in range(7, 10)},
    }  # fmt: skip
    command = [sys.executable, "-m", "invariant_dask", "runs", "show", "latest", "--json"]
    shown = subprocess.run(
        command, env={**os.environ, "INVARIANT_LEDGER": str(ledger)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    told = json.loads(shown.stdout)
    assert "interrupted" in json.dumps(told)


def test_ops_log_as_they_would_without_a_ledger(tmp_path, capsys) -> None:
    g = Graph()
    g.add("said", sample_ops.say, text="hello")
    handlers = list(logging.getLogger().handlers)
    compile(g, store=tmp_path / "s").run(scheduler="sync")
    assert logging.getLogger().handlers == handlers
