"""Real runs, through the recorder into journal and history: they say what the run says."""

from __future__ import annotations

from pathlib import Path

import pytest

from invariant_dask import Graph, MemoryStore, compile, op
from invariant_dask.errors import OpError
from invariant_dask.ledger.events import Event
from invariant_dask.ledger.folding import RunState, fold
from invariant_dask.ledger.journal import read_journal
from invariant_dask.ledger.places import Ledger
from invariant_dask.ledger.recorder import Recorder
from invariant_dask.ledger.runs import History
from invariant_dask.ledger.writing import open_sinks


@op("recorded:halve", version="1")
def halve(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2


def graph(start: int) -> Graph:
    g = Graph("halves")
    first = g.add("first", halve, number=start)
    g.add("second", halve, number=first)
    g.add("same", halve, number=first)
    return g


def record(ledger: Ledger, events: list[Event]) -> RunState:
    recorder = Recorder(events[0].run, strict=True)
    journal, history = open_sinks(ledger, recorder.run, recorder.state)
    recorder.add("the journal", journal)
    recorder.add("the history", history)
    for event in events:
        recorder.emit(event)
    recorder.close()
    return recorder.state


def test_journal_history_fold_and_run_agree(tmp_path: Path) -> None:
    ledger, store = Ledger(tmp_path / "ledger"), MemoryStore()
    expected = [{"ran": 2, "shared": 1, "reused": 0}, {"ran": 0, "shared": 0}]
    for counts in expected:
        events: list[Event] = []
        run = compile(graph(8), store=store).run(observe=events.append)
        state = record(ledger, events)
        assert {name: run.counts()[name] for name in counts} == counts
        assert {name: state.counts()[name] for name in counts} == counts
        assert fold(read_journal(ledger.journal(run.id))) == state
        told = History(ledger).run(run.id)
        assert told.counts == state.counts()
        assert (told.state, told.graph, told.ended) == ("finished", "halves", state.ended)
        assert {n.node: n.state for n in History(ledger).nodes(run.id)} == {
            name: node.state for name, node in state.nodes.items()
        }


def test_a_failed_run_names_what_failed_and_what_shared_its_work(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    events: list[Event] = []
    with pytest.raises(OpError, match="3 is odd"):
        compile(graph(6), store=MemoryStore()).run(observe=events.append)
    record(ledger, events)
    told = History(ledger).run("latest")
    assert told.state == "failed"
    assert "3 is odd" in told.error
    same, second = History(ledger).nodes(told.id, state="failed", op="recorded:halve")
    assert (same.node, second.node) == ("same", "second")
    assert "3 is odd" in second.error
    assert same.why == "the same work as second"


def test_a_full_ledger_is_dropped_by_the_recorder_and_holds_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "something else").touch()
    ledger = Ledger(tmp_path / "ledger")
    recorder = Recorder("run-1")
    for name, sink in zip(("the journal", "the history"), open_sinks(ledger, "run-1"), strict=True):
        recorder.add(name, sink)
    events: list[Event] = []
    compile(graph(8), store=MemoryStore()).run(observe=events.append)
    for event in events:
        recorder.emit(type(event)(**{**_fields(event), "run": "run-1"}))
    recorder.close()
    assert caplog.text.count("hears no more") == 2
    assert "something else than a ledger" in caplog.text
    assert recorder.state.state == "finished"
    assert [path.name for path in ledger.folder.iterdir()] == ["something else"]


def _fields(event: Event) -> dict[str, object]:
    return {name: getattr(event, name) for name in event.__dataclass_fields__ if name != "event"}
