"""Digests depend on what is asked, and on nothing else."""

from __future__ import annotations

import decimal
import itertools
import json
import locale
import os
import random
import subprocess
import sys
from decimal import Decimal

import pytest
import sample_ops
from hypothesis import given
from hypothesis import strategies as st

from invariant_dask import Graph, MemoryStore, Node, SubGraphNode, SwitchNode, compile, ref
from invariant_dask.errors import GraphError
from invariant_dask.ops.registry import OpRegistry
from invariant_dask.plan.plan import Decision


def digests(graph, **kwargs) -> dict[str, str]:
    return dict(compile(graph, store=MemoryStore(), **kwargs).digests)


def base_graph() -> dict[str, Node]:
    return {
        "src": Node("t:source", {"seed": 4}),
        "total": Node("t:total", {"values": ref("src"), "plus": 1}),
        "out": Node("t:pack", {"a": ref("total"), "b": {"k": [ref("src"), (1, "x")]}}),
    }


EXPECTED = digests(base_graph())


HINTS = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
        "priority": st.integers(-5, 5),
        "resources": st.dictionaries(st.text(max_size=3), st.integers(0, 3), max_size=2),
        "retries": st.integers(0, 3),
    },
)


@given(hints=HINTS, data=st.data())
def test_hints_ids_order_and_unused_deps_change_no_digest(hints, data) -> None:
    names = data.draw(
        st.lists(st.text(min_size=1, max_size=5), min_size=4, max_size=4, unique=True)
    )
    names = [name.replace("<", "(") + str(i) for i, name in enumerate(names)]
    src, total, out, extra = names
    nodes = {
        src: Node("t:source", {"seed": 4}, **hints),
        total: Node("t:total", {"plus": 1, "values": ref(src)}, deps=[src, extra], **hints),
        out: Node("t:pack", {"b": {"k": [ref(src), (1, "x")]}, "a": ref(total)}),
        extra: Node("t:source", {"seed": 99}),
    }
    order = data.draw(st.permutations(names))
    graph = Graph(data.draw(st.text(max_size=4)), {name: nodes[name] for name in order})
    found = digests(graph, outputs=[out])
    assert [found[name] for name in (src, total, out)] == list(EXPECTED.values())


def test_surroundings_change_no_digest() -> None:
    old = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "C.UTF-8")
        with decimal.localcontext(decimal.Context(prec=2, rounding=decimal.ROUND_UP, capitals=0)):
            graph = {"x": Node("stdlib:identity", {"value": Decimal("1.2345E+7")})}
            narrow = digests(graph)
            assert digests(base_graph()) == EXPECTED
    finally:
        locale.setlocale(locale.LC_ALL, old)
    assert digests(graph) == narrow


def test_another_process_with_another_hash_seed_finds_the_same_digests() -> None:
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); import sample_ops\n"
        "from invariant_dask import MemoryStore, Node, compile, ref\n"
        "g = {'src': Node('t:source', {'seed': 4}),"
        " 'total': Node('t:total', {'values': ref('src'), 'plus': 1}),"
        " 'out': Node('t:pack', {'a': ref('total'), 'b': {'k': [ref('src'), (1, 'x')]}})}\n"
        "print(json.dumps(dict(compile(g, store=MemoryStore()).digests)))"
    )
    tests = sample_ops.__file__.rpartition("/")[0]
    for seed in ("0", "1", "77"):
        done = subprocess.run(
            [sys.executable, "-c", code, tests], check=True, capture_output=True, text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        assert json.loads(done.stdout) == EXPECTED


def test_every_identity_field_changes_the_digest() -> None:
    variants = [
        Node("t:total", {"values": [1, 2], "plus": 0}),
        Node("t:total", {"values": [1, 2], "plus": 1}),
        Node("t:total", {"values": (1, 2), "plus": 0}),
        Node("t:total", {"values": [2, 1], "plus": 0}),
        Node("t:total", {"values": [1, "2"], "plus": 0}),
        Node("t:pack", {"values": [1, 2], "plus": 0}),
        Node("t:pack", {"values": [1, 2], "plus": False}),
        Node("t:pack", {"values": [1, 2]}),
    ]
    found = [digests({"x": node})["x"] for node in variants]
    assert len(set(found)) == len(found)


def test_values_that_an_op_can_tell_apart_have_different_digests() -> None:
    values = [
        1, "1", True, Decimal(1), Decimal("1.0"), None, "None", b"1", [1], (1,), [], {}, (), "",
        "True", ["a", "b"], {"a": "b"}, [["a"], "b"], "a,b", b"", Decimal("-0"), Decimal(0), 0,
    ]  # fmt: skip
    found = [digests({"x": Node("stdlib:length", {"value": value})})["x"] for value in values]
    for (a, left), (b, right) in itertools.combinations(zip(values, found, strict=True), 2):
        assert left != right, (a, b)


def test_two_ops_with_equal_parameters_do_not_meet() -> None:
    found = digests({
        "a": Node("stdlib:add", {"a": 2, "b": 3}),
        "m": Node("stdlib:multiply", {"a": 2, "b": 3}),
    })  # fmt: skip
    assert found["a"] != found["m"]


def test_defaults_are_bound_so_omitted_equals_explicit() -> None:
    omitted = digests({"x": Node("t:total", {"values": [1]})})
    assert omitted == digests({"x": Node("t:total", {"values": [1], "plus": 0})})


def test_changed_default_changes_the_digest() -> None:
    found = []
    for default in (1, 2):
        ops = OpRegistry()
        ops.register("t:d", lambda a, b=default: a, version="1")
        found.append(digests({"x": Node("t:d", {"a": 1})}, registry=ops)["x"])
    assert found[0] != found[1]


def test_unresolved_and_literal_ways_of_asking_share_the_resolved_digest() -> None:
    store = MemoryStore()
    g = {
        "three": Node("t:total", {"values": [1, 2]}),
        "by ref": Node("t:double", {"value": ref("three")}),
        "literal": Node("t:double", {"value": 3}),
        "nested ref": Node("t:pack", {"p": [{"q": ref("three")}, "x" * 300]}),
        "nested literal": Node("t:pack", {"p": [{"q": 3}, "x" * 300]}),
        "big": Node("t:source", {"seed": 500}),
        "deep ref": Node("t:pack", {"p": [ref("big"), ref("big")]}),
        "deep literal": Node("t:pack", {"p": [list(range(500))] * 2}),
    }
    compiled = compile(g, list(g), store=store)
    compiled.compute(scheduler="sync")
    found = store.lookup(bytes.fromhex(digest) for digest in compiled.digests.values())

    def resolved(node: str) -> bytes:
        return found[bytes.fromhex(compiled.digests[node])].record.resolved

    for left, right in [
        ("by ref", "literal"),
        ("nested ref", "nested literal"),
        ("deep ref", "deep literal"),
    ]:
        assert compiled.digests[left] != compiled.digests[right]
        assert resolved(left) == resolved(right)


def test_planned_digest_with_nothing_unresolved_is_the_resolved_one() -> None:
    store = MemoryStore()
    compiled = compile({"x": Node("t:double", {"value": 3})}, store=store)
    compiled.compute(scheduler="sync")
    digest = bytes.fromhex(compiled.digests["x"])
    found = store.lookup([digest])[digest]
    assert found.record.resolved == digest
    assert found.entry is None


def test_context_enters_where_it_is_used_and_a_node_shadows_it() -> None:
    g = {
        "uses": Node("t:double", {"value": ref("k")}),
        "not": Node("t:double", {"value": 1}),
    }
    one, two = digests(g, context={"k": 5}), digests(g, context={"k": 6, "unused": 1})
    assert one["uses"] != two["uses"]
    assert one["not"] == two["not"]
    assert one["uses"] == digests({"x": Node("t:double", {"value": 5})})["x"]
    shadowed = {**g, "k": Node("t:double", {"value": 3})}
    assert digests(shadowed, outputs=["uses"], context={"k": 5})["uses"] != one["uses"]


def test_compiling_is_stable_under_repetition() -> None:
    names = list(base_graph())
    for _ in range(5):
        random.shuffle(names)
        graph = base_graph()
        found = digests({name: graph[name] for name in names}, outputs=["out"])
        assert found == EXPECTED


def test_what_an_inline_op_makes_of_known_values_is_known_however_they_came() -> None:
    plain = digests({"out": Node("t:total", {"values": [5], "plus": 1})})
    through = Node("stdlib:identity", {"value": ref("number")})
    again = Node("stdlib:identity", {"value": ref("through")})
    out = Node("t:total", {"values": [ref("again")], "plus": 1})
    graph = {"through": through, "again": again, "out": out}
    assert digests(graph, context={"number": 5}) == plain
    literal = Node("stdlib:identity", {"value": 5})
    assert digests({"number": literal, **graph}) == plain


def test_asking_for_an_inline_node_as_well_changes_no_other_digest() -> None:
    graph = {
        "five": Node("stdlib:identity", {"value": 5}),
        "choice": SwitchNode("x", cases={"x": "five"}),
        "out": Node("t:total", {"values": [ref("choice")], "plus": 1}),
    }
    alone = digests(graph, outputs=["out"])["out"]
    for others in (["five"], ["choice"], ["choice", "five"]):
        assert digests(graph, outputs=["out", *others])["out"] == alone
        assert digests(graph, outputs=[*others, "out"])["out"] == alone


def test_volatile_inline_node_is_a_task() -> None:
    graph = {"five": Node("stdlib:identity", {"value": 5}, cache="volatile")}
    graph["out"] = Node("t:total", {"values": [ref("five")], "plus": 1})
    assert compile(graph, store=MemoryStore()).plan()["five"].decision is Decision.RUN


@pytest.mark.parametrize("outputs", [["sub", "sub/x"], ["sub/x", "sub"]])
def test_node_with_the_name_of_an_inner_one_is_refused_in_any_order(outputs) -> None:
    ephemeral = Node("t:source", {"seed": 1}, cache=False)
    graph = {"sub": SubGraphNode(graph={"x": ephemeral}, output="x"), "sub/x": ephemeral}
    with pytest.raises(GraphError, match="'sub/x'"):
        compile(graph, outputs, store=MemoryStore())
