"""Reference graphs through both engines: the same results, and ours never calls an op more often.

The graphs are made of upstream's own objects.
"""

from __future__ import annotations

from decimal import Decimal

import invariant
import invariant.types
import pytest
from invariant import Node, SubGraphNode, SwitchNode, cel, ref
from upstream.oracle import Ours, Theirs, assert_same, compare, compare_on_cluster, counted

from invariant_dask.errors import SwitchError
from invariant_dask.graph.documents import load_document


def value(of):
    return Node("stdlib:identity", {"value": of}, [])


def added(a, b, *deps, cache=True):
    return Node("stdlib:add", {"a": a, "b": b}, list(deps), cache)


def packed(*names, **exprs):
    """A dictionary of some artifacts and of the values of some expressions."""
    deps = list(dict.fromkeys([*names, *exprs.pop("deps", ())]))
    params = {name: ref(name) for name in names}
    return Node("stdlib:make_dict", params | {k: cel(e) for k, e in exprs.items()}, deps)


def polynomials():
    """(p + q) * r and p * r + q * r, at 5."""
    graph = {
        name: Node("poly:from_coefficients", {"coefficients": coefficients}, [])
        for name, coefficients in {"p": [1, 2], "q": [3, 0, 1], "r": [0, 1]}.items()
    }
    for name, op, a, b in [
        ("sum", "add", "p", "q"), ("left", "multiply", "sum", "r"),
        ("pr", "multiply", "p", "r"), ("qr", "multiply", "q", "r"), ("right", "add", "pr", "qr"),
    ]:  # fmt: skip
        graph[name] = Node(f"poly:{op}", {"a": ref(a), "b": ref(b)}, [a, b])
    for side in ("left", "right"):
        graph[f"{side} at 5"] = Node("poly:evaluate", {"poly": ref(side), "x": 5}, [side])
    graph["slope"] = Node("poly:derivative", {"poly": ref("left")}, ["left"])
    graph["tripled"] = Node("poly:scale", {"poly": ref("right"), "scalar": 3}, ["right"])
    return graph


def commutative():
    graph = {"x": added(3, 4), "y": added(1, 1)}
    for name, (p, q) in {"one": ("x", "y"), "other": ("y", "x")}.items():
        graph[name] = added(cel(f"min({p}, {q})"), cel(f"max({p}, {q})"), "x", "y")
        graph[f"{name} text"] = Node(
            "stdlib:multiply", {"a": f"${{min({p}, {q})}}", "b": f"${{max({p}, {q})}}"}, ["x", "y"]
        )
    return graph


def composed():
    return {
        "x": added(2, 3),
        "name": value("Ada"),
        "price": value(Decimal("1.50")),
        "list": Node(
            "stdlib:make_list",
            {"items": [1, ref("x"), cel("x * x"), "${x}", [ref("name"), {"deep": ref("x")}], None]},
            ["x", "name"],
        ),
        "dict": Node(
            "stdlib:make_dict",
            {
                "zeta": ref("list"), "alpha": cel("x + 1"), "text": "${name} is ${x} (${x > 3})",
                "total": cel("price * 2"), "decimal": cel("decimal('0.10') + decimal(x)"),
                "inside": {"y": {"x": ref("x")}}, "plain": "nothing to see", "none": None,
            },
            ["list", "x", "name", "price"],
        ),
        "picked": Node("stdlib:dict_get", {"dict_obj": ref("dict"), "key": "total"}, ["dict"]),
        "first": Node("stdlib:coalesce", {"values": [None, ref("x"), 9]}, ["x"]),
    }  # fmt: skip


def items():
    return {
        "all": Node(
            "stdlib:make_dict", {"size": {"w": 4, "h": 3}, "of": [5, 6, [7]], "n": 2}, []
        ),
        "poly": Node("poly:from_coefficients", {"coefficients": [4, 5, 6]}, []),
        "parts": packed(
            area="all.size.w * all.size.h", last="all.of[2][0]", third="poly.coefficients[2]",
            many="size(all.of)", both="all.of + [all.n]", key="all['size']", has="has(all.size.d)",
            mapped="[1, 2].map(i, i * all.n)", deps=["all", "poly"],
        ),
        "sum": added(cel("all.size.w"), "${all.of[1]}", "all"),
    }  # fmt: skip


def scaled(**params):
    """A subgraph: (n + n) + more."""
    inner = {
        "twice": added(ref("n"), ref("n"), "n"),
        "out": added(ref("twice"), ref("more"), "twice", "more"),
        "unused": Node("no:such_op", {}, []),
    }
    deps = sorted(
        {v.dep for v in params.values() if isinstance(v, ref)} | set(params.pop("deps", ()))
    )
    return SubGraphNode(params, deps, inner, "out")


def subgraphs():
    return {
        "x": added(1, 2),
        "one": scaled(n=ref("x"), more=10),
        "same": scaled(n=ref("x"), more=10),
        "two": scaled(n=ref("one"), more=cel("x * 2"), deps=["x"]),
        "outside": added(ref("x"), ref("x"), "x"),
        "end": packed("one", "same", "two", "outside"),
    }


def nested(depth=6):
    vertex = added(ref("n"), cel("n * 2"), "n")
    for level in range(depth):
        inner = {"in": vertex, "plus": added(ref("in"), level, "in")}
        vertex = SubGraphNode({"n": cel("n + 1")}, ["n"], inner, "plus")
    return {
        "n": added(0, 1),
        "deep": vertex,
        "again": SubGraphNode({"n": ref("deep")}, ["deep"], {"d": vertex}, "d"),
        "end": packed("deep", "again"),
    }


def nest():
    """A subgraph in a switch in a subgraph, and a switch on what it gives."""
    inner = {
        "low": scaled(n=ref("k"), more=1),
        "high": added(ref("k"), 1000, "k"),
        "wrong": Node("no:such_op", {"x": ref("k")}, ["k"]),
        "pick": SwitchNode(
            cel("k > 5 ? 'high' : 'low'"), ["k"], {"low": "low", "high": "high"}, "wrong"
        ),
        "out": added(ref("pick"), ref("k"), "pick", "k"),
    }
    return {
        "few": added(1, 1),
        "many": added(5, 5),
        "a": SubGraphNode({"k": ref("few")}, ["few"], inner, "out"),
        "b": SubGraphNode({"k": ref("many")}, ["many"], inner, "out"),
        "c": SwitchNode(cel("a < b"), ["a", "b"], {"true": "a", "false": "b"}),
        "d": SwitchNode(ref("c"), ["c"], {"7": "b"}, "few"),
        "end": packed("a", "b", "c", "d"),
    }


def outside():
    inner = {"out": added(ref("v"), ref("w"), "v", "w")}
    return {
        "sum": added(ref("x"), cel("y.n * 2"), "x", "y"),
        "poly": Node("poly:evaluate", {"poly": ref("p"), "x": ref("x")}, ["p", "x"]),
        "sub": SubGraphNode({"v": ref("x"), "w": ref("sum")}, ["x", "sum"], inner, "out"),
        "text": Node("stdlib:make_list", {"items": ["${t}!", ref("shadow")]}, ["t", "shadow"]),
        "shadow": added(1, 1),
        "switch": SwitchNode(ref("t"), ["t"], {"hello": "sum", "bye": "poly"}),
    }


CONTEXT = {
    "x": 3, "y": {"n": 4, "o": [1]}, "t": "hello", "shadow": "never seen", "unused": Decimal(1),
    "p": invariant.types.Polynomial([1, 1, 1]),
}  # fmt: skip

GRAPHS = {
    "polynomials": (polynomials, None),
    "commutative": (commutative, None),
    "composed": (composed, None),
    "items": (items, None),
    "subgraphs": (subgraphs, None),
    "nested": (nested, None),
    "nest": (nest, None),
    "context": (outside, CONTEXT),
}
by_name = pytest.mark.parametrize("name", GRAPHS)


@by_name
def test_every_vertex_has_the_same_value_in_both(name):
    make, context = GRAPHS[name]
    compare(make(), list(make()), context)


@by_name
def test_every_vertex_asked_for_alone_has_the_same_value(name):
    make, context = GRAPHS[name]
    for output in make():
        compare(make(), [output], context, schedulers=["sync"])


@by_name
def test_on_a_cluster_every_vertex_has_the_same_value(name, client, tmp_path):
    make, context = GRAPHS[name]
    again = compare_on_cluster(make(), list(make()), context, client, tmp_path)
    assert again.ran() == []


@by_name
def test_a_document_written_there_gives_the_same_here(name):
    make, context = GRAPHS[name]
    graph = make()
    graph["end of it"] = Node("stdlib:make_dict", {k: ref(k) for k in graph}, list(graph))
    text = invariant.dump_graph(graph, output="end of it")
    document = load_document(text)
    assert document.output == "end of it"
    theirs = compare(graph, ["end of it"], context, schedulers=[])

    ours = Ours("sync")
    assert_same(ours.run(document.graph, [document.output], context), theirs.value)
    assert counted(ours.counted.take()) <= theirs.theirs


def test_the_polynomials_are_equal_however_they_are_multiplied_out():
    both = compare(polynomials(), ["left at 5", "right at 5", "left", "right"])
    assert both.value["left at 5"] == both.value["right at 5"] == 195
    assert both.value["left"] == both.value["right"]


def test_commutative_parameters_cost_one_call():
    both = compare(commutative(), ["one", "other"])
    assert both.theirs == both.ours["sync"] == both.ours["threads"] == {"stdlib:add": 3}


def test_of_a_subgraph_used_twice_each_node_runs_once():
    both = compare(subgraphs(), ["end"])
    # x, x + x (once for all), + 10 (once for both), and the two of "two".
    assert both.ours["sync"]["stdlib:add"] == both.theirs["stdlib:add"] == 5


CASES = {"low": "low", "true": "high", "false": "low", "null": "high", "3": "high", "1.50": "high"}


def switch(selector, **more):
    return {
        "low": added(1, 0),
        "high": added(100, 0),
        "unplanned": Node("no:such_op", {"x": cel("nowhere")}, ["nowhere"]),
        "s": selector,
        "switch": SwitchNode(ref("s"), ["s"], CASES | {"never": "unplanned"}, **more),
        "end": added(ref("switch"), 1000, "switch"),
    }


SELECTORS = {
    "text": value("low"), "yes": value(True), "no": value(False), "null": value(None),
    "int": value(3), "decimal": value(Decimal("1.50")),
    "int at run time": added(1, 2),
    "decimal at run time": added(Decimal("1.00"), Decimal("0.50")),
    "text at run time": Node("stdlib:coalesce", {"values": [None, "low"]}, []),
    "bool at run time": Node("stdlib:dict_get", {"dict_obj": {"k": True}, "key": "k"}, []),
    "null at run time": Node("stdlib:coalesce", {"values": [None, None]}, []),
}  # fmt: skip


@pytest.mark.parametrize("kind", SELECTORS)
def test_selectors_of_every_type_take_the_same_case(kind):
    both = compare(switch(SELECTORS[kind]), ["end"])
    assert both.value["end"] in {1001, 1100}


@pytest.mark.parametrize("selector", [added(40, 2), value("other"), value(Decimal("1.5"))])
def test_the_default_is_taken_by_both(selector):
    both = compare(switch(selector, default="low"), ["end", "switch"])
    assert both.value == {"end": 1001, "switch": 1}


@pytest.mark.parametrize("given", ["low", True, False, None, 3, Decimal("1.50")])
def test_selectors_from_outside_take_the_same_case(given):
    graph = switch(None)
    del graph["s"]
    compare(graph, ["end"], {"s": given})


@pytest.mark.parametrize(
    "selector",
    ["low", "${s}", "${s == 3}", cel("s > 2"), cel("s < 3 ? 'no' : 'low'"), "l${'ow'}", 3, None],
)
def test_selectors_are_any_parameter(selector):
    graph = switch(added(1, 2))
    graph["switch"] = SwitchNode(selector, ["s"], CASES)
    compare(graph, ["end"])


def test_without_a_case_both_refuse():
    graph = switch(added(40, 2))
    with pytest.raises(ValueError, match="42"):
        compare(graph, ["end"], schedulers=[])

    with pytest.raises(SwitchError, match="42"):
        Ours("sync").run(graph, ["end"])


def ephemeral():
    """Nodes that are new in each run: alone, in a subgraph, behind a switch."""
    inner = {
        "fresh": added(ref("n"), 1, "n", cache=False),
        "kept": added(ref("n"), 2, "n"),
        "out": added(ref("fresh"), ref("kept"), "fresh", "kept"),
    }
    polynomial = Node("poly:from_coefficients", {"coefficients": [ref("n")]}, ["n"])
    return {
        "n": added(1, 1),
        "e": added(10, 10, cache=False),
        "after e": Node("stdlib:multiply", {"a": ref("e"), "b": 2}, ["e"]),
        "sub": SubGraphNode({"n": ref("n")}, ["n"], inner, "out"),
        "after sub": Node("stdlib:multiply", {"a": ref("sub"), "b": 3}, ["sub"]),
        "of e": SubGraphNode({"n": ref("e")}, ["e"], {"m": polynomial}, "m"),
        "switch": SwitchNode(cel("e > 3"), ["e"], {"true": "n", "false": "e"}),
        "after switch": Node("stdlib:make_list", {"items": [ref("switch")]}, ["switch"]),
        "to e": SwitchNode(cel("n > 1"), ["n"], {"true": "e"}, "n"),
        "after to e": Node("stdlib:make_list", {"items": [ref("to e"), 1]}, ["to e"]),
    }  # fmt: skip


@pytest.mark.parametrize("output", ["all", *ephemeral()])
def test_ephemeral_nodes_run_in_every_run_and_no_more_than_there(output):
    graph = ephemeral()
    outputs = list(graph) if output == "all" else [output]
    both = compare(graph, outputs, once=False)
    theirs = calls_of_second_run(graph, outputs)
    for scheduler, calls in both.again.items():
        assert calls <= theirs, scheduler
    if output not in {"n", "switch", "after switch"}:
        assert both.again["sync"]


def calls_of_second_run(graph, outputs):

    theirs = Theirs()
    theirs.run(graph, outputs)
    theirs.counted.take()
    theirs.run(graph, outputs)
    return counted(theirs.counted.take())
