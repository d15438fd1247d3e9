"""Where ours differs from upstream on purpose: each test states both."""

from __future__ import annotations

from decimal import Decimal

import invariant.types
import pytest
from invariant import Node, SwitchNode, cel, ref
from upstream.oracle import Ours, Theirs, compare, shape

from invariant_dask.errors import (
    ExpressionError,
    GraphError,
    InvariantError,
    NotCacheableError,
    ParameterError,
)


def of(value, *deps):
    return Node("stdlib:identity", {"value": value}, list(deps))


def theirs(graph, output="out", context=None):
    return Theirs().run(graph, [output], context)[output]


def ours(graph, output="out", context=None):
    return Ours("sync").run(graph, [output], context)[output]


def both(graph, output="out", context=None):
    """Return the shapes of what upstream returned and of what ours did."""
    return shape(theirs(graph, output, context)), shape(ours(graph, output, context))


@pytest.mark.parametrize(
    ("value", "expression", "there"),
    [(True, "x", 1), ([False], "x[0]", 0), ({"a": True}, "x.a", 1), ([True], "x", [1])],
)
def test_bools_stay_bools_in_expressions(value, expression, there):
    graph = {"x": of(value), "out": of(cel(expression), "x")}
    here = {"x": value, "x[0]": False, "x.a": True}[expression]
    assert both(graph) == (shape(there), shape(here))


def test_bools_are_conditions_here_only():
    graph = {"x": of(True), "out": of(cel("x ? 'yes' : 'no'"), "x")}
    with pytest.raises(ValueError, match="x"):
        theirs(graph)
    assert ours(graph) == "yes"


def test_a_bool_of_an_expression_keeps_its_type_when_it_is_used_again():
    graph = {"x": of(3), "y": of(cel("x > 2"), "x"), "out": of(cel("y"), "y")}
    assert both(graph) == (shape(1), shape(True))
    # As a selector alone it is the same in both.
    graph["switch"] = SwitchNode(ref("y"), ["y"], {"true": "x"})
    compare(graph, ["switch"])


def test_the_text_of_a_bool_is_that_of_the_language_here():
    graph = {"out": of(cel("string(1 < 2)"))}
    assert both(graph) == (shape("True"), shape("true"))


def test_an_int_may_stand_before_a_decimal_here():
    graph = {"x": of(Decimal("1.5")), "out": of(cel("2 + x"), "x")}
    with pytest.raises(ValueError, match=r"2 \+ x"):
        theirs(graph)
    assert shape(ours(graph)) == shape(Decimal("3.5"))
    # The other order is the same in both.
    compare({"x": of(Decimal("1.5")), "out": of(cel("x + 2"), "x")}, ["out"])


def test_a_decimal_that_would_be_rounded_is_an_error_here():
    graph = {"x": of(1), "out": of(cel("decimal(x) / decimal(3)"), "x")}
    assert theirs(graph) == Decimal(1) / Decimal(3)
    with pytest.raises(InvariantError, match="exact"):
        ours(graph)
    compare({"x": of(1), "out": of(cel("decimal(x) / decimal(8)"), "x")}, ["out"])


def test_ints_beyond_64_bits_are_handed_over_by_references_only():
    for value, expression in [(2**64, "x"), (2**62, "x * 4")]:
        graph = {"x": of(value), "out": of(cel(expression), "x"), "same": of(ref("x"), "x")}
        with pytest.raises(ValueError, match="overflow"):
            theirs(graph)
        with pytest.raises(ExpressionError, match=r"decimal\(\)"):
            ours(graph)
        compare(graph, ["same"])


def test_markers_in_tuples_are_resolved_here():
    graph = {"x": of(3), "out": of((1, ref("x"), "${x}"), "x")}
    assert shape(ours(graph)) == shape((1, 3, 3))
    with pytest.raises(Exception, match="ref"):
        theirs(graph)


@pytest.mark.parametrize(("first", "second"), [(1, "1"), ([1], (1,)), ([], {}), (None, "None")])
def test_what_an_op_can_tell_apart_is_never_taken_for_each_other(first, second):
    graph = {
        name: Node("stdlib:make_list", {"items": [value]}, [])
        for name, value in {"one": first, "other": second}.items()
    }
    there = Theirs().run(graph, ["one", "other"])
    assert shape(there["other"]) == shape([first])
    here = Ours("sync").run(graph, ["one", "other"])
    assert shape(here["other"]) == shape([second])


def test_parameters_that_an_op_does_not_take_are_refused_here():
    graph = {"out": Node("stdlib:add", {"a": 1, "b": 2, "c": 3}, [])}
    assert theirs(graph) == 3
    with pytest.raises(ParameterError, match="c"):
        ours(graph)


def test_floats_are_refused_in_ephemeral_nodes_too():
    graph = {"out": Node("stdlib:make_list", {"items": [0.5]}, [], cache=False)}
    with pytest.raises(NotCacheableError, match="float"):
        ours(graph)


def test_results_cannot_be_changed_by_their_receiver():
    graph = {"out": of([1, 2])}
    theirs(graph).append(3)
    with pytest.raises(TypeError):
        ours(graph).append(3)


def test_dictionaries_come_in_canonical_order():
    graph = {"out": Node("stdlib:make_dict", {"b": 1, "a": 2}, [])}
    assert list(theirs(graph)) == ["b", "a"]
    assert list(ours(graph)) == ["a", "b"]


def test_an_expression_that_is_not_closed_is_refused_here():
    graph = {"x": of(1), "out": of("${x", "x")}
    assert theirs(graph) == "${x"
    with pytest.raises(ExpressionError):
        ours(graph)


def test_a_name_that_is_no_dependency_is_told_of_before_anything_runs():
    calls = []
    graph = {"x": of(1), "out": Node("test:note", {"value": cel("x + y")}, ["x"])}
    engine = Ours("sync")
    engine.add_op("test:note", lambda value: calls.append(value) or value)
    with pytest.raises(GraphError, match="'y'"):
        engine.run(graph, ["out"])
    assert not calls


def test_polynomials_are_of_our_own_class_with_the_same_hash():
    graph = {"out": Node("poly:from_coefficients", {"coefficients": [1, 2]}, [])}
    there, here = theirs(graph), ours(graph)
    assert type(there) is invariant.types.Polynomial
    assert type(here) is not type(there)
    assert here.get_stable_hash() == there.get_stable_hash()
