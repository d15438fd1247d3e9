"""What is wrong with an expression is told with a caret under the place."""

from __future__ import annotations

import time

import pytest

from invariant_dask.errors import ExpressionError
from invariant_dask.graph.documents import load_document
from invariant_dask.graph.model import Node, cel


def refused(make, text):
    with pytest.raises(ExpressionError) as caught:
        make(text)
    return str(caught.value)


def in_text(text):
    return Node("stdlib:identity", {"value": text})


def place(message):
    """Return the line that is shown, and what stands above the caret."""
    shown, caret = message.splitlines()[-2:]
    assert caret.strip() == "^"
    return shown.strip(), shown[caret.index("^") :]


@pytest.mark.parametrize(
    ("text", "shown", "marked"),
    [
        ("a + (b *", "a + (b *", "*"),
        ("a b", "a b", "b"),
        ("1 +* 2", "1 +* 2", "* 2"),
        ("'abc", "'abc", "'abc"),
        ("a +\n b +* c", "b +* c", "* c"),
        ("a + nope(b)", "a + nope(b)", "nope(b)"),
        ("[1].foo()", "[1].foo()", "[1].foo()"),
        ("1 + a.map(1, 2)", "1 + a.map(1, 2)", "a.map(1, 2)"),
    ],
)
def test_caret_stands_under_what_is_wrong(text, shown, marked):
    assert place(refused(cel, text)) == (shown, marked)


@pytest.mark.parametrize(
    ("text", "words", "marked"),
    [
        ("width ${a", "without its }", "${a"),
        ("x ${} y", "empty ${}", "} y"),
        ("${${a}}", "brace within", "{a}}"),
        ("${ {'a': 1} }", "use cel()", "{'a': 1} }"),
        ("x\n ${a +* b}", "not an expression", "* b"),
    ],
)
def test_in_text_too(text, words, marked):
    message = refused(in_text, text)
    assert words in message
    assert place(message)[1] == marked


def test_in_a_long_line_what_is_near_is_shown():
    message = refused(cel, "a + " * 1_000 + "* b")
    shown, marked = place(message)
    assert marked == "* b"
    assert len(shown) <= 100


@pytest.mark.parametrize("make", [cel, lambda text: in_text(f"a ${{{text}}} b")])
def test_expressions_are_at_most_10_000_characters_long(make):
    whole = "a + " * 2_499 + "abcd"
    assert len(whole) == 10_000
    assert make(whole)
    assert "at most 10,000 characters, not 10,001" in refused(make, whole + "e")


DEEP = {
    "parentheses": "({}a){}".format("(" * 100, ")" * 100),
    "lists": "[" * 101 + "]" * 101,
    "indexes": "a[" * 101 + "0" + "]" * 101,
    "calls": "size(" * 101 + "a" + ")" * 101,
    "negations": "!" * 101 + "a",
    "signs": "-" * 9_999 + "a",
    "conditions": "a ? b : " * 101 + "c",
}


@pytest.mark.parametrize("kind", DEEP)
def test_expressions_are_nested_at_most_100_deep(kind):
    started = time.perf_counter()
    message = refused(cel, DEEP[kind])
    assert "100" in message
    assert len(message) < 500
    assert place(message)
    assert time.perf_counter() - started < 10


def test_what_is_long_need_not_be_deep():
    assert cel("+".join(["1"] * 2_000)).expression.evaluate({}) == 2_000
    assert cel("(" * 100 + "7" + ")" * 100).expression.evaluate({}) == 7
    brackets = "[(" * 200
    assert cel(f"'{brackets}' + a").expression.evaluate({"a": '"('}) == brackets + '"('


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("!cel a + (b *", 9, 10),
        ('"${a + (b *}"', 9, 10),
        ("!cel " + DEEP["parentheses"], 9, 10),
        ("!cel " + "a+" * 5_000 + "a", 9, 10),
    ],
)
def test_in_a_document_the_place_of_the_expression_is_named_as_well(text, line, column):
    head = "format: invariant-graph\nversion: 1\ngraph:\n  n:\n    kind: node\n"
    document = f"{head}    op_name: t:x\n    deps: [a]\n    params:\n      v: {text}\n"
    with pytest.raises(Exception, match=r"graph\.n\.params\.v") as caught:
        load_document(document)
    assert (caught.value.line, caught.value.column) == (line, column)
