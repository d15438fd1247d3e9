"""What notebooks and terminals show of objects."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from invariant_dask import (
    ChainStore,
    DiskStore,
    Graph,
    MemoryStore,
    NullStore,
    ReadOnly,
    Secret,
    SubGraphNode,
    SwitchNode,
    compile,
    ref,
)
from invariant_dask.cards import MOST_ROWS, Card


def printed(shown: object) -> str:
    stream = io.StringIO()
    Console(file=stream, width=200, color_system=None).print(shown)
    return stream.getvalue()


def sums(count: int = 3) -> Graph:
    graph = Graph("sums")
    for i in range(count):
        graph.add(f"sum {i}", "stdlib:add", a=i, b=1)
    return graph


def test_a_graph_shows_its_nodes_with_ops_and_inputs_and_no_values() -> None:
    graph = sums()
    graph.add("last", "stdlib:add", a=ref("sum 0"), b=Secret("hidden"))
    graph["choice"] = SwitchNode(ref("last"), cases={"1": "sum 1"})
    graph["within"] = SubGraphNode({"x": "sum 2"}, graph=sums(1), output="sum 0")
    for told in (printed(graph), graph._repr_html_()):
        for words in ("Graph sums: 6 nodes", "stdlib:add", "(switch)", "(subgraph)"):
            assert words in told
        assert "hidden" not in told


def test_of_many_nodes_some_are_shown_and_the_others_counted() -> None:
    graph = sums(MOST_ROWS + 1234)
    for told in (printed(graph), graph._repr_html_()):
        assert f"sum {MOST_ROWS - 1}" in told
        assert f"sum {MOST_ROWS}" not in told
        assert "... and 1,234 more" in told


def test_a_plan_and_a_run_show_what_they_are() -> None:
    compiled = compile(sums(), store=MemoryStore())
    for told in (printed(compiled.plan()), compiled.plan()._repr_html_()):
        assert "Plan: 3 to run" in told
        assert "never seen" in told
    run = compiled.run(scheduler="sync")
    for told in (printed(run), run._repr_html_()):
        assert "Run of sums" in told
        assert run.state.nodes["sum 2"].artifact[:16] in told


def test_a_record_shows_what_it_is_of() -> None:
    store = MemoryStore()
    compiled = compile(sums(1), store=store)
    compiled.compute(scheduler="sync")
    [record] = store.recent("stdlib:add")
    for told in (printed(record), record._repr_html_()):
        assert record.hash.hex() in told
        assert "Record of stdlib:add: int" in told
        assert "sum 0" in told


def test_stores_show_where_they_are_and_what_they_did(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path / "near")
    compile(sums(), store=disk).compute(scheduler="sync")
    chain = ChainStore(disk, DiskStore(tmp_path / "far"))
    for store in (disk, ReadOnly(disk), chain, NullStore(), MemoryStore()):
        for told in (printed(store), store._repr_html_()):
            assert type(store).__name__ in told
    assert "puts             3" in printed(disk)
    assert str(tmp_path / "far") in printed(chain)


HOSTILE = '<script>alert(1)</script>[red]\x1b[31m\u202e&" :smile:\nnext'


@pytest.mark.parametrize("place", ["title", "facts", "columns", "rows", "notes"])
def test_hostile_texts_are_shown_as_they_are(place: str) -> None:
    parts = {
        "title": "t", "facts": [("a", "b")], "columns": ("c",), "rows": [("r",)], "notes": ["n"]
    }  # fmt: skip
    hostile = {
        "title": HOSTILE, "facts": [(HOSTILE, HOSTILE)], "columns": (HOSTILE,),
        "rows": [(HOSTILE,)], "notes": [HOSTILE],
    }  # fmt: skip
    card = Card(**(parts | {place: hostile[place]}))
    shown = card.html()
    assert "<script" not in shown
    assert "&lt;script&gt;alert(1)" in shown
    stream = io.StringIO()
    console = Console(file=stream, width=300, force_terminal=True, color_system=None)
    for line in card.lines(console):
        console.print(line)
    for told in (shown, stream.getvalue()):
        assert "[red]\\x1b[31m\\u202e" in told
        assert ":smile:\\nnext" in told


def test_a_text_that_is_too_long_is_cut() -> None:
    assert len(Card("x" * 10**6).html()) < 1000
