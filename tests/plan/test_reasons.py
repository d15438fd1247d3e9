"""Why a node runs, in words that its reader can act on."""

from __future__ import annotations

import pytest
from sample_ops import source, total

from invariant_dask import Graph, MemoryStore, compile


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def one(name: str, *, values: object = (1,), plus: int = 0) -> Graph:
    g = Graph()
    g.add(name, total, values=values, plus=plus)
    return g


def causes(graph: Graph, store: MemoryStore, node: str) -> tuple[str, ...]:
    return compile(graph, store=store).plan()[node].causes


def test_node_that_was_stored_before_runs_for_what_changed(store) -> None:
    compile(one("sum"), store=store).compute(scheduler="sync")
    assert causes(one("sum", plus=4), store, "sum") == ("parameter plus: 0 -> 4",)
    assert causes(one("sum", values=(2,), plus=4), store, "sum") == (
        "parameter plus: 0 -> 4",
        "parameter values: (1,) -> (2,)",
    )


def test_reason_of_a_new_node_is_not_taken_from_a_strange_one(store) -> None:
    """Records of the same op are no reason, however few differences there are."""
    g = Graph()
    g.add("words", "stdlib:identity", value="Hello")
    compile(g, store=store).compute(scheduler="sync")
    g = Graph()
    g.add("kind", "stdlib:identity", value="drop_shadow")
    assert causes(g, store, "kind") == ("never seen",)
    compile(one("sum"), store=store).compute(scheduler="sync")
    assert causes(one("other", values=(7,), plus=8), store, "other") == ("never seen",)


def test_new_node_that_differs_in_one_thing_names_the_nearest(store) -> None:
    """Such as a node that was renamed."""
    compile(one("sum"), store=store).compute(scheduler="sync")
    assert causes(one("renamed", plus=4), store, "renamed") == (
        "never seen; nearest stored: sum, with parameter plus: 0 -> 4",
    )


def test_cold_run_says_never_seen_and_nothing_else(store) -> None:
    g = Graph()
    first = g.add("first", source, seed=3)
    g.add("last", total, values=first)
    plan = compile(g, store=store).plan()
    assert [node.causes for node in plan.nodes()] == [("never seen",), ("never seen",)]


def shared(plus: int) -> Graph:
    """Two branches, whose first nodes ask for the same."""
    g = Graph()
    for name in ("shadow", "glow"):
        alpha = g.add(f"{name}/alpha", total, values=[1], plus=plus)
        g.add(f"{name}/padded", total, values=[alpha, len(name)])
    return g


def test_what_a_node_follows_has_the_name_of_its_own_input(store) -> None:
    compile(shared(1), store=store).compute(scheduler="sync")
    plan = compile(shared(2), store=store).plan()
    assert plan["glow/padded"].causes == ("follows from glow/alpha",)
    assert plan["shadow/padded"].causes == ("follows from shadow/alpha",)
    assert plan["glow/alpha"].causes == ("the same work as shadow/alpha",)


def test_node_that_shared_a_record_is_known_by_each_of_its_names(store) -> None:
    compile(shared(1), store=store).compute(scheduler="sync")
    g = Graph()
    g.add("glow/alpha", total, values=[1], plus=5)
    g.add("shadow/alpha", total, values=[1], plus=5)
    assert causes(g, store, "glow/alpha") == ("parameter plus: 1 -> 5",)
