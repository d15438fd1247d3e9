"""Where a document cannot be compiled, which context values are missing or idle, and secrets."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from invariant_dask import Graph, MemoryStore, Node, SubGraphNode, compile, ref
from invariant_dask.cli.app import app
from invariant_dask.errors import DanglingRefError, DocumentError, SpecError
from invariant_dask.graph.documents import dump_data_uri, dump_graph, load_graph
from invariant_dask.graph.secrets import Secret

NO_OP = "{kind: node, op_name: 'stdlib:none', params: {}, deps: []}"
HEAD = "format: invariant-graph\nversion: 1\ngraph:\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cli(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result


@pytest.mark.parametrize(
    ("vertex", "place", "words"),
    [
        (NO_OP, "4:6", "no op named"),
        ("{kind: node, op_name: 'stdlib:add', params: {a: 1}, deps: []}", "4:6", "missing 'b'"),
        (
            "\n    {kind: node, op_name: 'stdlib:join', deps: [], params:\n      {items: [1]}}",
            "6:15", "parameter items[0] must be str",
        ),
        (
            "{kind: node, op_name: 'stdlib:identity', deps: [], params: {value: !cel '1 / 0'}}",
            "4:73", "parameter value",
        ),
        (
            "{kind: node, op_name: 'stdlib:identity', deps: [n], params: {value: !ref n}}",
            "4:6", "the graph has a cycle",
        ),
        ("{kind: switch, selector: x, deps: [], cases: {a: m}}", "4:6", "the cases are 'a'"),
        (
            "{kind: subgraph, params: {}, deps: [], output: o, graph: {o: " + NO_OP + "}}",
            "4:67", "node 'n/o': no op named",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_compiled_is_told_with_its_place(vertex, place, words) -> None:
    other = "  m: {kind: node, op_name: 'stdlib:identity', params: {value: 1}, deps: []}\n"
    Path("g.yaml").write_text(f"{HEAD}  n: {vertex}\n{other}")
    output = cli("validate", "g.yaml", "--pick", "n", code=1).output
    assert f"g.yaml:{place}: " in output
    assert words in output
    with pytest.raises(SpecError) as caught:
        compile(load_graph("g.yaml"), ["n"], store=MemoryStore())
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert caught.value.place == f"g.yaml:{place}"


def test_place_is_in_the_document_that_was_grafted() -> None:
    Path("inner.json").write_text(
        '{"format": "invariant-graph", "version": 1, "output": "o", "graph": {\n'
        ' "o": {"kind": "node", "op_name": "stdlib:none", "params": {}, "deps": []}}}'
    )
    Path("g.yaml").write_text(
        HEAD + "  n: !subgraph {resource: inner.json, params: {}, deps: []}\n"
    )
    assert "inner.json:2:7: node 'n/o'" in cli("validate", "g.yaml", code=1).output


def test_node_that_was_added_to_a_document_has_no_place() -> None:
    graph = load_graph(f"{HEAD}  m: {{kind: node, op_name: x, params: {{}}, deps: []}}\n")
    graph["added"] = Node("no:op", {})
    with pytest.raises(SpecError) as caught:
        compile(graph, ["added"], store=MemoryStore())
    assert caught.value.place == ""


TAKES = (
    HEAD
    + "  n: {kind: node, op_name: 'stdlib:identity', params: {value: !ref width}, deps: [width]}\n"
)


def test_missing_context_value_is_told_with_what_is_there_and_how_to_give_it() -> None:
    Path("g.yaml").write_text(TAKES)
    output = cli("run", "g.yaml", code=2).output
    assert "g.yaml:4:6: node 'n' refers to 'width', which is not in the graph" in output
    assert "nor a context value" in output
    assert "there is no context value" in output
    assert "--param width=VALUE, or in a file by --context FILE" in output
    Path("c.json").write_text('{"widht": 3}')
    output = cli("run", "g.yaml", "--context", "c.json", code=2).output
    assert "did you mean 'widht'?; context values: 'widht'" in output


def test_name_that_a_subgraph_does_not_get_is_no_matter_of_the_context() -> None:
    inner = {"o": Node("stdlib:identity", {"value": ref("x")})}
    graph = {"n": SubGraphNode({"y": 1}, graph=inner, output="o")}
    with pytest.raises(DanglingRefError, match=r"parameter of its subgraph.*'y'") as caught:
        compile(graph, context={"x": 1}, store=MemoryStore())
    assert "context" not in str(caught.value)


def test_param_that_nothing_takes_is_refused() -> None:
    Path("g.yaml").write_text(TAKES)
    output = cli("run", "g.yaml", "--param", "widht=3", code=2).output
    assert "--param widht: the graph takes no such context value; did you mean 'width'?" in output
    output = cli("run", "g.yaml", "--param", "n=3", code=2).output
    assert "the graph has a node of that name" in output
    cli("run", "g.yaml", "--param", "width=3", "--store", "s")


def test_context_file_may_hold_more_than_a_graph_takes_and_that_is_told() -> None:
    Path("g.yaml").write_text(TAKES)
    Path("c.json").write_text('{"width": 3, "height": 4}')
    result = cli("run", "g.yaml", "--context", "c.json", "--store", "s")
    assert result.stdout == "3\n"
    assert "not used by the graph: context values 'height'" in result.stderr


@pytest.mark.parametrize(
    "value", [Secret("hunter2"), [Secret("hunter2")], {"a": Secret("hunter2")}]
)
def test_secret_gets_into_no_uri_and_no_document(value) -> None:
    graph = Graph()
    graph.add("n", "stdlib:identity", value=ref("token"))
    with pytest.raises(DocumentError, match="a secret is not written down") as caught:
        dump_data_uri(graph, context={"token": value})
    assert "hunter2" not in str(caught.value)
    graph = Graph()
    graph["n"] = Node("stdlib:identity", {"value": value})
    with pytest.raises(DocumentError, match="a secret is not written down") as caught:
        dump_graph(graph)
    assert "hunter2" not in str(caught.value)
