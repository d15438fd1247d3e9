"""Graphs of `invariant`'s own objects, compiled as they are."""

from __future__ import annotations

from types import MappingProxyType

import invariant
import pytest
from hypothesis import given
from hypothesis import strategies as st

import invariant_dask as inv
from invariant_dask.errors import GraphError
from invariant_dask.graph.foreign import adopt
from invariant_dask.graph.model import Cel, Graph, Node, Ref, SubGraphNode, SwitchNode
from invariant_dask.ops.poly import Polynomial


def pipeline(left):
    """Return (p + q) * r, or p * r + q * r, at 5."""
    ref = invariant.ref
    made = {
        name: invariant.Node("poly:from_coefficients", {"coefficients": coefficients}, [])
        for name, coefficients in {"p": [1, 2], "q": [3, 0, 1], "r": [0, 1]}.items()
    }
    if left:
        made["sum"] = invariant.Node("poly:add", {"a": ref("p"), "b": ref("q")}, ["p", "q"])
        made["out"] = invariant.Node(
            "poly:multiply", {"a": ref("sum"), "b": ref("r")}, ["sum", "r"]
        )
    else:
        for name in "pq":
            made[f"{name}r"] = invariant.Node(
                "poly:multiply", {"a": ref(name), "b": ref("r")}, [name, "r"]
            )
        made["out"] = invariant.Node("poly:add", {"a": ref("pr"), "b": ref("qr")}, ["pr", "qr"])
    made["at"] = invariant.Node("poly:evaluate", {"poly": ref("out"), "x": 5}, ["out"])
    return made


@pytest.mark.parametrize("left", [True, False])
def test_the_reference_pipeline_gives_what_it_gives_there(left):
    theirs = invariant.OpRegistry()
    theirs.clear()
    theirs.auto_discover()
    from invariant.store.memory import MemoryStore

    expected = invariant.Executor(theirs, MemoryStore()).execute(pipeline(left), ["at", "out"])
    compiled = inv.compile(pipeline(left), [invariant.ref("at"), "out"], store=inv.MemoryStore())
    found = compiled.compute()
    assert found["at"] == expected["at"] == 195
    assert found["out"] == Polynomial(expected["out"].coefficients)


def test_equal_graphs_of_either_kind_have_equal_digests():
    ours = {
        name: Node(node.op_name, adopt({name: node})[name].params)
        for name, node in pipeline(True).items()
    }
    store = inv.MemoryStore()
    theirs = inv.compile(pipeline(True), ["at"], store=store)
    assert inv.compile(ours, ["at"], store=store).digests == theirs.digests


def test_all_kinds_of_vertices_are_adopted():
    ref, cel = invariant.ref, invariant.cel
    inner = {"i": invariant.Node("stdlib:identity", {"value": cel("p + 1")}, ["p"])}
    graph = MappingProxyType(
        {
            "a": invariant.Node("stdlib:identity", {"value": 1}, [], cache=False),
            "s": invariant.SubGraphNode({"p": ref("a")}, ["a"], inner, "i"),
            "w": invariant.SwitchNode("${a}", ["a"], {"1": "s"}, "a"),
        }
    )
    assert adopt(graph) == {
        "a": Node("stdlib:identity", {"value": 1}, [], False),
        "s": SubGraphNode(
            {"p": Ref("a")},
            ["a"],
            {"i": Node("stdlib:identity", {"value": Cel("p + 1")}, ["p"])},
            "i",
        ),
        "w": SwitchNode("${a}", ["a"], {"1": "s"}, "a"),
    }


def test_markers_in_tuples_count_here():
    node = invariant.Node("stdlib:make_list", {"items": (invariant.ref("a"),)}, ["a"])
    assert adopt({"n": node})["n"].params == {"items": (Ref("a"),)}


def test_what_an_expression_names_is_checked_now():
    node = invariant.Node("stdlib:identity", {"value": invariant.cel("other")}, [])
    with pytest.raises(GraphError, match=r"node 'n': .* refers to 'other'"):
        adopt({"n": node})


names = st.sampled_from(["a", "b", "c"])
markers = names.map(invariant.ref) | names.map(inv.ref) | names.map(invariant.cel)
params = st.recursive(
    markers | st.integers() | st.text("xyz", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(names, inner, max_size=3)
    ),
    max_leaves=12,
)


def ours_of(value):
    if isinstance(value, invariant.ref):
        return Ref(value.dep)
    if isinstance(value, invariant.cel):
        return Cel(value.expr)
    if isinstance(value, dict):
        return {key: ours_of(item) for key, item in value.items()}
    return type(value)(map(ours_of, value)) if isinstance(value, list | tuple) else value


@given(params, st.sampled_from(["theirs", "ours", "graph"]))
def test_any_mixture_of_markers_becomes_ours(value, how):
    deps = ["a", "b", "c"]
    kind = invariant.Node if how == "theirs" else Node
    graph = {"n": kind("stdlib:identity", {"value": value}, deps)}
    if how == "graph":
        graph = Graph("g", graph)
    expected = Node("stdlib:identity", {"value": ours_of(value)}, deps)
    assert adopt(graph)["n"] == expected
