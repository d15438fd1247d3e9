"""`validate` and `dump`: graphs as documents, and nothing runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from invariant_dask.cli.app import app
from invariant_dask.graph.documents import load_document

GRAPH = """
format: invariant-graph
version: 1
output: out
graph:
  out:
    kind: node
    op_name: "stdlib:add"
    params: {a: !ref inner, b: !ref chosen}
    deps: [inner, chosen]
  inner:
    kind: subgraph
    params: {x: !ref x}
    deps: [x]
    output: y
    graph: {y: {kind: node, op_name: "stdlib:negate", params: {value: !ref x}, deps: [x]}}
  chosen: {kind: switch, selector: "a", deps: [], cases: {a: one, b: two}}
  one: {kind: node, op_name: "stdlib:identity", params: {value: 1}, deps: []}
  two: {kind: node, op_name: "stdlib:identity", params: {value: 2}, deps: []}
"""

PLAIN = """{"format": "invariant-graph", "version": 1, "graph": {
  "b": {"kind": "node", "deps": ["a"],
        "op_name": "stdlib:identity", "params": {"value": {"$ref": "a"}}},
  "a": {"kind": "node", "deps": [], "op_name": "stdlib:identity", "params": {"value": 1.50}}}}"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("plain.json").write_text(PLAIN)
    return tmp_path


def cli(*arguments: str, code: int = 0, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(app, arguments, input=stdin)
    assert result.exit_code == code, result.output
    return result


def test_validate_counts_what_is_in_a_document_and_makes_no_store(folder) -> None:
    printed = cli("validate", "plain.json").stdout
    assert printed.splitlines() == [
        "plain.json: valid",
        "in the graph: 2 nodes",
        "compiled: 2 nodes, 1 distinct, 1 inline",
        "outputs: b",
        "ops of: stdlib",
    ]
    assert [path.name for path in folder.iterdir()] == ["plain.json"]


def test_validate_counts_kinds_of_vertices() -> None:
    printed = cli("validate", "-", "--param", "x=1", stdin=GRAPH).stdout
    assert "<stdin>: valid" in printed
    assert "in the graph: 3 nodes, 1 subgraph, 1 switch" in printed


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("stdlib:identity", "stdlib:idnetity"), "no op named 'stdlib:idnetity'"),
        (('"value": 1.50', '"valeu": 1.50'), "unknown 'valeu'"),
        (('["a"]', "[]"), "plain.json:3:59: "),
        (('"version": 1', '"version": 2'), "plain.json:1:42: version 2"),
    ],
)
def test_validate_of_a_bad_document_is_exit_code_1_and_one_line(change, complaint) -> None:
    Path("plain.json").write_text(PLAIN.replace(*change))
    result = cli("validate", "plain.json", code=1)
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not result.stdout


def test_validate_looks_at_more_than_the_documents_own_output() -> None:
    text = PLAIN.replace('"graph"', '"output": "a", "graph"').replace(
        '{"value": {"$ref": "a"}}', '{"wrong": {"$ref": "a"}}'
    )
    cli("run", "-", stdin=text)
    assert "unknown 'wrong'" in cli("validate", "-", code=1, stdin=text).stderr
    cli("validate", "-", "--pick", "a", stdin=text)


def test_a_missing_argument_is_exit_code_2() -> None:
    assert "GRAPH" in cli("validate", code=2).stderr


def test_dump_is_canonical_and_can_be_read_back() -> None:
    printed = cli("dump", "plain.json").stdout
    assert cli("dump", "-", stdin=printed).stdout == printed
    assert load_document(printed.encode()).graph == load_document(PLAIN).graph
    assert '{"$decimal": "1.50"}' in printed


def test_dump_of_yaml_is_json() -> None:
    printed = cli("dump", "-", stdin=GRAPH).stdout
    assert json.loads(printed)["output"] == "out"
    assert cli("dump", "-", "--pick", "inner", stdin=GRAPH).stdout != printed


def test_dump_as_data_uri_carries_context_values() -> None:
    uri = cli("dump", "-", "--data-uri", "--param", "x=1.50", stdin=GRAPH).stdout.strip()
    assert load_document(uri).output == "out"
    assert str(load_document(uri).context["x"]) == "1.50"
    back = cli("dump", uri)
    assert "context values x; --data-uri keeps them" in back.stderr
    assert back.stdout == cli("dump", "-", stdin=GRAPH).stdout
    assert cli("dump", uri, "--data-uri").stdout.strip() == uri


def test_dump_writes_the_graph_of_a_python_file_to_a_file() -> None:
    Path("own.py").write_text(
        "from invariant_dask import Graph\ng = Graph()\ng.add('a', 'stdlib:add', a=1, b=2)\n"
    )
    cli("dump", "own.py:g", "--pretty", "-o", "made.json")
    assert cli("run", "made.json").stdout == "3\n"


def test_dump_says_what_the_original_format_has_not() -> None:
    Path("own.py").write_text(
        "from invariant_dask import Graph\ng = Graph()\n"
        "size = g.add('size', 'stdlib:make_dict', width=3)\n"
        "g.add('w', 'stdlib:identity', value=[size['width']], cache='volatile')\n"
    )
    told = cli("dump", "own.py:g").stderr
    assert told.startswith("invariant-core cannot read all of it: ")
    assert 'cache "volatile", items of artifacts ($ref with a list)' in told
    assert cli("dump", "plain.json").stderr == ""


def test_unknown_op_is_told_with_the_option_that_cures_it() -> None:
    text = PLAIN.replace("stdlib:identity", "shop:price")
    for command, code in (("run", 2), ("validate", 1)):
        assert "--import FILE.py" in cli(command, "-", code=code, stdin=text).stderr


def test_plan_says_what_it_writes() -> None:
    assert "Write the plan as JSON to a file" in " ".join(cli("plan", "--help").stdout.split())


def test_dump_says_which_value_has_no_form() -> None:
    Path("own.py").write_text(
        "from invariant_dask import Graph\nimport numpy as np\n"
        "g = Graph()\ng.add('a', 'stdlib:identity', value=[np.arange(3)])\n"
    )
    assert "graph.a.params.value[0]" in cli("dump", "own.py:g", code=2).stderr


@pytest.mark.parametrize(
    "options", [["--pick", "a", "--pick", "b"], ["--data-uri", "--pretty"]], ids=" ".join
)
def test_options_that_do_not_go_together_are_exit_code_2(options) -> None:
    cli("dump", "plain.json", *options, code=2)
