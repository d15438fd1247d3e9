"""Bad input gets a clear error before anything runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pytest
import sample_ops

from invariant_dask import File, Graph, MemoryStore, Node, cacheable, compile, ref
from invariant_dask.errors import (
    CycleError,
    DanglingRefError,
    DuplicateNodeError,
    FileInputError,
    GraphError,
    NotCacheableError,
    OutputsError,
    ParameterError,
    RegistrationError,
    SpecError,
    StoreLayoutError,
    StoreUnavailableError,
    UnknownOpError,
)
from invariant_dask.ops.registry import OpRegistry

GOOD = {"x": Node("stdlib:add", {"a": 1, "b": 2})}


def one(op: str, **params) -> dict[str, Node]:
    return {"x": Node(op, params)}


class Unregistered:
    pass


@cacheable
@dataclass(frozen=True)
class Pair:
    left: object
    right: object


BAD_GRAPHS = {
    "cycle": (
        lambda: {
            "a": Node("stdlib:identity", {"value": ref("b")}),
            "b": Node("stdlib:identity", {"value": [ref("c")]}),
            "c": Node("stdlib:identity", {"value": (ref("a"),)}),
        },
        CycleError,
        "a -> b -> c -> a",
    ),
    "dangling ref": (
        lambda: {**GOOD, "y": Node("stdlib:identity", {"value": ref("xx")})},
        DanglingRefError,
        "node 'y' refers to 'xx'.*'x'",
    ),
    "undeclared dep": (
        lambda: {"y": Node("stdlib:add", {"a": ref("p"), "b": ref("q")}, deps=["p"])},
        GraphError,
        "refers to 'q', not among its deps",
    ),
    "unknown op": (
        lambda: one("stdlib:addd", a=1, b=2),
        UnknownOpError,
        "node 'x': no op named 'stdlib:addd'; did you mean 'stdlib:add'",
    ),
    "missing parameter": (lambda: one("stdlib:add", a=1), ParameterError, "missing 'b'"),
    "unknown parameter": (
        lambda: one("stdlib:add", a=1, b=2, c=3),
        ParameterError,
        "node 'x'.*unknown 'c'.*takes a, b",
    ),
    "float": (
        lambda: one("stdlib:identity", value={"deep": [1, (2, 0.5)]}),
        NotCacheableError,
        r"node 'x', parameter value\.deep\[1\]\[1\]: float 0\.5 .*Decimal\('0\.5'\)",
    ),
    "numpy float": (
        lambda: one("stdlib:identity", value=np.float32(1)),
        NotCacheableError,
        "numpy scalar float32",
    ),
    "set": (lambda: one("stdlib:identity", value={1, 2}), NotCacheableError, "sorted list"),
    "unregistered type": (
        lambda: one("stdlib:identity", value=[Unregistered()]),
        NotCacheableError,
        "Unregistered is not cacheable; register its class with @cacheable",
    ),
    "NaN": (
        lambda: one("stdlib:identity", value=Decimal("NaN")),
        NotCacheableError,
        "not a finite number",
    ),
    "empty graph": (dict, GraphError, "the graph is empty"),
    "not a graph": (lambda: [1], GraphError, "not list"),
    "not a node": (
        lambda: {"x": 3},
        GraphError,
        "must be a Node, SubGraphNode or SwitchNode, not int",
    ),
    "self-holding list": (
        lambda: one("stdlib:identity", value=_endless()),
        NotCacheableError,
        "nested deeper",
    ),
    "absent file": (
        lambda: one("stdlib:identity", value=File("/nowhere/at/all.jpg")),
        FileInputError,
        "/nowhere/at/all.jpg",
    ),
    "bad hint": (lambda: {"x": Node("stdlib:add", {}, colour=3)}, GraphError, "'colour' is not"),
    "bad cache": (lambda: {"x": Node("stdlib:add", {}, cache="no")}, GraphError, "cache"),
    "ref in a registered type": (
        lambda: {**GOOD, "y": Node("t:pack", {"p": [Pair(ref("x"), 1)]}, ["x"])},
        GraphError,
        r"node 'y', parameter p: .*ref\('x'\) .*in lists, tuples and dicts",
    ),
    "ref to nothing in a registered type": (
        lambda: {"y": Node("t:pack", {"p": Pair(ref("x"), 1)})},
        GraphError,
        r"node 'y', parameter p: .*ref\('x'\)",
    ),
    "ref put into a list later": (
        lambda: {**GOOD, "y": _changed_later(lambda params: params["a"].append(ref("x")))},
        GraphError,
        r"node 'y', parameter a: .*ref\('x'\) .*make a new Node",
    ),
    "ref made a parameter later": (
        lambda: {**GOOD, "y": _changed_later(lambda params: params.update(b=ref("x")))},
        GraphError,
        r"node 'y', parameter b: .*ref\('x'\) .*make a new Node",
    ),
    "id without a UTF-8 form": (
        lambda: {"\ud800": Node("stdlib:add", {"a": 1, "b": 2})},
        GraphError,
        r"node id must be .*UTF-8.* not '\\ud800'",
    ),
    "parameter name without a UTF-8 form": (
        lambda: one("t:pack", **{"\ud800": 1}),
        ParameterError,
        r"node 'x': .*'\\ud800'",
    ),
    "bad id": (lambda: {"": Node("stdlib:add", {"a": 1, "b": 2})}, GraphError, "node id"),
}


def _changed_later(change) -> Node:
    node = Node("t:pack", {"a": [1]})
    change(node.params)
    return node


def _endless() -> list[object]:
    value: list[object] = []
    value.append(value)
    return value


@pytest.mark.parametrize("case", BAD_GRAPHS)
def test_bad_graph(case) -> None:
    make, error, text = BAD_GRAPHS[case]
    with pytest.raises(error, match=text) as caught:
        compile(make(), store=MemoryStore())
    assert isinstance(caught.value, SpecError)


@pytest.mark.parametrize("nested", [False, True])
def test_bad_context_value_is_named_by_its_own_path(nested) -> None:
    g = one("stdlib:identity", value=[1, ref("c")] if nested else ref("c"))
    with pytest.raises(NotCacheableError, match=r"^context 'c'\[0\]\.k: set is not cacheable"):
        compile(g, context={"c": [{"k": {1}}]}, store=MemoryStore())


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ("x", r"write \['x'\]"),
        ([], "empty"),
        (["x", "x"], "repeats 'x'"),
        (["y"], "output 'y' is not in the graph"),
        (3, "must be a list"),
    ],
)
def test_bad_outputs(outputs, text) -> None:
    with pytest.raises(OutputsError, match=text):
        compile(GOOD, outputs, store=MemoryStore())


def test_duplicate_id() -> None:
    g = Graph()
    g.add("x", "stdlib:add", a=1, b=2)
    with pytest.raises(DuplicateNodeError, match="there is a node 'x' already"):
        g.add("x", "stdlib:add", a=1, b=2)


def test_rerun_of_an_unknown_node() -> None:
    with pytest.raises(OutputsError, match="rerun names 'y'"):
        compile(GOOD, store=MemoryStore()).plan(rerun=["y"])


def test_store_path_that_is_a_file(tmp_path) -> None:
    (tmp_path / "s").write_text("mine")
    with pytest.raises(StoreLayoutError, match="is a file"):
        compile(GOOD, store=tmp_path / "s")
    assert (tmp_path / "s").read_text() == "mine"


def test_store_path_that_holds_something_else(tmp_path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(StoreLayoutError):
        compile(GOOD, store=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_store_of_a_newer_layout(tmp_path) -> None:
    compile(GOOD, store=tmp_path / "s").compute(scheduler="sync")
    layout = json.loads((tmp_path / "s" / "LAYOUT").read_text())
    layout["layout"] = 99
    (tmp_path / "s" / "LAYOUT").write_text(json.dumps(layout))
    with pytest.raises(StoreLayoutError, match="99"):
        compile(GOOD, store=tmp_path / "s")


def test_store_path_that_cannot_be_written() -> None:
    with pytest.raises(StoreUnavailableError, match="/proc"):
        compile(GOOD, store="/proc/invariant")


def test_unknown_store_url() -> None:
    with pytest.raises(SpecError, match="ftp"):
        compile(GOOD, store="ftp://somewhere/else")


def test_op_that_takes_positional_arguments_cannot_be_registered() -> None:
    ops = OpRegistry()
    with pytest.raises(RegistrationError, match="positional-only"):
        ops.register("t:bad", lambda a, /: a)


def test_op_registered_twice_under_one_name() -> None:
    ops = OpRegistry()
    ops.register("t:one", sample_ops.double)
    with pytest.raises(RegistrationError, match="already registered"):
        ops.register("t:one", sample_ops.total)
    assert ops.get("t:one").function is sample_ops.double
