"""The overhead benchmark runs, checks what it measures, and says what it could not measure."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
from rich.console import Console

from benchmarks import overhead
from benchmarks.peers import bars, child, rounds, startup
from benchmarks.peers import lab as lab_module
from benchmarks.peers.everyone import BASELINE, everyone
from benchmarks.peers.lab import Bar, Lab, NoNumberError
from benchmarks.peers.peer import MODES, Measured, Peer
from benchmarks.peers.rounds import Cell, Settings, expected_values, measure, take
from benchmarks.peers.shapes import SHAPES, changed, evaluate, shape_of
from benchmarks.peers.tables import show, show_bars


def shown(cells: list[Cell]) -> str:
    console = Console(file=io.StringIO(), width=300)
    show(cells, console)
    return console.file.getvalue()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [1, 2, 9, 250])
def test_shapes_name_inputs_before_nodes_and_have_one_output(shape, count) -> None:
    nodes = shape_of(shape, count)
    assert all(source < i for i, (_, inputs) in enumerate(nodes) for source in inputs)
    used = {source for _, inputs in nodes for source in inputs}
    assert used == set(range(len(nodes) - 1))
    values = evaluate(nodes)
    assert len(set(values)) == len(values)
    assert evaluate(changed(nodes))[-1] != values[-1]


def test_installed_peers_are_right_in_every_mode(tmp_path) -> None:
    """The peers in need of no more than the package, run in this process."""
    for name in ("ours/disk", "ours/memory", "ours/threads", "dask.get", "dask.threaded.get"):
        state = tmp_path / name.replace("/", "-")
        state.mkdir()
        for mode in MODES:
            for shape in SHAPES:
                job = {"peer": name, "shape": shape, "nodes": 30, "mode": mode, "state": state}
                answer = child.answer(job)
                assert answer["values"] == expected_values(shape_of(shape, 30), mode), job


def test_a_table_is_printed_and_written(tmp_path, capsys) -> None:
    file = tmp_path / "cells.json"
    overhead.main(
        ["--nodes", "20", "--shape", "fan", "--peer", "ours/disk,dask.get", "--repeat", "1",
         "--json", str(file)],
    )  # fmt: skip
    printed = capsys.readouterr().out
    assert "ours/disk" in printed
    assert "WRONG" not in printed
    written = json.loads(file.read_text())
    assert written["machine"]["versions"]["dask"]
    assert {(cell["peer"], cell["mode"]) for cell in written["cells"]} == {
        (peer, mode) for peer in ("ours/disk", "dask.get") for mode in MODES
    }
    assert all(len(cell["seconds"]) == len(cell["ratios"]) == 1 for cell in written["cells"])
    stored = next(c for c in written["cells"] if (c["peer"], c["mode"]) == ("ours/disk", "warm"))
    assert stored["details"][0]["digests asked"] == 1


def test_a_wrong_answer_is_never_a_time() -> None:
    cell = Cell("dask.get", "fan", 9, "cold", 9)
    answer = {"seconds": 1.0, "values": [2], "parts": {}, "inside": {}, "counts": {}}
    take(cell, answer, [3])
    assert cell.seconds == []
    assert "WRONG" in shown([cell])


def test_a_peer_that_answers_wrongly_does_not_spoil_the_others(monkeypatch) -> None:
    def answers(_module, job, _settings, **_options) -> dict[str, object]:
        wrong = (job["peer"], job["mode"]) == ("diskcache.memoize", "changed")
        values = expected_values(shape_of(job["shape"], job["nodes"]), job["mode"])
        values = [0] if wrong else values
        return {"seconds": 0.5, "values": values, "parts": {}, "inside": {}, "counts": {}}

    monkeypatch.setattr(rounds, "run_child", answers)
    peers = [everyone()[name] for name in ("dask.get", "diskcache.memoize")]
    cells = measure(peers, ["fan"], [9], MODES, Settings(repeat=2), lambda _: None)
    assert [(c.peer, c.mode) for c in cells if c.problem] == [("diskcache.memoize", "changed")]
    assert all(c.ratios == [1.0, 1.0] for c in cells if not c.problem)
    assert shown(cells).count("WRONG") == 1


def test_a_bar_insists_on_everything_being_stored(monkeypatch) -> None:
    def answers(_module, job, _settings, **_options) -> dict[str, object]:
        values = expected_values(shape_of(job["shape"], job["nodes"]), job["mode"])
        counts = {"artifacts put": 3}
        return {"seconds": 0.5, "values": values, "parts": {}, "inside": {}, "counts": counts}

    monkeypatch.setattr(lab_module, "run_child", answers)
    with pytest.raises(NoNumberError, match="not every node was stored"):
        Lab(Settings(), lambda _: None).fresh("ours/disk", "fan", 9)


def test_what_is_not_there_is_said_to_be_absent() -> None:
    peer = Peer("nobody", lambda *_: Measured([], {}), "nobody-at-all", "nobody_at_all")
    assert "not installed" in peer.absent()
    cells = measure(
        [everyone()["graphchain"]], ["fan"], [9], ["cold"], Settings(repeat=1), lambda _: None
    )
    assert "absent" in cells[0].problem
    assert "*1: absent" in shown(cells)


def test_limits_are_said_with_their_reason() -> None:
    cells = measure(
        [everyone()["redun"]], ["chain"], [100_000], ["cold"], Settings(repeat=1), lambda _: None
    )
    assert "recursively" in cells[0].problem


def test_the_baseline_is_a_peer() -> None:
    assert everyone()[BASELINE].keeps == "nothing"


def test_bars_are_measured_and_compared(monkeypatch) -> None:
    """On graphs so small that it does not matter which are met."""
    monkeypatch.setattr(bars, "SMALL", 40)
    monkeypatch.setattr(bars, "LARGE", 50)
    monkeypatch.setattr(startup, "ROUNDS", 1)
    lab = Lab(Settings(repeat=1), lambda _: None)
    found = [bar for n in (1, 2, 5, 7) for bar in lab.bars(n, "", bars.BARS[n])]
    assert {bar.number for bar in found} == {1, 2, 5, 7}
    assert all(bar.met is not None for bar in found if bar.bar)
    assert next(bar for bar in found if "look-ups" in bar.what).measured == "1"
    console = Console(file=io.StringIO(), width=300)
    show_bars(found, console)
    assert "us/node" in console.file.getvalue()


def test_a_bar_that_cannot_be_measured_is_not_met() -> None:
    def fails(lab: Lab) -> Iterator[Bar]:
        yield Bar(9, "first", "<= 1", "2", met=False)
        raise NoNumberError("peer: WRONG")

    found = list(Lab(Settings(), lambda _: None).bars(9, "a bar", fails))
    assert [bar.measured for bar in found] == ["2", "peer: WRONG"]
    assert [bar.met for bar in found] == [False, None]
