"""Graph documents as JSON: what is read, what is written, and where something is wrong."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import pickle
import sys
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import document_values, same

from invariant_dask.core.files import File
from invariant_dask.errors import DocumentError, GraphError
from invariant_dask.graph.documents import Document, dump_graph, load_document, load_graph
from invariant_dask.graph.model import Graph, Node, Ref, SubGraphNode, SwitchNode, cel, ref
from invariant_dask.graph.registered import known_as
from invariant_dask.ops.types import cacheable


@cacheable(version="1")
@dataclass(frozen=True)
class Size:
    width: int
    parts: tuple[Decimal, ...] = ()


@cacheable(version="1")
class Word:
    """A stream type without a JSON form."""

    def __init__(self, text: str) -> None:
        self.text = text

    def get_stable_hash(self) -> str:
        return self.text.encode().hex().ljust(64, "0")[:64]

    def to_stream(self, stream) -> None:
        stream.write(self.text.encode())

    @classmethod
    def from_stream(cls, stream):
        return cls(stream.read().decode())

    def __eq__(self, other) -> bool:
        return isinstance(other, Word) and other.text == self.text

    __hash__ = None


@cacheable(version="1")
class Poly(Word):
    """A stream type with a JSON form."""

    def to_json_value(self):
        return {"coefficients": [int(n) for n in self.text.split()]}

    @classmethod
    def from_json_value(cls, value):
        return cls(" ".join(map(str, value["coefficients"])))


class Unregistered(Word):
    pass


def document(graph: str, **fields: object) -> str:
    envelope = {"format": "invariant-graph", "version": 1, **fields}
    return json.dumps(envelope)[:-1] + f',\n "graph": {graph}}}'


def node(params: str = "{}", deps: str = "[]", more: str = "") -> str:
    return f'{{"kind": "node", "op_name": "t:x", "params": {params}, "deps": {deps}{more}}}'


def single(params: str = "{}", deps: str = "[]", more: str = "") -> str:
    """A document of one node `n`."""
    return document(f'{{"n": {node(params, deps, more)}}}')


def value_of(text: str) -> object:
    return load_graph(single(f'{{"v": {text}}}', '["a"]'))["n"].params["v"]


def place_in(text: str, marked: str) -> tuple[int, int]:
    """Line and column of the only place of `marked` in a text."""
    assert text.count(marked) == 1
    before = text[: text.index(marked)]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def refused(source, marked: str = "", **options) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        load_document(source, **options)
    error = caught.value
    if marked:
        assert (error.line, error.column) == place_in(source, marked), str(error)
    assert error.__context__ is None or error.__suppress_context__
    return error


# --- upstream's bytes ----------------------------------------------------------------------------

# What invariant-core 0.7 writes for the graphs below.
ADD = (
    '"a": {"deps": [], "kind": "node", "op_name": "stdlib:add", "params": {"a": {"$decimal": '
    '"1.50"}, "b": {"$decimal": "1E+3"}, "p": {"$literal": {"$ref": "x"}}, "q": {"$ref": 1, "b": 2}'
    ', "\\u00e9": {"$tuple": [1, {"$tuple": [true, null]}]}}}'
)
USES = (
    '"b": {"cache": false, "deps": ["a", "z"], "kind": "node", "op_name": "x:y", "params": {"n": '
    '{"k": {"$tuple": [{"$ref": "a"}]}}, "t": "${a}", "v": [{"$ref": "a"}, {"$cel": "a + 1"}]}}'
)
SWITCH = (
    '"s": {"cases": {"false": "b", "true": "a"}, "default": "b", "deps": ["a"], "kind": "switch", '
    '"selector": {"$cel": "a > 1"}}'
)
SUBGRAPH = (
    '"g": {"deps": ["a"], "graph": {"in": {"deps": [], "kind": "node", "op_name": "poly:from", '
    '"params": {"p": {"$icacheable": {"type": "some.where.Poly", "value": {"coefficients": '
    '[1, 2]}}}}}}, "kind": "subgraph", "output": "in", "params": {"x": {"$ref": "a"}}}'
)


def upstream_graph() -> dict[str, Node | SwitchNode | SubGraphNode]:
    params = {
        "a": Decimal("1.50"), "b": Decimal("1E+3"), "é": (1, (True, None)), "p": {"$ref": "x"},
        "q": {"$ref": 1, "b": 2},
    }  # fmt: skip
    uses = {"v": [ref("a"), cel("a + 1")], "t": "${a}", "n": {"k": (ref("a"),)}}
    inner = {"in": Node("poly:from", {"p": Poly("1 2")}, [])}
    return {
        "s": SwitchNode(cel("a > 1"), ["a"], {"true": "a", "false": "b"}, "b"),
        "b": Node("x:y", uses, ["z", "a"], cache=False),
        "g": SubGraphNode({"x": ref("a")}, ["a"], inner, "in"),
        "a": Node("stdlib:add", params, []),
    }


def test_bytes_are_those_that_upstream_writes() -> None:
    known_as("some.where.Poly", Poly)
    expected = (
        f'{{"format": "invariant-graph", "graph": {{{ADD}, {USES}, {SUBGRAPH}, {SWITCH}}}, '
        '"output": "b", "version": 1}'
    )
    assert dump_graph(upstream_graph(), "b") == expected
    assert load_document(expected) == Document(Graph(nodes=upstream_graph()), "b", {})


def test_bytes_do_not_depend_on_order_or_decimal_context() -> None:
    graph = upstream_graph()
    expected = dump_graph(graph)
    turned = {name: graph[name] for name in reversed(graph)}
    with decimal.localcontext(decimal.Context(prec=2, capitals=0)):
        assert dump_graph(turned) == expected
        assert load_graph(expected) == graph


# --- values --------------------------------------------------------------------------------------


@given(document_values(), document_values())
def test_parameters_come_back_as_they_were(value, selector) -> None:
    graph = {
        "a": Node("t:x", {"v": value}, ["a"], cache="volatile", retries=2),
        "s": SwitchNode(selector, ["a"], {"": "a"}),
        "g": SubGraphNode({"$ref": value}, ["a"], {"a": Node("t:y", {"v": value}, ["a"])}, "a"),
    }
    text = dump_graph(graph)
    loaded = load_graph(text)
    assert dump_graph(loaded) == text
    assert loaded.keys() == graph.keys()
    for copy in (loaded["a"].params["v"], loaded["g"].params["$ref"]):
        assert same(copy, value)
    assert same(loaded["s"].selector, selector)
    assert (loaded["a"].cache, loaded["a"].hints) == ("volatile", {"retries": 2})


@pytest.mark.parametrize(
    "value",
    [
        b"\x00\xff", Fraction(-1, 3), Fraction(10**5000, 7), dt.date(2024, 2, 29),
        dt.time(1, 2, 3, 4), dt.timedelta(days=-1, microseconds=5), 10**4300, -(10**5000),
        dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(microseconds=-1))),
        File("a/b.jpg"), File("b.png", suffix=True), Ref("a", ("mask", 0)), {"$ref": (1,)},
        {"$tuple": [b"x"]}, {"$literal": {"$ref": "x"}}, {"$literal": {}}, {"$bytes": "eA=="},
        {"$decimal": Decimal("0.5")}, {"$icacheable": {"type": "bytes", "payload_b64": ""}},
        Size(3, (Decimal("0.1"),)), Word("é"), Poly("1 2"), [Size(1), {"x": Word("")}],
        Decimal("1E+999999"), Decimal("-0.00"), 2**70, "$ref", "\u2028", {"": {}}, [], (),
    ],
    ids=lambda value: f"{type(value).__name__}",
)  # fmt: skip
def test_value_comes_back_as_it_was(value) -> None:
    graph = {"n": Node("t:x", {"v": value}, ["a"])}
    copy = load_graph(dump_graph(graph))["n"].params["v"]
    assert same(copy, value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.5, r"pass Decimal\('0.5'\)"),
        (Decimal("NaN"), "not a finite number"),
        ({1, 2}, "register its class"),
        (np.arange(3), "read it from a File"),
        (dt.datetime(2024, 1, 1), "time zone"),
        (Unregistered("x"), "register its class"),
        ({1: 2}, "a key must be text"),
        ("\ud800", "lone surrogate"),
        (True.__class__, "register"),
        (type("Text", (str,), {})("x"), "pass a plain str"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_value_without_a_form_is_refused_with_its_path(value, words) -> None:
    graph = {"n": Node("t:x", {"v": [1, {"k": value}]})}
    with pytest.raises(DocumentError, match=words) as caught:
        dump_graph(graph)
    assert caught.value.path.startswith("graph.n.params.v[1].k")


def test_class_that_cannot_be_found_by_name_is_refused() -> None:
    @cacheable(version="1")
    @dataclass(frozen=True)
    class Local:
        x: int

    with pytest.raises(DocumentError, match="at the top of a module"):
        dump_graph({"n": Node("t:x", {"v": Local(1)})})


def test_numbers_with_a_fraction_or_exponent_are_decimals_as_written() -> None:
    value = value_of("[1.50, 1e3, -0.0, 1E-400, 7]")
    assert list(map(str, value)) == ["1.50", "1E+3", "-0.0", "1E-400", "7"]
    assert type(value[4]) is int


def test_inside_a_literal_no_mapping_is_a_marker() -> None:
    assert value_of('{"$literal": {"$ref": [{"$tuple": 1.5}]}}') == {
        "$ref": [{"$tuple": Decimal("1.5")}]
    }


def test_mapping_with_two_keys_or_an_unknown_dollar_key_is_a_mapping() -> None:
    assert value_of('{"$ref": 1, "x": 2}') == {"$ref": 1, "x": 2}
    assert value_of('{"$date": "2024-01-01"}') == {"$date": "2024-01-01"}


def test_decimal_and_op_name_are_read_as_leniently_as_upstream_does() -> None:
    assert value_of('{"$decimal": 5}') == Decimal(5)
    assert value_of('{"$decimal": " 1_0.5 "}') == Decimal("10.5")
    text = single().replace('"t:x"', '" t:x "')
    assert load_graph(text)["n"].op_name == "t:x"


def test_amounts_of_resources_are_floats() -> None:
    hints = ', "hints": {"resources": {"GPU": 0.5}, "labels": {"by": "me"}, "priority": 3}'
    graph = load_graph(single(more=hints))
    assert graph["n"].hints == {"resources": {"GPU": 0.5}, "labels": {"by": "me"}, "priority": 3}
    assert type(graph["n"].hints["resources"]["GPU"]) is float
    assert load_graph(dump_graph(graph)) == graph


def test_nothing_is_imported_because_a_document_names_it(monkeypatch) -> None:
    assert "this" not in sys.modules
    for name in (
        "this.C",
        "os.system",
        "os.path",
        "builtins.object",
        "x",
        f"{__name__}.Unregistered",
    ):
        error = refused(single(f'{{"v": {{"$icacheable": {{"type": "{name}", "value": 1}}}}}}'))
        assert "is not registered" in error.reason
    assert "this" not in sys.modules


def test_empty_graph_is_a_document() -> None:
    assert dump_graph(load_graph(document("{}"))) == dump_graph({})


# --- sources -------------------------------------------------------------------------------------


def test_paths_text_bytes_and_parsed_documents_are_read(tmp_path) -> None:
    text = document(f'{{"n": {node()}}}', output="n")
    path = tmp_path / "a.json"
    path.write_text(text)
    expected = Document(Graph(nodes={"n": Node("t:x")}), "n")
    for source in (
        text,
        text.encode(),
        b"\xef\xbb\xbf" + text.encode(),
        path,
        str(path),
        json.loads(text),
    ):
        assert load_document(source) == expected
    assert load_graph(path) == expected.graph


def test_errors_in_files_name_the_file(tmp_path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{\n"format": 1}')
    error = refused(path)
    assert str(error).startswith(f"{path}:2:11: ")
    assert (error.source, error.path) == (str(path), "format")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert isinstance(error, GraphError)


def test_sources_that_are_none_are_refused(tmp_path) -> None:
    assert "no such file" in refused(tmp_path / "absent.json").reason
    assert "no such file" in refused(tmp_path).reason
    assert "no such file" in refused("absent").reason
    assert "not int" in refused(3).reason
    assert "format is" in refused("{}", format="toml").reason
    error = refused(b'{"a":\n "\xff"}', name="here")
    assert (error.line, error.column, error.source) == (2, 3, "here")


def test_long_documents_are_refused_before_they_are_parsed(tmp_path) -> None:
    path = tmp_path / "long.json"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    for source in (path, "{" + " " * 20_000_000):
        assert "more than 16,777,216" in refused(source).reason
    assert "more than 10" in refused("{" + " " * 20, max_size=10).reason
    assert "not valid JSON" in refused("{" + " " * 20, max_size=100).reason


# --- what is wrong, and where --------------------------------------------------------------------

SWITCHED = (
    '{"s": {"kind": "switch", "selector": 1, "deps": [], "cases": {"1": "n"}%s}, "n": '
    + node()
    + "}"
)


@pytest.mark.parametrize(
    ("text", "marked", "words"),
    [
        ('{"format": "other", "version": 1, "graph": {}}', '"other"', 'must be "invariant-graph"'),
        ('{"version": 1, "graph": {}}', '{"version"', 'must be "invariant-graph"'),
        ('{"format": "invariant-graph", "version": 2, "graph": {}}', "2", "version 2 is not known"),
        ('{"format": "invariant-graph", "version": true, "graph": {}}', "true", "version True"),
        ('{"format": "invariant-graph", "version": 1.0, "graph": {}}', "1.0", "version Decimal"),
        ('{"format": "invariant-graph", "graph": {}}', '{"format"', "needs the field 'version'"),
        ('{"format": "invariant-graph", "version": 1}', '{"format"', "needs the field 'graph'"),
        (document("[]"), "[]", "not a list"),
        (document("{}", outputs=["a"]), '"outputs"', "did you mean 'output'?"),
        (document("{}", namespace="x"), '"namespace"', "is reserved"),
        (document("{}", output="absent"), '"absent"', "is not inside"),
        (document("{}", output=None), "null", "output is the id of a vertex, not null"),
        (document('{"n": 3}'), "3", "a vertex is a mapping"),
        (document('{"n": {}}'), "{}", 'needs the field "kind"'),
        (document('{"n": {"kind": "nod"}}'), '"nod"', "did you mean 'node'?"),
        (document('{"n": {"kind": ["node"]}}'), '["node"]', "there is no kind"),
        (document('{"n": {"kind": "node"}}'), '{"kind"', "'deps' and 'op_name' and 'params'"),
        (single(more=', "cachee": 1'), '"cachee"', "did you mean 'cache'?"),
        (single(more=', "id": "n"'), '"id"', "is reserved"),
        (single(more=', "cache": null'), "null", "cache is true"),
        (single(more=', "hints": {"retry": 1}'), '"retry"', "'retries'"),
        (single(more=', "hints": {"op_name": 1}'), '"op_name": 1', "no hint"),
        (single(more=', "hints": {"labels": {"k": 7}}'), "7", "labels is"),
        (single(more=', "hints": {"retries": -7}'), '{"retries"', "retries"),
        (single("[7]"), "[7]", "params is a mapping"),
        (single(deps='"ab"'), '"ab"', "deps is a list"),
        (single(deps='["b", 7]'), "7", "deps holds ids"),
        (single().replace('"t:x"', '" "'), '" "', "op_name"),
        (single().replace('"t:x"', "7"), "7", "op_name"),
        (single().replace('"n"', '"<n>"'), '"<n>"', "does not start with '<'"),
        (single('{"v": [{"$ref": "b"}]}'), '{"$ref"', "not among its deps"),
        (single('{"v": {"$cel": "b"}}'), '{"$cel"', "not among its deps"),
        (single('{"v": "a${b}"}'), '"a${b}"', "not among its deps"),
        (single('{"v": {"$ref": 7}}'), "7", "the id of a node"),
        (single('{"v": {"$ref": ["b", 1.5]}}'), '["b"', "an item of"),
        (single('{"v": {"$ref": ""}}'), '""', "takes the id"),
        (single('{"v": {"$ref": []}}'), '[]}}, "deps"', "the id of a node"),
        (single('{"v": {"$cel": ""}}'), '""', ""),
        (single('{"v": {"$cel": 7}}'), "7", "the text of an expression"),
        (single('{"v": {"$decimal": "x"}}'), '"x"', "not the text of a number"),
        (single('{"v": {"$decimal": "inf"}}'), '"inf"', "not a finite"),
        (single('{"v": {"$decimal": 0.1}}'), "0.1", 'as in {"$decimal": "0.1"}'),
        (single('{"v": {"$decimal": []}}'), '[]}}, "deps"', "not a list"),
        (single('{"v": {"$tuple": 7}}'), "7", "takes a list"),
        (single('{"v": [0, "\\ud800"]}'), '"\\ud800"', "lone surrogate"),
        (single('{"v": {"\\ud800": 1}}'), '"\\ud800"', "a key must be text"),
        (single('{"v": NaN}'), "NaN", "NaN is no number"),
        (single('{"v": [-Infinity]}'), "-Infinity", "is no number"),
        (single('{"v": 1e99999999999999999999}'), "1e9", "out of range"),
        (single('{"v": %s}' % ("7" * 5000)), "7" * 5000, "in hexadecimal"),
        (single('{"v": {"k": 1, "k": 2}}'), '"k": 2', "stands twice"),
        (document(f'{{"n": {node()}, "n": 1}}'), '"n": 1', "stands twice"),
        (single('{"v": [1 2]}'), "2]", "not valid JSON"),
        (single('{"v": ' + "[" * 5000), None, "nested deeper"),
        (single('{"v": ' + "[" * 350 + "]" * 350 + "}"), None, "nested deeper"),
        (document(SWITCHED % ', "default": "m"'), '"m"', "leads to 'm'"),
        (document(SWITCHED % ', "default": ""'), '""', "default is an id"),
        (document((SWITCHED % "").replace('{"1": "n"}', "{}")), '{}}, "n"', "cases is a mapping"),
        (document((SWITCHED % "").replace('{"1": "n"}', '{"1": 7}')), "7", "leads to an id"),
        (document((SWITCHED % "").replace('{"1": "n"}', '{"1": "m"}')), '"m"', "leads to 'm'"),
        (document((SWITCHED % "").replace('"selector": 1, ', "")), '{"kind": "s', "'selector'"),
        ("{\n", None, "not valid JSON"),
        ('"text"\n', None, "not text"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(text, marked, words) -> None:
    error = refused(text, marked or "", format="json")
    assert words in error.reason
    assert error.line


@pytest.mark.parametrize(
    ("payload", "marked", "words"),
    [
        ("7", "7", "takes a mapping"),
        ('{"type": "x.Y"}', '{"type"', 'either "value" or "payload_b64"'),
        ('{"type": "x.Y", "value": 1, "payload_b64": ""}', '{"type"', 'either "value" or'),
        ('{"value": 1}', '{"value"', 'needs a "type"'),
        ('{"type": "", "value": 1}', '{"type"', 'needs a "type"'),
        ('{"typ": "x.Y", "value": 1}', '"typ"', "did you mean 'type'?"),
        ('{"type": "bytes", "payload_b64": "e"}', '"e"', "not base64"),
        ('{"type": "bytes", "payload_b64": "e!=="}', '"e!=="', "not base64"),
        ('{"type": "bytes", "payload_b64": 7}', "7", "expected base64"),
        ('{"type": "bytes", "value": "eA=="}', '"eA=="', 'has a "payload_b64"'),
        ('{"type": "date", "payload_b64": ""}', '""', 'has a "value"'),
        ('{"type": "date", "value": "2024-13-01"}', '"2024-13-01"', "not the value of a date"),
        ('{"type": "date", "value": 7}', "7", "expected text such as '2024-01-31'"),
        ('{"type": "datetime", "value": "2024-01-01"}', '"2024-01-01"', "time zone"),
        ('{"type": "fraction", "value": "1/0"}', '"1/0"', "not the value of a fraction"),
        ('{"type": "timedelta", "value": [1, 2]}', "[1, 2]", "three integers"),
        ('{"type": "file", "value": {"path": "x", "mode": 1}}', '{"path"', "nothing else"),
        ('{"type": "dict", "value": []}', "[]}}}, ", "expected a mapping"),
        ('{"type": "HERE.Word", "payload_b64": "/w=="}', '"/w=="', "cannot be built"),
        ('{"type": "HERE.Word", "value": 7}', "7", 'give it a "payload_b64"'),
        ('{"type": "HERE.Poly", "value": {}}', "{}", "KeyError"),
        ('{"type": "HERE.Size", "payload_b64": "eA=="}', '"eA=="', 'give it a "value"'),
        ('{"type": "HERE.Size", "value": {"$tuple": 9}}', "9", "takes a list"),
        ('{"type": "HERE.Absent", "value": 7}', "7", "is not registered here"),
    ],
)
def test_values_of_types_are_checked(payload, marked, words) -> None:
    payload = payload.replace("HERE", __name__)
    text = single(f'{{"v":\n{{"$icacheable":\n{payload}}}}}')
    assert words in refused(text, marked).reason


def test_faults_inside_subgraphs_have_their_whole_path() -> None:
    head = '{"kind": "subgraph", "params": {}, "deps": [], "output": "i", "graph": '
    inner = node('{"v": {"k-1": [true, {"$tuple": 7}]}}')
    error = refused(document(f'{{"g": {head}{{"i": {head}{{"i": {inner}}}}}}}}}}}'), "7")
    assert error.path == "graph.g.graph.i.graph.i.params.v['k-1'][1].$tuple"
    text = document(f'{{"g": {head}{{"o": {node()}}}}}}}')
    assert "is not inside" in refused(text, '"i"').reason
    assert "is empty" in refused(document(f'{{"g": {head}{{}}}}}}'), "{}}}").reason


def test_parsed_documents_are_checked_too() -> None:
    error = refused(
        {
            "format": "invariant-graph",
            "version": 1,
            "graph": {"n": {"kind": "node", "op_name": "x", "params": {"v": 0.5}, "deps": []}},
        }
    )
    assert (error.line, error.path) == (0, "graph.n.params.v")
    assert '{"$decimal": "0.5"}' in error.reason


def test_subgraphs_nest_up_to_the_bound_and_no_deeper() -> None:
    vertex = Node("t:x")
    for _ in range(140):
        vertex = SubGraphNode({}, [], {"i": vertex}, "i")
    assert load_graph(dump_graph({"g": vertex})).keys() == {"g"}
    for _ in range(20):
        vertex = SubGraphNode({}, [], {"i": vertex}, "i")
    with pytest.raises(DocumentError, match="nested deeper"):
        dump_graph({"g": vertex})


def test_graphs_that_are_none_cannot_be_dumped() -> None:
    for graph, words in (
        ({"n": 3}, "must be a Node"),
        ([], "a graph is"),
        ({"": Node("t:x")}, "id"),
    ):
        with pytest.raises(DocumentError, match=words):
            dump_graph(graph)
    with pytest.raises(DocumentError, match="is not in the graph"):
        dump_graph({"n": Node("t:x")}, "m")


WHOLE = dump_graph(
    {
        "b": Node(
            "x:y", {"v": [ref("a"), cel("a + 1")], "n": {"k": (Decimal("1.5"), b"x")}}, ["a"]
        ),
        "g": SubGraphNode({"x": ref("a")}, ["a"], {"in": Node("t:x", {"p": Size(2)}, [])}, "in"),
        "a": SwitchNode(1, [], {"1": "b"}, "g"),
    },
    "a",
)


@given(st.data())
def test_broken_documents_are_read_or_refused_with_a_place_and_nothing_else(data) -> None:
    start = data.draw(st.integers(0, len(WHOLE)))
    end = data.draw(st.integers(start, min(len(WHOLE), start + 6)))
    extra = st.sampled_from(
        ['"', "{", "}", "[", "]", ",", ":", "null", "1.5", "\\", "$ref", "a", " "]
    )
    broken = WHOLE[:start] + "".join(data.draw(st.lists(extra, max_size=4))) + WHOLE[end:]
    for format_ in ("json", "yaml"):
        try:
            load_document(broken + "\n", format=format_)
        except DocumentError as error:
            assert error.line  # noqa: PT017
