"""Markers, subgraphs and switches from the user's side: values, calls, reuse."""

from __future__ import annotations

import traceback
from decimal import Decimal

import pytest

from invariant_dask import Graph, MemoryStore, Node, OpRegistry, compile, ref
from invariant_dask.errors import (
    ExpressionError,
    GraphError,
    NotCacheableError,
    OpFailedError,
    OpResultError,
    OutputsError,
    SwitchError,
)
from invariant_dask.graph.model import SubGraphNode, SwitchNode, cel
from invariant_dask.graph.secrets import Secret


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def registry(calls) -> OpRegistry:
    made = OpRegistry()
    counter = iter(range(10**6))

    def add(a, b):
        calls.append("add")
        return a + b

    def pack(**parts):
        calls.append("pack")
        return parts

    def boom(x):
        calls.append("boom")
        raise ValueError(x)

    def tick():
        calls.append("tick")
        return next(counter)

    for function in (add, pack, boom, tick):
        made.register(f"t:{function.__name__}", function, version="1", on_drift="ignore")
    return made


@pytest.fixture
def run(registry):
    store = MemoryStore()

    def run(graph, outputs=None, context=None, **how):
        how.setdefault("scheduler", "sync")
        compiled = compile(graph, outputs, context, store=store, registry=registry)
        return compiled.compute(**how)

    run.store = store
    return run


def test_item_takes_one_part_and_only_that_enters_the_identity(run, calls) -> None:
    def graph(noise):
        g = Graph()
        g.add("all", "t:pack", wanted={"n": [5]}, noise=noise)
        g.add("sum", "t:add", a=ref("all", item="wanted")["n"][0], b=1)
        return g

    assert run(graph(1)) == 6
    assert run(graph(2)) == 6
    assert calls == ["pack", "add", "pack"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("nope",), "there are 'n', 'of'"), ((0,), "there are 'n'"), (("of", 2), "there are 2"),
        (("of", "x"), "there are 2"), (("n", 0), "type int"),
    ],
)  # fmt: skip
def test_absent_item_is_an_error_that_says_what_is_there(path, text, run) -> None:
    g = Graph()
    part = g.add("all", "t:pack", n=1, of=[1, 2])
    for key in path:
        part = part[key]
    g.add("sum", "t:add", a=part, b=1)
    with pytest.raises(OpFailedError, match=text) as caught:
        run(g)
    assert caught.value.node == "sum"
    assert "parameter a" in str(caught.value)


def test_expressions_see_artifacts_context_and_each_other(run) -> None:
    g = Graph()
    g.add("x", "t:add", a=1, b=2)
    g.add("all", "t:pack", sum=cel("x + y * 2"), text="x is ${x}, y is ${y}", whole="${x}",
          inside=[cel("min(x, y)"), ("${x > y}", {"deep": "${decimal(x) / 2}"})])  # fmt: skip
    assert run(g, context={"y": 10}) == {
        "sum": 23, "text": "x is 3, y is 10", "whole": 3,
        "inside": [3, (False, {"deep": Decimal("1.5")})],
    }  # fmt: skip


def test_commutative_parameters_of_known_values_have_one_digest(registry, calls) -> None:
    g = Graph()
    for name, (x, y) in {"one": ("p", "q"), "other": ("q", "p")}.items():
        g.add(name, "t:add", a=cel(f"min({x}, {y})"), b=cel(f"max({x}, {y})"))
    compiled = compile(g, context={"p": 3, "q": 4}, store=MemoryStore(), registry=registry)
    assert compiled.digests["one"] == compiled.digests["other"]
    assert compiled.compute(scheduler="sync") == {"one": 7, "other": 7}
    assert calls == ["add"]


def test_commutative_parameters_of_artifacts_meet_when_they_run(run, calls) -> None:
    g = Graph()
    g.add("p", "t:add", a=1, b=2)
    g.add("q", "t:add", a=3, b=4)
    for name, (x, y) in {"one": ("p", "q"), "other": ("q", "p")}.items():
        g.add(name, "t:add", a=cel(f"min({x}, {y})"), b=cel(f"max({x}, {y})"))
    assert run(g) == {"one": 10, "other": 10}
    assert calls == ["add"] * 3


def test_unchanged_value_of_an_expression_stops_the_change(run, calls) -> None:
    def graph(n):
        g = Graph()
        g.add("n", "t:add", a=n, b=0)
        g.add("big", "t:pack", big=cel("n > 10"))
        return g

    assert run(graph(11)) == {"big": True}
    assert run(graph(12)) == {"big": True}
    assert calls == ["add", "pack", "add"]


@pytest.mark.parametrize(
    ("expression", "text"),
    [("x / 0", "division by zero"), ("x + 's'", "no int [+] string"), ("double(x)", "decimal"),
     ("x.width", "no field"), ("1.5", "decimal")],
)  # fmt: skip
def test_expression_without_a_value_is_an_error_of_its_node(expression, text, run) -> None:
    g = Graph()
    g.add("x", "t:add", a=1, b=2)
    g.add("y", "t:add", a=cel(expression), b=1)
    with pytest.raises((ExpressionError, OpFailedError), match=text) as caught:
        run(g)
    assert "'y'" in str(caught.value)
    assert "parameter a" in str(caught.value)


def test_names_in_expressions_are_checked_when_the_node_is_made() -> None:
    with pytest.raises(GraphError, match="'y', not among its deps"):
        Node("t:add", {"a": cel("x + y"), "b": 1}, deps=["x"])
    with pytest.raises(GraphError, match="'y', not among its deps"):
        Node("t:add", {"a": ["${y}"], "b": 1}, deps=["x"])
    assert Node("t:add", {"a": cel("l.map(i, i + k)"), "b": "${m}"}).deps == ("k", "l", "m")


def subgraph(**params):
    inner = {
        "twice": Node("t:add", {"a": ref("n"), "b": ref("n")}),
        "out": Node("t:add", {"a": ref("twice"), "b": ref("more")}),
        "unused": Node("t:boom", {"x": 1}),
    }
    return SubGraphNode(params=params, graph=inner, output="out")


def test_subgraph_sees_its_parameters_and_inner_work_is_shared(run, calls) -> None:
    g = Graph()
    g.add("x", "t:add", a=1, b=2)
    g["one"] = subgraph(n=ref("x"), more=cel("x * 10"))
    g["two"] = subgraph(n=ref("x"), more=1)
    g.add("also", "t:add", a=ref("x"), b=ref("x"))
    g.add("end", "t:pack", one=ref("one"), two=ref("two"), also=ref("also"))
    assert run(g, ["end"]) == {"one": 36, "two": 7, "also": 6}
    assert sorted(calls) == ["add"] * 4 + ["pack"]
    calls.clear()
    assert run(g, ["one"]) == 36
    assert calls == []


def test_nodes_of_subgraphs_are_named_by_their_path(run, registry) -> None:
    g = Graph()
    inner = {"bad": Node("t:boom", {"x": ref("v")})}
    g["outer"] = SubGraphNode(
        params={"v": 1},
        graph={"deep": SubGraphNode(params={"v": ref("v")}, graph=inner, output="bad")},
        output="deep",
    )
    assert "outer/deep/bad" in compile(g, store=MemoryStore(), registry=registry).digests
    with pytest.raises(OpFailedError) as caught:
        run(g)
    assert caught.value.node == "outer/deep/bad"


def test_inner_nodes_do_not_see_the_outer_graph_or_context(run) -> None:
    g = Graph()
    g.add("x", "t:add", a=1, b=2)
    inner = {"out": Node("t:add", {"a": ref("x"), "b": ref("outside")})}
    g["sub"] = SubGraphNode(params={}, deps=["x"], graph=inner, output="out")
    with pytest.raises(GraphError, match="refers to 'x'"):
        run(g, ["sub"], {"outside": 1})


def test_subgraphs_are_nested_deeper_than_the_stack(run) -> None:
    vertex = Node("t:add", {"a": ref("n"), "b": 1})
    for _ in range(2000):
        vertex = SubGraphNode(params={"n": ref("n")}, graph={"i": vertex}, output="i")
    g = Graph(nodes={"top": vertex})
    assert run(g, context={"n": 41}) == 42


def choice(selector, **more):
    g = Graph()
    g.add("low", "t:add", a=1, b=0)
    g.add("high", "t:add", a=100, b=0)
    g["broken"] = Node("t:nothing_like_it", {"x": ref("nowhere_to_be_found")})
    g["switch"] = SwitchNode(
        selector, cases={"true": "high", "false": "low", "3": "broken"}, **more
    )
    g.add("end", "t:add", a=ref("switch"), b=1000)
    return g


@pytest.mark.parametrize(("flag", "value"), [(True, 1100), (False, 1001)])
def test_switch_on_a_known_value_is_decided_while_compiling(flag, value, run, calls) -> None:
    assert run(choice(ref("flag")), ["end"], {"flag": flag}) == value
    assert calls == ["add", "add"]


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_switch_on_an_artifact_is_decided_when_it_is_known(scheduler, run, calls) -> None:
    def graph(n):
        g = choice(cel("n > 10"))
        g.add("n", "t:add", a=n, b=0)
        return g

    assert run(graph(11), ["end"], scheduler=scheduler) == 1100
    assert run(graph(5), ["end"], scheduler=scheduler) == 1001
    calls.clear()
    assert run(graph(11), ["end"], scheduler=scheduler) == 1100
    assert calls == []


def test_switch_without_a_case_lists_the_cases(run) -> None:
    for context in ({"s": "other"}, None):
        g = choice(ref("s"))
        if context is None:
            g.add("s", "t:add", a="oth", b="er")
        with pytest.raises(SwitchError, match=r"'other'.*'3', 'false', 'true'"):
            run(g, ["end"], context)
    assert run(choice(ref("s"), default="low"), ["end"], {"s": "other"}) == 1001


def test_switch_that_names_what_is_not_there_is_an_error(run) -> None:
    g = Graph()
    g.add("low", "t:add", a=1, b=0)
    g["switch"] = SwitchNode("a", cases={"a": "low", "b": "nope"})
    with pytest.raises(GraphError, match="'nope'"):
        run(g)


def test_switches_and_subgraphs_nest(run, calls) -> None:
    inner = {
        "a": Node("t:add", {"a": ref("n"), "b": 1}),
        "b": Node("t:boom", {"x": ref("n")}),
        "pick": SwitchNode(cel("n > 2 ? 'a' : 'b'"), cases={"a": "a", "b": "b"}),
    }
    g = Graph()
    g.add("x", "t:add", a=1, b=2)
    g["sub"] = SubGraphNode(params={"n": ref("x")}, graph=inner, output="pick")
    g.add("y", "t:add", a=ref("sub"), b=0)
    g["again"] = SwitchNode("${y}", cases={"4": "sub"}, default="x")
    g.add("end", "t:pack", again=ref("again"), sub=ref("sub"))
    assert run(g, ["end"]) == {"again": 4, "sub": 4}
    assert "boom" not in calls


def test_cycle_through_a_switch_is_found(run) -> None:
    g = Graph()
    g.add("a", "t:add", a=ref("switch"), b=1)
    g["switch"] = SwitchNode("x", cases={"x": "a"})
    with pytest.raises(GraphError, match=r"switch -> a -> switch|a -> switch -> a"):
        run(g, ["switch"])


def test_ephemeral_selector_is_drawn_once_a_run(run, calls) -> None:
    g = Graph()
    g["n"] = Node("t:tick", {}, cache=False)
    g.add("low", "t:pack", low=ref("n"))
    g.add("high", "t:pack", high=ref("n"))
    g["switch"] = SwitchNode(cel("n < 1"), cases={"true": "low", "false": "high"})
    assert run(g, ["switch"]) == {"low": 0}
    assert run(g, ["switch"]) == {"high": 1}
    assert calls.count("tick") == 2


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_volatile_node_runs_always_and_what_follows_is_reused(scheduler, registry, calls) -> None:
    state = {"n": 1}

    def read():
        calls.append("read")
        return state["n"]

    registry.register("t:read", read, version="1", on_drift="ignore")
    g = Graph()
    g["n"] = Node("t:read", {}, cache="volatile")
    g.add("twice", "t:add", a=ref("n"), b=ref("n"))
    g.add("end", "t:add", a=ref("twice"), b=1)
    store = MemoryStore()

    def value():
        calls.clear()
        return compile(g, store=store, registry=registry).compute(scheduler=scheduler)

    assert (value(), calls) == (3, ["read", "add", "add"])
    assert (value(), calls) == (3, ["read"])
    state["n"] = 2
    assert (value(), calls) == (5, ["read", "add", "add"])
    state["n"] = 1
    assert (value(), calls) == (3, ["read"])


def test_plan_of_an_undecided_graph_shows_what_decides_it(run, registry) -> None:
    g = choice(cel("n > 10"))
    g.add("n", "t:add", a=11, b=0)
    compiled = compile(g, ["end"], store=run.store, registry=registry)
    assert [node.node for node in compiled.plan().nodes()] == ["n"]
    run(g, ["end"])
    assert compiled.plan()["end"].decision.value == "reuse"
    with pytest.raises(OutputsError, match="nope"):
        compiled.plan(rerun=["nope"])


def test_context_value_that_is_not_cacheable_is_named_where_it_is_used(run) -> None:
    g = Graph()
    g.add("x", "t:add", a=ref("c"), b=1)
    with pytest.raises(NotCacheableError, match="context 'c'"):
        run(g, context={"c": 0.5})
    assert run(g, context={"c": 1, "unused": 0.5}) == 2


def test_secret_is_used_and_never_shown(run, registry, calls) -> None:
    words = "correct horse battery"

    def graph():
        g = Graph()
        g.add("x", "t:add", a=1, b=2)
        g.add("plain", "t:pack", key=ref("token"), inside=[ref("token"), ref("x")])
        g.add("made", "t:pack", key=cel("token + '!'"), later="${token} ${x}", known=["${token}"])
        g.add("end", "t:pack", sizes=[ref("plain", item="key"), ref("made", item="later")])
        return g

    context = {"token": Secret(words)}
    compiled = compile(graph(), ["end"], context, store=run.store, registry=registry)
    assert compiled.compute(scheduler="sync") == {"sizes": [words, f"{words} 3"]}
    assert words not in repr(context)
    assert words not in str(compiled.plan(rerun=["plain", "made"]))
    manifests = [record.manifest for record in run.store.recent("t:pack")]
    assert len(manifests) == 3
    for manifest in manifests[1:]:
        assert words.encode() not in manifest
    calls.clear()
    again = {"token": Secret(words)}
    assert compile(graph(), ["made"], again, store=run.store, registry=registry).compute()
    assert calls == []
    other = {"token": Secret("other")}
    assert compile(graph(), ["made"], other, store=run.store, registry=registry).compute()
    assert calls == ["pack"]


def test_secret_that_breaks_an_expression_is_not_told(run) -> None:
    g = Graph()
    g.add("x", "t:add", a=cel("token + 1"), b=1)
    with pytest.raises(ExpressionError, match="with a secret") as caught:
        run(g, context={"token": Secret("hunter2")})
    assert "hunter2" not in str(caught.value)


def test_secret_is_left_out_of_the_failure_of_an_op(run, caplog) -> None:
    g = Graph()
    g.add("x", "t:boom", x={"user": "me", "password": ref("token")})
    with pytest.raises(OpFailedError, match="<secret>") as caught:
        run(g, context={"token": Secret("hunter2")})
    error = caught.value
    shown = (
        f"{error} {error.traceback_text} {error.__cause__!r} {error.__context__!r} {caplog.text}"
    )
    assert "hunter2" not in shown


def test_volatile_node_runs_always_under_plain_dask_too(registry, calls) -> None:
    import dask

    state = {"n": 1}

    def read():
        calls.append("read")
        return state["n"]

    registry.register("t:read", read, version="1", on_drift="ignore")
    g = Graph()
    g["n"] = Node("t:read", {}, cache="volatile")
    g.add("twice", "t:add", a=ref("n"), b=ref("n"))
    store = MemoryStore()

    def value():
        calls.clear()
        compiled = compile(g, store=store, registry=registry)
        return dask.compute(compiled, scheduler="sync")[0]

    assert (value(), calls) == (2, ["read", "add"])
    assert (value(), calls) == (2, ["read"])
    state["n"] = 2
    assert (value(), calls) == (4, ["read", "add"])


@pytest.mark.parametrize("expr", ["int(token) + n", "{token: 1}[string(n)]"])
def test_secret_that_breaks_an_expression_in_a_run_is_not_told(run, expr) -> None:
    g = {"n": Node("t:add", {"a": 1, "b": 1}), "out": Node("t:add", {"a": cel(expr), "b": 1})}
    context = {"token": Secret("hunter2")}  # not below: a traceback shows the line
    with pytest.raises(OpFailedError, match="with a secret") as caught:
        run(g, ["out"], context)
    assert "hunter2" not in _told(caught.value)


@pytest.mark.parametrize("selector", ["token", "token + string(n)", "int(token) + n"])
def test_secret_in_a_selector_is_not_told(run, selector) -> None:
    n = Node("t:add", {"a": 1, "b": 1})
    g = {"n": n, "out": SwitchNode(cel(selector), cases={"x": "n"})}
    context = {"token": Secret("hunter2")}
    with pytest.raises(GraphError, match="secret") as caught:
        run(g, ["out"], context)
    assert "hunter2" not in _told(caught.value)


def test_selector_within_a_subgraph_may_be_part_of_a_container_with_a_secret(run) -> None:
    inner = {
        "yes": Node("t:add", {"a": 1, "b": 1}),
        "choice": SwitchNode(cel("auth.mode"), cases={"x": "yes"}),
    }
    params = {"auth": {"mode": "x", "key": ref("token")}}
    g = {"out": SubGraphNode(params=params, graph=inner, output="choice")}
    assert run(g, context={"token": Secret("hunter2")}) == 2


def _told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(vars(error))


def test_secret_that_an_inline_op_hands_on_is_in_no_manifest(registry) -> None:
    g = {
        "same": Node("stdlib:identity", {"value": ref("token")}),
        "out": Node("t:wait", {"x": ref("same")}),
    }
    store = MemoryStore()
    registry.register("t:wait", lambda x: len(x), version="1", on_drift="ignore")
    compiled = compile(g, ["out"], {"token": Secret("hunter2")}, store=store, registry=registry)
    assert compiled.compute(scheduler="sync") == 7
    digest = bytes.fromhex(compiled.digests["out"])
    assert b"hunter2" not in store.lookup([digest])[digest].record.manifest


@pytest.mark.parametrize("value", [3.25, {"hunter2": {1}}, ["hunter2", 3.25]])
def test_secret_without_a_form_is_not_told(registry, value) -> None:
    g = {"out": Node("stdlib:identity", {"value": ref("token")})}
    context = {"token": Secret(value)}
    with pytest.raises(NotCacheableError, match=r"context 'token'.*secret") as caught:
        compile(g, ["out"], context, store=MemoryStore(), registry=registry)
    told = _told(caught.value)
    assert "hunter2" not in told
    assert "3.25" not in told


def test_secret_in_a_result_that_cannot_be_an_artifact_is_not_told(run, registry) -> None:
    registry.register("t:bad", lambda x: {x: {1}}, version="1", on_drift="ignore")
    context = {"token": Secret("hunter2")}  # not below: a traceback shows the line
    with pytest.raises(OpResultError, match="<secret>") as caught:
        run({"out": Node("t:bad", {"x": ref("token")})}, ["out"], context)
    assert "hunter2" not in _told(caught.value)


@pytest.mark.parametrize("text", ["Bearer ${token}", "${'Bearer ' + token}"])
def test_secret_within_a_text_is_not_told_when_the_op_tells_only_the_secret(
    run, registry, caplog, text
) -> None:
    def fail(x):
        raise ValueError(x.removeprefix("Bearer "))

    registry.register("t:fail", fail, version="1", on_drift="ignore")
    context = {"token": Secret("hunter2")}
    with pytest.raises(OpFailedError, match="<secret>") as caught:
        run({"out": Node("t:fail", {"x": text}, retries=1)}, ["out"], context)
    assert "hunter2" not in _told(caught.value) + caplog.text
