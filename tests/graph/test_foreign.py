"""Graphs with nothing foreign in them stay as they are; stand-ins for upstream's are adopted."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from invariant_dask.core.sealed import SealedDict, SealedList
from invariant_dask.errors import GraphError, OutputsError
from invariant_dask.graph.foreign import adopt, adopt_outputs
from invariant_dask.graph.model import Cel, Graph, Node, Ref, SubGraphNode, SwitchNode, cel, ref
from invariant_dask.graph.resolve import check_graph, choose_outputs

MODULES = ("invariant", "invariant.node", "invariant.params")


@pytest.fixture
def without(monkeypatch):
    """A process that never imported the other package."""
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.fixture
def their(monkeypatch):
    """Classes that stand under the names of upstream's."""

    @dataclass(frozen=True)
    class TheirRef:
        dep: str

    @dataclass(frozen=True)
    class TheirCel:
        expr: str

    @dataclass(frozen=True)
    class TheirNode:
        op_name: str
        params: dict[str, Any]
        deps: list[str] = field(default_factory=list)
        cache: bool = True

    @dataclass(frozen=True)
    class TheirSubGraph:
        params: dict[str, Any]
        deps: list[str]
        graph: dict[str, Any]
        output: str

    @dataclass(frozen=True)
    class TheirSwitch:
        selector: Any
        deps: list[str]
        cases: dict[str, str]
        default: str | None = None

    node, params = ModuleType("invariant.node"), ModuleType("invariant.params")
    node.Node, node.SubGraphNode, node.SwitchNode = TheirNode, TheirSubGraph, TheirSwitch
    params.ref, params.cel = TheirRef, TheirCel
    monkeypatch.setitem(sys.modules, "invariant.node", node)
    monkeypatch.setitem(sys.modules, "invariant.params", params)
    return SimpleNamespace(**vars(node), ref=TheirRef, cel=TheirCel)


GRAPH = {"a": Node("t:a", {"x": 1}), "b": Node("t:b", {"y": [ref("a")]})}


def test_nothing_is_looked_at_where_the_other_package_was_never_imported(without):
    class Untouchable(dict):
        def values(self):
            raise AssertionError

        items = __iter__ = values

    graph = Untouchable(GRAPH)
    assert adopt(graph) is graph
    outputs = iter(["a"])
    assert adopt_outputs(outputs) is outputs


def test_a_graph_with_nothing_foreign_in_it_is_the_same_object(their):
    inner = {"c": Node("t:c", {"z": ref("p")}, ["p"])}
    graph = {
        **GRAPH,
        "sub": SubGraphNode({"p": ref("a")}, None, inner, "c"),
        "switch": SwitchNode(ref("a"), None, {"1": "b"}),
    }
    assert adopt(graph) is graph
    named = Graph("mine", graph)
    assert adopt(named) is named


def test_a_node_becomes_ours(their):
    graph = {
        "a": their.Node("t:a", {"x": 1}),
        "b": their.Node("t:b", {"y": their.ref("a"), "z": 2}, ["a", "c"], False),
        "c": GRAPH["a"],
    }
    adopted = adopt(graph)
    assert adopted["a"] == Node("t:a", {"x": 1}, [])
    assert adopted["b"] == Node("t:b", {"y": Ref("a"), "z": 2}, ["a", "c"], False)
    assert adopted["c"] is graph["c"]


def test_subclasses_are_taken_for_what_they_extend(their):
    class Special(their.Node):
        pass

    assert adopt({"a": Special("t:a", {})}) == {"a": Node("t:a", {}, [])}


@pytest.mark.parametrize("kind", [list, tuple, SealedList])
def test_markers_are_found_in_any_container_at_any_depth(their, kind):
    deep = {"k": kind([1, {"m": kind([their.cel("a + 1"), their.ref("a")])}])}
    node = adopt({"n": their.Node("t:n", {"x": deep, "y": SealedDict(deep)}, ["a"])})["n"]
    assert node.refs == ("a",)
    for value in node.params.values():
        found = value["k"]
        assert type(found) is kind
        assert list(found[1]["m"]) == [Cel("a + 1"), Ref("a")]


def test_what_holds_no_foreign_marker_stays_the_same_object(their):
    big = [list(range(10))]
    node = adopt({"n": their.Node("t:n", {"x": big, "y": their.ref("a")}, ["a"])})["n"]
    assert node.params["x"] is big


def test_foreign_markers_in_nodes_of_ours_count_as_dependencies(their):
    graph = {
        "found": Node("t:n", {"x": their.ref("a"), "y": cel("b")}),
        "declared": Node("t:n", {"x": their.ref("a")}, ["a", "later"], "volatile", priority=3),
    }
    adopted = adopt(graph)
    assert adopted["found"] == Node("t:n", {"x": Ref("a"), "y": Cel("b")}, ["a", "b"])
    assert adopted["declared"] == Node(
        "t:n", {"x": Ref("a")}, ["a", "later"], "volatile", priority=3
    )


def test_an_undeclared_dependency_is_told_of_with_its_node(their):
    graph = {"n": their.Node("t:n", {"x": their.cel("a + b")}, ["a"])}
    with pytest.raises(GraphError, match=r"node 'n': a t:n node refers to 'b', not among its deps"):
        adopt(graph)


def test_subgraphs_and_switches_become_ours_at_any_depth(their):
    graph = {"leaf": their.Node("t:leaf", {"x": their.ref("p")}, ["p"])}
    for _ in range(2_000):
        graph = {
            "leaf": their.SubGraphNode({"p": their.ref("p")}, ["p"], graph, "leaf"),
            "switch": their.SwitchNode(their.cel("p"), ["p"], {"1": "leaf"}, "leaf"),
        }
    adopted, depth = adopt(graph), 0
    while isinstance(adopted["leaf"], SubGraphNode):
        assert adopted["switch"] == SwitchNode(Cel("p"), ["p"], {"1": "leaf"}, "leaf")
        adopted, depth = adopted["leaf"].graph, depth + 1
    assert depth == 2_000
    assert adopted == {"leaf": Node("t:leaf", {"x": Ref("p")}, ["p"])}


def test_foreign_vertices_may_stand_in_graphs_of_ours(their):
    inner = {"c": their.Node("t:c", {"x": their.ref("p")}, ["p"])}
    graph = Graph("mine")
    graph["sub"] = SubGraphNode({"p": their.ref("a")}, None, inner, "c")
    graph["pick"] = SwitchNode(their.ref("a"), None, {"1": "sub"})
    graph["a"] = their.Node("t:a", {})
    adopted = adopt(graph)
    assert isinstance(adopted, Graph)
    assert adopted.name == "mine"
    ours = {"c": Node("t:c", {"x": Ref("p")}, ["p"])}
    assert dict(adopted) == {
        "sub": SubGraphNode({"p": Ref("a")}, ["a"], ours, "c"),
        "pick": SwitchNode(Ref("a"), ["a"], {"1": "sub"}),
        "a": Node("t:a", {}, []),
    }


def test_an_object_that_is_shared_is_adopted_once(their):
    node = their.Node("t:n", {"x": their.ref("a")}, ["a"])
    inner = {"n": node}
    subs = {str(at): their.SubGraphNode({}, [], inner, "n") for at in range(3)}
    adopted = adopt({"n": node, **subs})
    assert all(adopted[name].graph["n"] is adopted["n"] for name in subs)


def test_a_graph_that_contains_itself_is_refused(their):
    graph = {"n": their.Node("t:n", {})}
    graph["again"] = their.SubGraphNode({}, [], graph, "n")
    with pytest.raises(
        GraphError, match="node 'again': the graph of this subgraph contains itself"
    ):
        adopt(graph)


def test_values_that_hold_themselves_do_not_hang(their):
    loop = [their.ref("a")]
    loop += [loop, loop]
    node = adopt({"n": their.Node("t:n", {"x": loop}, ["a"])})["n"]
    assert node.params["x"][0] == Ref("a")


def test_what_is_no_vertex_is_left_to_be_refused(their):
    graph = {"n": their.Node("t:n", {}), "odd": 3}
    assert adopt(graph)["odd"] == 3
    with pytest.raises(GraphError, match="node 'odd' must be"):
        check_graph(graph)
    assert adopt("no graph") == "no graph"


def test_outputs_may_be_foreign_markers(their):
    graph = check_graph({"a": their.Node("t:a", {}), "b": GRAPH["a"]})
    assert choose_outputs(graph, [their.ref("a"), "b"]) == ("a", "b")
    assert adopt_outputs(None) is None
    assert adopt_outputs("ab") == "ab"
    assert adopt_outputs(3) == 3
    with pytest.raises(OutputsError, match=r"write \['a'\]"):
        choose_outputs(graph, their.ref("a"))


def test_a_package_of_the_same_name_without_these_classes_disturbs_nothing(monkeypatch):
    for name in MODULES:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    assert adopt(GRAPH) is GRAPH
