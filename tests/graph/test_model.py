"""Nodes, graphs and order."""

from __future__ import annotations

import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invariant_dask.errors import CycleError, GraphError
from invariant_dask.graph.model import Graph, Node, ref
from invariant_dask.graph.resolve import choose_outputs, walk


def link(*names: str) -> Node:
    return Node("stdlib:identity", {"value": [ref(name) for name in names]})


def test_deps_are_what_markers_name_at_any_depth() -> None:
    node = Node("t:x", {"a": ref("p"), "b": [{"k": (ref("q"), [ref("p")])}]})
    assert node.deps == ("p", "q")


def test_declared_deps_may_be_more_than_the_markers_name() -> None:
    node = Node("t:x", {"a": ref("p")}, deps=["z", "p"])
    assert (node.deps, node.refs) == (("p", "z"), ("p",))


def test_a_node_cannot_change() -> None:
    node = Node("t:x", {})
    with pytest.raises(AttributeError, match="cannot change"):
        node.op_name = "t:y"


def test_nodes_can_be_compared_and_pickled() -> None:
    node = Node("t:x", {"a": [ref("p")]}, ["p", "q"], cache=False, retries=2)
    copy = pickle.loads(pickle.dumps(node))
    assert copy == node
    assert copy != Node("t:x", {"a": [ref("p")]}, ["p", "q"], retries=2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Node("", {}),
        lambda: Node("t:x", [1]),
        lambda: Node("t:x", {1: 2}),
        lambda: Node("t:x", {}, deps="ab"),
        lambda: Node("t:x", {}, deps=[3]),
        lambda: Node("t:x", {}, retries=-1),
        lambda: Node("t:x", {}, priority="high"),
        lambda: ref(""),
        lambda: Graph().add("<x>", "t:x"),
        lambda: Graph().add("x", print),
    ],
)
def test_fields_of_the_wrong_kind_are_refused(make) -> None:
    with pytest.raises(GraphError):
        make()


def order(graph, outputs):
    return list(walk(graph, outputs))


def test_order_puts_every_node_behind_what_it_depends_on_and_leaves_the_rest_out() -> None:
    graph = {"d": link("b", "c"), "c": link("a"), "b": link("a"), "a": link(), "other": link()}
    assert order(graph, ["d"]) == ["a", "b", "c", "d"]


@given(st.data())
def test_order_does_not_depend_on_how_the_mapping_is_sorted(data) -> None:
    count = data.draw(st.integers(1, 12))
    graph = {}
    for i in range(count):
        sources = data.draw(st.sets(st.integers(0, i - 1))) if i else set()
        graph[str(i)] = link(*map(str, sources))
    shuffled = {name: graph[name] for name in data.draw(st.permutations(list(graph)))}
    outputs = [str(count - 1)]
    found = order(graph, outputs)
    assert order(shuffled, outputs) == found
    position = {name: index for index, name in enumerate(found)}
    for name in found:
        assert all(position[dep] < position[name] for dep in graph[name].deps)


def test_cycle_outside_the_active_part_is_not_looked_at() -> None:
    graph = {"x": link("y"), "y": link("x"), "ok": link()}
    assert order(graph, ["ok"]) == ["ok"]
    with pytest.raises(CycleError, match="x -> y -> x"):
        order(graph, ["x"])


def test_node_that_depends_on_itself_is_a_cycle() -> None:
    with pytest.raises(CycleError, match="x -> x"):
        order({"x": link("x")}, choose_outputs({"x": link("x")}, None))


@pytest.mark.parametrize("count", [100_000, pytest.param(1_000_000, marks=pytest.mark.full)])
def test_order_of_a_deep_chain_needs_no_recursion(count) -> None:
    assert count > 20 * sys.getrecursionlimit()
    graph = {"0": Node("t:x", {})}
    for i in range(1, count):
        graph[str(i)] = Node("t:x", {"v": ref(str(i - 1))})
    found = order(graph, [str(count - 1)])
    assert found == [str(i) for i in range(count)]


def test_default_outputs_are_the_sinks() -> None:
    graph = {"a": link(), "b": link("a"), "c": link("a")}
    assert choose_outputs(graph, None) == ("b", "c")
