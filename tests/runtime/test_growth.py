"""Switches that take a run to decide, under plain Dask: on every scheduler as in a run of ours."""

from __future__ import annotations

import pickle
import sys
import types
from collections import Counter
from decimal import Decimal

import dask
import pytest
import sample_ops

from invariant_dask import Graph, MemoryStore, Node, NullStore, OpRegistry, compile, ref
from invariant_dask.core.files import File
from invariant_dask.errors import (
    GraphError,
    NotCacheableError,
    OpFailedError,
    ParameterError,
    StaleCodeError,
    SwitchError,
    UnknownOpError,
)
from invariant_dask.graph.model import SubGraphNode, SwitchNode, cel
from invariant_dask.graph.secrets import Secret
from invariant_dask.store.disk import DiskStore


def identity(value):
    return value


def choice(seed: int) -> Graph:
    """Odd sums are doubled, others fail, in a branch that could not even be compiled."""
    g = Graph("choice")
    src = g.add("src", sample_ops.source, seed=seed)
    total = g.add("total", sample_ops.total, values=src)
    g.add("parity", sample_ops.parity, value=total)
    g.add("odd", sample_ops.double, value=total)
    g["even"] = Node("t:no-such-op", {"x": ref("nowhere"), "y": 0.5, "z": File("/no/such/file")})
    g["pick"] = SwitchNode(ref("parity"), cases={"1": "odd", "0": "even"})
    g.add("end", sample_ops.pack, pick=ref("pick"), total=total, more=[(ref("pick"),), {"k": b"x"}])
    return g


EXPECTED = {"pick": 6, "total": 3, "more": [(6,), {"k": b"x"}]}
OPS = ["double", "pack", "parity", "source", "total"]

ENTRIES = {
    "dask.compute": lambda c, kw: dask.compute(c, **kw)[0],
    "dask.compute of several": lambda c, kw: dask.compute(c, [c], **kw)[1][0],
    "persist": lambda c, kw: dask.persist(c, **kw)[0].compute(**kw),
    "delayed": lambda c, kw: dask.delayed(identity)(c).compute(**kw),
    "frozen": lambda c, kw: c.frozen().compute(**kw),
    "visualized first": lambda c, kw: (c.visualize(None), dask.compute(c, **kw)[0])[1],
    "pickled": lambda c, kw: dask.compute(pickle.loads(pickle.dumps(c)), **kw)[0],
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("scheduler", ["sync", "threads", "cluster"])
def test_entry_runs_the_chosen_branch_once_and_no_other(
    entry, scheduler, tmp_path, calls, request
) -> None:
    chosen = request.getfixturevalue("client") if scheduler == "cluster" else scheduler
    compiled = compile(choice(3), ["end"], store=DiskStore(tmp_path))
    assert ENTRIES[entry](compiled, {"scheduler": chosen}) == EXPECTED
    assert sorted(calls.names) == OPS
    calls.clear()
    again = compile(choice(3), ["end"], store=DiskStore(tmp_path))
    assert ENTRIES[entry](again, {"scheduler": chosen}) == EXPECTED
    assert calls.names == []


def test_growth_under_the_processes_scheduler(tmp_path, calls) -> None:
    compiled = compile(choice(3), ["total", "end"], store=DiskStore(tmp_path))
    for _ in range(2):
        (value,) = dask.compute(compiled, scheduler="processes", num_workers=2)
        assert value == {"total": 3, "end": EXPECTED}
        assert sorted(calls.names) == OPS


def test_planned_and_plain_entries_reuse_each_other(tmp_path, calls) -> None:
    def compiled(seed):
        return compile(choice(seed), ["end"], store=DiskStore(tmp_path))

    (plain,) = dask.compute(compiled(3), scheduler="threads")
    assert sorted(calls.names) == OPS
    assert compiled(3).compute(scheduler="sync") == plain == EXPECTED
    assert sorted(calls.names) == OPS
    calls.clear()
    planned = compiled(6).compute(scheduler="sync")
    assert sorted(calls.names) == OPS
    assert dask.compute(compiled(6), scheduler="threads") == (planned,)
    assert sorted(calls.names) == OPS


def test_keys_name_the_work_whoever_compiles_it(tmp_path) -> None:
    def keys(seed, store):
        compiled = compile(choice(seed), ["end"], store=store)
        graph = compiled.__dask_graph__()
        assert compiled.key in graph
        assert compiled.__dask_keys__() == [compiled.key]
        return set(graph)

    first = keys(3, DiskStore(tmp_path))
    assert first == keys(3, MemoryStore())
    assert {key.partition("-")[0] for key in first - keys(6, MemoryStore())} >= {"growth", "value"}


def test_keys_differ_with_anything_a_branch_may_use(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")

    def key(value, outside=0, **more):
        g = Graph()
        g.add("n", "stdlib:add", a=1, b=1)
        g.add("one", "stdlib:make_dict", value=value, outside=ref("outside"), **more)
        g.add("two", "stdlib:add", a=1, b=2)
        g["s"] = SwitchNode(ref("n"), cases={"1": "one", "2": "two"})
        context = {"outside": outside, "unused": object()}
        return compile(g, ["s"], context, store=MemoryStore()).key

    values = [
        1, "1", [1], (1,), {"a": 1}, ref("n"), cel("n"), ref("outside"), [ref("n")], [cel("n")],
        ["n"], "${n}", b"1", 0.5, File(tmp_path / "a"), File(tmp_path / "b"), Decimal(1),
    ]  # fmt: skip
    found = [key(value) for value in values] + [key(1, outside=1), key(1, more=1)]
    assert found == [*[key(value) for value in values], key(1, outside=1), key(1, more=1)]
    assert len(set(found)) == len(found)


def test_ephemeral_and_volatile_graphs_are_named_for_one_compilation() -> None:
    for cache, same in ((True, True), (False, False), ("volatile", False)):
        g = Graph()
        g.add("n", "stdlib:add", a=1, b=1)
        g["one"] = Node("stdlib:add", {"a": 1, "b": 2}, cache=cache)
        g["s"] = SwitchNode(ref("n"), cases={"2": "one"})
        keys = {compile(g, ["s"], store=MemoryStore()).key for _ in range(2)}
        assert (len(keys) == 1) is same


def nested() -> Graph:
    """A switch in a branch of a switch, in subgraphs, and another behind both."""
    inner = {
        "twice": Node("t:double", {"value": ref("n")}),
        "even": Node("t:parity", {"value": ref("twice")}),
        "bad": Node("t:fail", {"value": ref("n")}),
        "good": Node("t:double", {"value": ref("twice")}),
        "pick": SwitchNode(cel("even == 0 ? 'good' : 'bad'"), cases={"good": "good", "bad": "bad"}),
    }
    middle = {
        "deep": SubGraphNode(params={"n": ref("n")}, graph=inner, output="pick"),
        "other": Node("t:fail", {"value": ref("n")}),
        "parity": Node("t:parity", {"value": ref("n")}),
        "pick": SwitchNode(ref("parity"), cases={"1": "deep"}, default="other"),
    }
    g = Graph()
    src = g.add("src", "t:source", seed=3)
    total = g.add("total", "t:total", values=src)
    g["outer"] = SubGraphNode(params={"n": total}, graph=middle, output="pick")
    g.add("after", "t:double", value=ref("outer"))
    g["last"] = SwitchNode("${after}", cases={"24": "after"}, default="total")
    g.add("end", "t:pack", last=ref("last"), outer=ref("outer"), lone=ref("src"))
    return g


@pytest.mark.parametrize("scheduler", ["sync", "threads", "cluster"])
def test_growth_grows(scheduler, tmp_path, calls, request) -> None:
    chosen = request.getfixturevalue("client") if scheduler == "cluster" else scheduler
    compiled = compile(nested(), ["end", "outer"], store=DiskStore(tmp_path))
    (value,) = dask.compute(compiled, scheduler=chosen)
    assert value == {"end": {"last": 24, "outer": 12, "lone": [0, 1, 2]}, "outer": 12}
    assert calls.counts == Counter(source=1, total=1, parity=2, double=3, pack=1)


def test_subgraphs_deeper_than_the_stack_travel(tmp_path) -> None:
    vertex = Node("stdlib:add", {"a": ref("n"), "b": 1})
    for _ in range(1000):
        vertex = SubGraphNode(params={"n": ref("n")}, graph={"i": vertex}, output="i")
    g = Graph(nodes={"top": vertex})
    g.add("n", "stdlib:add", a=40, b=1)
    g["pick"] = SwitchNode(ref("n"), cases={"41": "top"})
    assert dask.compute(compile(g, ["pick"], store=MemoryStore()), scheduler="sync") == (42,)


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def registry(log) -> OpRegistry:
    made = OpRegistry()
    counter = iter(range(10**6))

    def add(a, b):
        log.append("add")
        return a + b

    def tick():
        log.append("tick")
        return next(counter)

    def boom(x):
        log.append("boom")
        raise ValueError(x)

    def inline(x):
        log.append("inline")
        return x

    for function in (add, tick, boom):
        made.register(f"l:{function.__name__}", function, version="1", on_drift="ignore")
    made.register("l:inline", inline, version="1", inline=True)
    return made


def over_one_switch() -> Graph:
    g = Graph()
    g.add("base", "l:add", a=1, b=1)
    g.add("n", "l:add", a=ref("base"), b=1)
    g.add("used", "l:add", a=ref("base"), b=10)
    g.add("low", "l:add", a=ref("used"), b=ref("base"))
    g.add("high", "l:boom", x=ref("high too"))
    g.add("high too", "l:inline", x=1)
    g["pick"] = SwitchNode(ref("n"), cases={"3": "low"}, default="high")
    g.add("one", "l:add", a=ref("pick"), b=100)
    g.add("two", "l:add", a=ref("one"), b=ref("pick"))
    g.add("three", "l:add", a=ref("used"), b=1000)
    return g


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
@pytest.mark.parametrize("store", [MemoryStore, NullStore])
def test_outputs_over_one_switch_make_what_they_share_once(store, scheduler, registry, log) -> None:
    outputs = ["three", "one", "two"]
    compiled = compile(over_one_switch(), outputs, store=store(), registry=registry)
    (value,) = dask.compute(compiled, scheduler=scheduler)
    assert value == {"three": 1012, "one": 114, "two": 128}
    assert list(value) == outputs
    assert log == ["add"] * 7


def test_branch_may_use_what_was_made_before_though_nobody_keeps_it(registry, log) -> None:
    g = over_one_switch()
    compiled = compile(g, ["pick", "three"], store=NullStore(), registry=registry)
    assert dask.compute(compiled, scheduler="sync") == ({"pick": 14, "three": 1012},)
    assert log == ["add"] * 5


def test_ephemeral_and_volatile_artifacts_are_handed_over(registry, log) -> None:
    for cache in (False, "volatile"):
        g = Graph()
        g["n"] = Node("l:tick", {}, cache=cache)
        g.add("low", "l:add", a=ref("n"), b=0)
        g["pick"] = SwitchNode(cel("n >= 0"), cases={"true": "low"})
        g.add("end", "l:add", a=ref("pick"), b=ref("n"))
        log.clear()
        store = MemoryStore()
        for _ in range(2):
            compiled = compile(g, ["end"], store=store, registry=registry)
            (value,) = dask.compute(compiled, scheduler="sync")
            assert value % 2 == 0
        assert log.count("tick") == 2


def test_failure_in_a_branch_names_the_node_by_its_path(tmp_path) -> None:
    inner = {"bad": Node("t:fail", {"value": ref("v"), "message": "${text} is wrong"})}
    g = Graph()
    g.add("n", "stdlib:add", a=1, b=1)
    g["outer"] = SubGraphNode(
        params={"v": ref("n"), "text": ref("words")}, graph=inner, output="bad"
    )
    g["pick"] = SwitchNode(ref("n"), cases={"2": "outer"})
    context = {"words": Secret("hunter2")}
    compiled = compile(g, ["pick"], context, store=DiskStore(tmp_path))
    with pytest.raises(OpFailedError) as caught:
        dask.compute(compiled, scheduler="threads")
    assert caught.value.node == "outer/bad"
    assert "hunter2" not in f"{caught.value} {caught.value.traceback_text}"
    assert "hunter2" not in repr(compiled.__dask_graph__())


@pytest.mark.parametrize(
    ("vertex", "error", "text"),
    [
        (Node("l:nope", {}), UnknownOpError, "node 'bad': no op named 'l:nope'"),
        (Node("l:inline", {"x": [ref("n"), 0.5]}), NotCacheableError, r"'bad', parameter x\[1\]"),
        (Node("l:inline", {"x": ref("where")}), GraphError, "'where'"),
        (Node("l:inline", {"y": 1}), ParameterError, "'bad': missing 'x'"),
        (Node("l:inline", {"x": File("/no/such/file")}), Exception, "no/such/file"),
        (SwitchNode("x", cases={"y": "n"}), SwitchError, "'bad'"),
        (SwitchNode("x", cases={"x": "what"}), GraphError, "'what'"),
    ],
)
def test_what_is_wrong_with_a_branch_is_told_if_it_is_taken(vertex, error, text, registry) -> None:
    def compiled(n):
        g = Graph()
        g.add("n", "l:add", a=n, b=0)
        g["bad"] = vertex
        g.add("good", "l:add", a=n, b=0)
        g["pick"] = SwitchNode(ref("n"), cases={"1": "bad", "2": "good"})
        return compile(g, ["pick"], store=MemoryStore(), registry=registry)

    assert dask.compute(compiled(2), scheduler="sync") == (2,)
    with pytest.raises(error, match=text) as plain:
        dask.compute(compiled(1), scheduler="sync")
    with pytest.raises(error) as planned:
        compiled(1).compute(scheduler="sync")
    assert type(plain.value) is type(planned.value)


def test_selector_without_a_case_is_told(registry) -> None:
    g = Graph()
    g.add("n", "l:add", a="ot", b="her")
    g["pick"] = SwitchNode(ref("n"), cases={"x": "n"})
    with pytest.raises(SwitchError, match="'other'"):
        dask.compute(compile(g, store=MemoryStore(), registry=registry), scheduler="sync")


def test_naming_a_graph_calls_no_op_of_any_branch(registry, log) -> None:
    compiled = compile(over_one_switch(), ["two"], store=MemoryStore(), registry=registry)
    assert compiled.key in compiled.__dask_graph__()
    assert log == []


def test_ops_of_this_process_alone_travel_by_value(client, tmp_path) -> None:
    module = types.ModuleType("only_here")
    source = tmp_path / "only_here.py"
    source.write_text("def half(x):\n    return x // OTHER\n\nOTHER = 2\n")
    module.__file__ = str(source)
    exec(compile_source(source), module.__dict__)
    sys.modules["only_here"] = module
    try:
        ops = OpRegistry()
        ops.register("only:half", module.half)
        g = Graph()
        g.add("n", "only:half", x=8)
        g.add("m", "only:half", x=ref("n"))
        g["pick"] = SwitchNode(ref("n"), cases={"4": "m"})
        compiled = compile(g, ["pick"], store=DiskStore(tmp_path / "s"), registry=ops)
        assert client.compute(compiled).result() == 2
    finally:
        del sys.modules["only_here"]


def compile_source(path):
    return __builtins__["compile"](path.read_text(), str(path), "exec")


def test_frozen_decides_by_what_is_stored(tmp_path, calls) -> None:
    compiled = compile(choice(3), ["end"], store=DiskStore(tmp_path))
    assert any(key.startswith("growth-") for key in compiled.frozen().dask)
    compiled.compute(scheduler="sync")
    calls.clear()
    frozen = compile(choice(3), ["end"], store=DiskStore(tmp_path)).frozen()
    assert not any(key.startswith("growth-") for key in frozen.dask)
    assert frozen.compute(scheduler="sync") == EXPECTED
    assert calls.names == []


def test_what_was_given_cannot_be_changed_afterwards(registry) -> None:
    given = [1, 2]
    g = Graph()
    g.add("n", "l:add", a=1, b=1)
    g.add("two", "l:add", a=given, b=[3])
    g["pick"] = SwitchNode(ref("n"), cases={"2": "two"})
    compiled = compile(g, ["pick"], store=MemoryStore(), registry=registry)
    graph = compiled.__dask_graph__()
    given.append("changed")
    (value,) = dask.compute(compiled, scheduler="sync")
    assert value == [1, 2, 3]
    assert compiled.__dask_graph__() is graph
    with pytest.raises(TypeError):
        value.append(4)


def test_lost_inputs_of_the_rest_are_made_again(tmp_path, calls) -> None:
    def graph():
        g = Graph()
        src = g.add("src", sample_ops.array, n=50_000)
        g.add("mean", sample_ops.mean, values=src)
        g.add("odd", sample_ops.joined, parts=[src], plus=1)
        g["pick"] = SwitchNode(cel("mean > 0"), cases={"true": "odd"})
        return compile(g, ["pick"], store=DiskStore(tmp_path))

    (first,) = dask.compute(graph(), scheduler="sync")
    assert graph().invalidate("mean") > 0
    store = DiskStore(tmp_path)
    for path in (tmp_path / "blobs").rglob("*"):
        if path.is_file():
            path.unlink()
    calls.clear()
    compiled = graph()
    (again,) = dask.compute(compiled, scheduler="sync")
    assert (again == first).all()
    assert calls.counts["array"] == 1
    assert store


def test_code_of_a_branch_that_changed_is_an_error_that_says_so(tmp_path) -> None:
    source = tmp_path / "changes.py"
    module = types.ModuleType("changes")
    module.__file__ = str(source)
    sys.modules["changes"] = module

    def write(number):
        source.write_text(f"def branch(x):\n    return x + OTHER\n\nOTHER = {number}\n")
        exec(compile_source(source), module.__dict__)

    try:
        write(1)
        ops = OpRegistry()
        ops.register("changes:branch", module.branch)
        g = Graph()
        g.add("n", "stdlib:add", a=1, b=1)
        g.add("m", "changes:branch", x=1)
        g["pick"] = SwitchNode(ref("n"), cases={"2": "m"})
        compiled = compile(g, ["pick"], store=MemoryStore(), registry=ops)
        graph = dict(compiled.__dask_graph__())
        module.OTHER = 2
        with pytest.raises(StaleCodeError, match="compile the graph again"):
            compiled.__dask_graph__()
        with pytest.raises(StaleCodeError, match="compile the graph again"):
            dask.get(graph, compiled.key)
    finally:
        del sys.modules["changes"]
