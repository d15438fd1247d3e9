"""Graph documents as data URIs, with context values in the query."""

from __future__ import annotations

import base64
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import cacheable_values, same, text

from invariant_dask.errors import DocumentError
from invariant_dask.graph.documents import (
    data_uri_cache_key,
    dump_data_uri,
    load_data_uri,
    load_document,
)  # fmt: skip
from invariant_dask.graph.model import Graph, Node, ref

GRAPH = Graph(nodes={"a": Node("x:y", {"v": 1}, [])})
HEAD = "data:application/vnd.invariant.graph+json;base64,"

# What invariant-core 0.7 writes for the same graph and context.
UPSTREAM = (
    HEAD
    + "eyJmb3JtYXQiOiJpbnZhcmlhbnQtZ3JhcGgiLCJncmFwaCI6eyJhIjp7ImRlcHMiOltdLCJraW5kIjoibm9kZSIs"
    "Im9wX25hbWUiOiJ4OnkiLCJwYXJhbXMiOnsidiI6MX19fSwib3V0cHV0IjoiYSIsInZlcnNpb24iOjF9?d=%7B%22%24"
    "decimal%22%3A%220.5%22%7D&l=%5B1%2C%7B%22%24tuple%22%3A%5B2%5D%7D%5D&n=5&s=a+b%26c&t=%225%22"
)
CONTEXT = {"n": 5, "s": "a b&c", "t": "5", "d": Decimal("0.5"), "l": [1, (2,)]}


def uri_of(payload: str, query: str = "") -> str:
    return HEAD + base64.b64encode(payload.encode()).decode() + query


def test_uris_are_those_that_upstream_writes() -> None:
    assert dump_data_uri(GRAPH, "a", CONTEXT) == UPSTREAM
    document = load_document(UPSTREAM)
    assert (document.graph, document.output) == (GRAPH, "a")
    assert same(document.context, dict(sorted(CONTEXT.items())))


@given(st.dictionaries(text.filter(bool), cacheable_values(with_arrays=False), max_size=3))
def test_context_values_come_back_as_they_were(context) -> None:
    assert same(load_data_uri(dump_data_uri(GRAPH, None, context)).context, context)


@pytest.mark.parametrize(
    "value", ["5", "null", "NaN", '"', "[", "[" * 5000, "9" * 5000, "${x}", "", " 1"]
)
def test_text_that_looks_like_something_else_comes_back_as_text(value) -> None:
    assert load_data_uri(dump_data_uri(GRAPH, None, {"v": value})).context == {"v": value}


def test_plain_words_in_a_query_are_text_and_numbers_are_numbers() -> None:
    document = load_data_uri(dump_data_uri(GRAPH) + "?name=J%C3%BCrgen+K&size=0.50&on=true&none=")
    assert document.context == {"name": "Jürgen K", "size": Decimal("0.50"), "on": True, "none": ""}


def test_the_key_of_a_uri_does_not_depend_on_its_context() -> None:
    assert data_uri_cache_key(UPSTREAM) == dump_data_uri(GRAPH, "a") == UPSTREAM.partition("?")[0]
    assert data_uri_cache_key(" DATA" + UPSTREAM[4:]) == UPSTREAM.partition("?")[0]


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("data:text/plain,x", "not a data URI of a graph"),
        ("https://example.org/", "not a data URI of a graph"),
        (dump_data_uri(GRAPH) + "#x", "has no fragment"),
        (HEAD + "e", "not base64"),
        (HEAD + "e!==", "not base64"),
        (HEAD + "/w==", "not UTF-8"),
        (uri_of("{"), "not valid JSON"),
        (uri_of('{"format": "x"}'), "must be"),
        (dump_data_uri(GRAPH) + "?a=1&a=2", "given twice"),
        (dump_data_uri(GRAPH) + "?=1", "without a name"),
        (dump_data_uri(GRAPH) + "?a=NaN", "is no number"),
        (dump_data_uri(GRAPH) + '?a={"x":1,"x":2}', "stands twice"),
        (dump_data_uri(GRAPH) + '?a={"$ref":"x"}', "a context value cannot hold a $ref marker"),
        (dump_data_uri(GRAPH) + '?a=[{"$cel":"x"}]', "a context value cannot hold a $cel marker"),
    ],
)
def test_uris_that_are_no_graphs_are_refused(uri, words) -> None:
    with pytest.raises(DocumentError) as caught:
        load_data_uri(uri)
    assert words in caught.value.reason
    assert caught.value.source == "<data URI>"


def test_faults_in_the_document_have_their_place_in_it() -> None:
    with pytest.raises(DocumentError) as caught:
        load_data_uri(uri_of('{"format": "invariant-graph",\n "version": 2}'))
    assert (caught.value.line, caught.value.column, caught.value.path) == (2, 13, "version")


def test_long_uris_are_refused() -> None:
    with pytest.raises(DocumentError, match="pass max_size="):
        load_data_uri(HEAD + "A" * 5000, max_size=100)


def test_context_values_without_a_form_are_refused_with_their_path() -> None:
    with pytest.raises(DocumentError, match="Decimal") as caught:
        dump_data_uri(GRAPH, None, {"x": [1, 0.5]})
    assert caught.value.path == "context.x[1]"
    with pytest.raises(DocumentError, match="marker"):
        dump_data_uri(GRAPH, None, {"x": ref("a")})
    with pytest.raises(DocumentError, match="named by text"):
        dump_data_uri(GRAPH, None, {"": 1})
