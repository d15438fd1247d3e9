"""Graph documents as YAML: tags, scalars, grafts, and bounds."""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
import time
from decimal import Decimal
from fractions import Fraction
from types import ModuleType, SimpleNamespace

import pytest
from hypothesis import given
from strategies import document_values, same

from invariant_dask.core.files import File
from invariant_dask.errors import DocumentError
from invariant_dask.graph.documents import dump_graph, load_document, load_graph
from invariant_dask.graph.model import Node, SubGraphNode, SwitchNode, cel, ref

HEAD = "format: invariant-graph\nversion: 1\n"


def graph_of(params: str) -> str:
    """A document of one node, with these lines as parameters."""
    lines = "".join(f"      {line}\n" for line in params.split("\n"))
    return (
        f"{HEAD}graph:\n  n:\n    kind: node\n    op_name: t:x\n    deps: [a]\n    params:\n{lines}"
    )


def value_of(text: str) -> object:
    return load_graph(graph_of(f"v: {text}"))["n"].params["v"]


def refused(text: str, marked: str = "", **options) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        load_document(text, format="yaml", **options)
    error = caught.value
    if marked:
        assert text.count(marked) == 1
        before = text[: text.index(marked)]
        place = before.count("\n") + 1, len(before) - before.rfind("\n")
        assert (error.line, error.column) == place, str(error)
    return error


def test_a_document_is_read_with_all_kinds_of_vertices() -> None:
    text = """
# A comment.
format: invariant-graph
version: 1
output: choice
graph:
  a: {kind: node, op_name: "stdlib:identity", params: {value: 2}, deps: [], cache: false}
  choice:
    kind: switch
    selector: !cel "a > 1"
    deps: [a]
    cases:
      "true": inner
      'false': a
    default: a
  inner:
    kind: subgraph
    params:
      x: !ref a
    deps:
    - a
    output: i
    graph:
      i:
        kind: node
        op_name: stdlib:add
        params: {a: !ref x, b: !decimal 0.50}
        deps: [x]
        hints: {retries: 2, resources: {GPU: 0.5}}
"""
    document = load_document(text)
    inner = Node(
        "stdlib:add",
        {"a": ref("x"), "b": Decimal("0.50")},
        ["x"],
        retries=2,
        resources={"GPU": 0.5},
    )
    assert document.output == "choice"
    assert document.graph == {
        "a": Node("stdlib:identity", {"value": 2}, [], cache=False),
        "choice": SwitchNode(cel("a > 1"), ["a"], {"true": "inner", "false": "a"}, "a"),
        "inner": SubGraphNode({"x": ref("a")}, ["a"], {"i": inner}, "i"),
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True), ("off", False), ("y", "y"), ("~", None), ("", None), ("null", None),
        ("010", 8), ("08", "08"), ("0o10", "0o10"), ("0x1F", 31), ("0b101", 5), ("1_000", 1000),
        ("1:30", 90), ("-1:30:00", -5400), ("+5", 5), ("1e3", "1e3"), ("1.5e3", "1.5e3"),
        ("1.50", Decimal("1.50")), ("1.5e+3", Decimal("1.5E+3")), (".5", Decimal("0.5")),
        ("5.", Decimal(5)), ("1_0.5", Decimal("10.5")), ("=", "="), ("'1'", "1"), ("a:b", "a:b"),
        ("!!str 1", "1"), ("!!int '5'", 5), ("!!float '2'", Decimal(2)), ("!!binary aGk=", b"hi"),
        ("!ref a", ref("a")), ("!ref [a, mask, 0]", ref("a")["mask"][0]), ("!cel a", cel("a")),
        ("!decimal 1e3", Decimal("1E+3")), ("!literal 5", "5"), ("!literal [1, yes]", [1, True]),
        ("!literal {$ref: x}", {"$ref": "x"}), ("!literal {a: !ref b}", {"a": {"$ref": "b"}}),
        ("!tuple [1, !tuple [2]]", (1, (2,))), ("{$tuple: [1]}", (1,)), ("!bytes aGk=", b"hi"),
        ("|\n        two\n        lines", "two\nlines\n"), ("!int 0xff", 255),
        ("!fraction 1/3", Fraction(1, 3)), ("!date 2024-01-31", dt.date(2024, 1, 31)),
        ("!time 12:00", dt.time(12)), ("!timedelta [1, 2, 3]", dt.timedelta(1, 2, 3)),
        ("!datetime 2024-01-31T12:00:00Z", dt.datetime(2024, 1, 31, 12, tzinfo=dt.UTC)),
        ("!file a.jpg", File("a.jpg")), ("[&x {k: 1}, *x]", [{"k": 1}] * 2),
        ("!file {path: a.jpg, suffix: true}", File("a.jpg", suffix=True)),
        ("!icacheable {type: bytes, payload_b64: aGk=}", b"hi"),
    ],
)  # fmt: skip
def test_scalars_and_tags_mean_what_upstream_says_and_floats_are_decimals(text, value) -> None:
    assert same(value_of(text), value)


@given(document_values())
def test_json_is_yaml(value) -> None:
    text = dump_graph({"n": Node("t:x", {"v": value}, ["a"])})
    # But for pairs of surrogates, which YAML has no escape for.
    plain = re.sub(r"\\ud[89ab]..\\u....", lambda pair: json.loads(f'"{pair[0]}"'), text)
    assert dump_graph(load_graph(plain, format="yaml")) == text


@pytest.mark.parametrize(
    ("params", "marked", "words"),
    [
        ("v: 1\nv: 2", "v: 2", "stands twice"),
        ("v: {k: 1, k: 3}", "k: 3", "stands twice"),
        ("yes: 1", "yes", "the key yes is bool to YAML; quote it"),
        ("v: {7: 1}", "7", "is int to YAML"),
        ("v: {2024-01-01: 1}", "2024", "is timestamp to YAML"),
        ("? [k]\n: 1", "[k]", "a key must be text"),
        ("? {k: 1}\n: 1", "{k", "a key must be text"),
        ("v: &m {k: 1}\nw: {<<: *m}", "<<", "merge keys"),
        ("v: 2024-01-01", "2024-01-01", "write !date '2024-01-01'"),
        ("v: 2024-01-01 10:00:00", "2024-01-01", "write !datetime"),
        ("v: .inf", ".inf", "not finite"),
        ("v: [.NaN]", ".NaN", "not finite"),
        ("v: 1:30.5", "1:30.5", "base 60"),
        ("v: !!int x", "!!int", "is not an integer"),
        ("v: !!bool 2", "!!bool", "is not a boolean"),
        ("v: !!binary '?'", "!!binary", "not base64"),
        ("v: !!set {k}", "!!set", "there is no tag !!set"),
        ("v: !!python/object/apply:os.system ['true']", "!!python", "there is no tag"),
        ("v: !!python/name:os.system", "!!python", "there is no tag"),
        ("v: !reff a", "!reff", "did you mean '!ref'?"),
        ("v: !cel [a]", "!cel", "does not stand on a list"),
        ("v: !tuple x", "!tuple", "does not stand on text"),
        ("v: !ref b", "!ref", "not among its deps"),
        ("v: !tuple [1, {k: !ref b}]", "!ref", "not among its deps"),
        ("v: !tuple [1, !decimal x]", "!decimal", "not the text of a number"),
        ("v: !timedelta [1, 2]", "!timedelta", "three integers"),
        ("v: !date 2024-13-01", "!date", "not the value of a date"),
        ("v: !icacheable {type: os.system, value: 1}", "1}", "is not registered here"),
        ("v: *none", "*none", "for none before it"),
        ("v: &x [1, *x]", "*x", "a value that holds it"),
        ("v: [1, 2", None, "not valid YAML"),
        ("v: a: b", ": b", "not valid YAML"),
        ("v: '\x07'", None, "not valid YAML"),
        ("v: " + "[" * 5000, None, "nested deeper"),
        ("v: !subgraph {resource: x, deps: [], params: {}}", "x, deps", "no document 'x'"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(params, marked, words) -> None:
    error = refused(graph_of(params), marked or "")
    assert words in error.reason
    assert error.line


@pytest.mark.parametrize(
    ("text", "marked", "words"),
    [
        ("", "", "the document is empty"),
        ("# nothing\n", "", "the document is empty"),
        ("[1]\n", "[1]", "not a list"),
        ("word\n", "word", "not text"),
        (f"{HEAD}graph: {{}}\n---\n{HEAD}", "---", "a second document"),
        (f"{HEAD}graph: {{}}\nouput: a\n", "ouput", "did you mean 'output'?"),
        (f"{HEAD}graph:\n  n:\n    kind: nod\n", "nod\n", "did you mean 'node'?"),
        (f"{HEAD}graph:\n  n:\n    kind: node\n", "kind", "'deps' and 'op_name' and 'params'"),
        (HEAD.replace("1", "'1'") + "graph: {}\n", "'1'", "version '1' is not known"),
    ],
)
def test_envelope_is_checked(text, marked, words) -> None:
    assert words in refused(text, marked).reason


def test_aliases_repeat_values_only_so_often() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for name, before in zip("bcdefghi", "abcdefgh", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    started = time.perf_counter()
    assert "aliases repeat more than" in refused(graph_of("\n".join(lines))).reason
    assert time.perf_counter() - started < 5
    assert len(load_graph(graph_of("\n".join(lines[:5])))["n"].params) == 5


def test_aliases_of_a_long_text_count_by_its_length() -> None:
    text = "x" * 1_000_000
    lines = [f"a: &a {text}", f"b: [{', '.join(['*a'] * 1_000)}]"]
    assert "aliases repeat more than" in refused(graph_of("\n".join(lines))).reason


def test_long_documents_are_refused_before_they_are_parsed(tmp_path) -> None:
    text = "a: b\n" * 10_000_000
    started = time.perf_counter()
    assert "50,000,000 bytes are more than" in refused(text).reason
    path = tmp_path / "long.yaml"
    path.write_text(text)
    assert "50,000,000 bytes are more than" in refused(path).reason
    assert time.perf_counter() - started < 5


# --- grafts --------------------------------------------------------------------------------------


def graft(resource: str, more: str = "") -> str:
    fields = f"{{resource: {resource}, params: {{x: 1}}, deps: []{more}}}"
    return f"{HEAD}output: g\ngraph:\n  g: !subgraph {fields}\n"


LEAF = f"{HEAD}output: i\ngraph: {{i: {{kind: node, op_name: t:x, params: {{}}, deps: []}}}}\n"
WITHIN = "!subgraph {resource: leaf.json, output: i, deps: [], params: {}}"
GRAFTED = SubGraphNode({"x": 1}, [], {"i": Node("t:x")}, "i")


def test_files_beside_the_document_are_grafted(tmp_path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/leaf.yaml").write_text(LEAF)
    (tmp_path / "parts/middle.yaml").write_text(graft("leaf.yaml"))
    (tmp_path / "leaf.json").write_text(dump_graph(load_graph(LEAF)))
    main = tmp_path / "main.yaml"
    main.write_text(graft("parts/middle.yaml"))
    expected = SubGraphNode({"x": 1}, [], {"g": GRAFTED}, "g")
    assert load_graph(main) == {"g": expected}
    text = dump_graph(load_graph(main))
    assert load_graph(text) == {"g": expected}
    assert load_graph(graft("leaf.json", ", output: i"), folder=tmp_path) == {"g": GRAFTED}


def test_faults_in_a_graft_name_the_grafted_file_and_the_one_around_it(tmp_path) -> None:
    (tmp_path / "leaf.yaml").write_text(LEAF.replace("node", "nod"))
    main = tmp_path / "main.yaml"
    main.write_text(graft("leaf.yaml"))
    error = refused(main)
    assert (error.source, error.line, error.path) == (
        str(tmp_path / "leaf.yaml"),
        4,
        "graph.i.kind",
    )
    assert f"(grafted by {main})" in error.reason


@pytest.mark.parametrize(
    ("text", "marked", "words"),
    [
        (graft("absent.yaml"), "absent", "there is no file 'absent.yaml'"),
        (graft("/etc/passwd"), "/etc", "is an absolute path"),
        (graft("7"), "7", "a name or a path, not a number"),
        (graft("leaf.json", ", graph: {}"), "graph: {}", "has no field 'graph'"),
        (graft("leaf.json").replace("resource: leaf.json, ", ""), "!sub", "field 'resource'"),
        (graft("leaf.json"), "!subgraph", "add the field 'output'"),
        (graft("leaf.json", ", output: absent"), "absent", "is not inside"),
        (graft("leaf.json", ", output: i").replace("1}", "!ref y}"), "!ref", "among its deps"),
        (graph_of(f"v: {WITHIN}"), "!subgraph", "stands only as a vertex"),
    ],
)  # fmt: skip
def test_grafts_are_checked(tmp_path, text, marked, words) -> None:
    leaf = load_graph(LEAF)
    (tmp_path / "leaf.json").write_text(dump_graph(leaf))
    assert words in refused(text, marked, folder=tmp_path).reason


def test_documents_that_graft_each_other_in_a_circle_are_refused(tmp_path) -> None:
    (tmp_path / "a.yaml").write_text(graft("b.yaml"))
    (tmp_path / "b.yaml").write_text(graft("./a.yaml"))
    error = refused(tmp_path / "a.yaml")
    assert "in a circle" in error.reason
    assert error.source == str(tmp_path / "b.yaml")
    assert error.line == 5


def test_chains_and_numbers_of_grafts_are_bounded(tmp_path) -> None:
    (tmp_path / "0.yaml").write_text(LEAF)
    for i in range(1, 25):
        (tmp_path / f"{i}.yaml").write_text(graft(f"{i - 1}.yaml"))
    assert load_graph(tmp_path / "19.yaml").keys() == {"g"}
    assert "in a row" in refused(tmp_path / "24.yaml").reason
    for i in range(1, 19):
        line = f"!subgraph {{resource: {i - 1}.yaml, params: {{}}, deps: []}}\n"
        (tmp_path / f"{i}.yaml").write_text(f"{HEAD}output: g\ngraph:\n  g: {line}  h: {line}")
    assert "more than 10000 times" in refused(tmp_path / "18.yaml").reason


def test_resources_of_an_installed_registry_are_grafted(monkeypatch, tmp_path) -> None:
    leaf = dump_graph(load_graph(LEAF))
    contents = {
        "pack:leaf": SimpleNamespace(data=LEAF.encode(), content_type="text/yaml; charset=utf-8"),
        "pack:leaf.json": SimpleNamespace(text=leaf, content_type="application/json"),
        "pack:image": SimpleNamespace(data=b"", content_type="image/png"),
    }  # fmt: skip
    module = ModuleType("justmyresource")
    module.get_default_registry = lambda: SimpleNamespace(get_resource=contents.__getitem__)
    monkeypatch.setitem(sys.modules, "justmyresource", module)
    assert load_graph(graft("'pack:leaf'")) == {"g": GRAFTED}
    assert load_graph(graft("'pack:leaf.json'", ", output: i")) == {"g": GRAFTED}
    assert "is image/png, not a graph document" in refused(graft("'pack:image'")).reason
    assert "no document 'pack:absent'" in refused(graft("'pack:absent'")).reason
