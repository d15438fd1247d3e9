"""Expressions: what they mean, and what they refuse."""

from __future__ import annotations

import celpy
import pytest

from invariant_dask import File, MemoryStore, Node, compile
from invariant_dask.errors import ExpressionError
from invariant_dask.graph.expressions import parse, parse_text

# The first one of a process raises the recursion limit, which other tests must not see.
celpy.Environment()


@pytest.mark.parametrize(
    ("expr", "value"),
    [
        ("b'\u00ff'", b"\xc3\xbf"),
        ("b'\u20ac'", b"\xe2\x82\xac"),
        (r"b'\xff\101\n'", b"\xffA\n"),
        (r"br'\xff'", rb"\xff"),
        ("[0, 1].exists(i, 1 / i == 1)", True),
        ("[0, 2].all(i, 1 / i == 1)", False),
        ("[1, 2].exists_one(i, i == 1)", True),
        ("1 in {1: 2}", True),
    ],
)
def test_value_of(expr, value) -> None:
    assert parse(expr).evaluate({}) == value


@pytest.mark.parametrize(
    ("expr", "reason"),
    [
        (r"'\U00110000'", "no such character"),
        (r"b'\u00ff'", "two digits for each byte"),
        (r"b'\777'", "no such byte"),
        ("9" * 5000, "64 bits"),
        ("int(decimal('1E+99999999'))", "no int"),
        ("[0, 2].exists(i, 1 / i == 1)", "division by zero"),
        ("[1, 0].all(i, 1 / i == 1)", "division by zero"),
        ("{1: 'a', '1': 'b'}", "the same text"),
        ("{true: 1}", "a string or an int"),
        ("{1: 2}[true]", "no key True"),
        ("true in {1: 2}", "no bool in map"),
    ],
)
def test_no_value(expr, reason) -> None:
    with pytest.raises(ExpressionError, match=reason):
        parse(expr).evaluate({})


def test_text_that_doubles_in_each_macro_is_stopped() -> None:
    expr = "size(v40)"
    for level in range(40, 0, -1):
        expr = f"[v{level - 1} + v{level - 1}].map(v{level}, {expr})"
    with pytest.raises(ExpressionError, match="more than 10,000,000"):
        parse(expr).evaluate({"v0": "a"})


def test_value_whose_text_may_differ_elsewhere_is_not_put_into_text() -> None:
    numpy = pytest.importorskip("numpy")
    with pytest.raises(ExpressionError, match="ndarray has no text"):
        parse_text("x ${a}").evaluate({"a": [numpy.zeros(3)]})


def test_where_a_file_lies_is_not_seen_by_expressions(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("hi")
    for expr in ("x ${f}", "${f.location}"):
        node = Node("stdlib:split", {"text": expr})
        with pytest.raises(ExpressionError):
            compile({"o": node}, None, {"f": File(tmp_path / "a.txt")}, store=MemoryStore())
