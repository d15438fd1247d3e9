"""`run` and `plan` on documents: where they come from, context values, what is written where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from invariant_dask import ICacheable, Node, cacheable, op
from invariant_dask.cli.app import app
from invariant_dask.cli.outputs import OutputError, Target, write_file
from invariant_dask.graph.documents import dump_data_uri
from invariant_dask.graph.markers import ref

SUM = """
format: invariant-graph
version: 1
output: sum
graph:
  sum: {kind: node, op_name: "stdlib:add", params: {a: !ref x, b: 0.5}, deps: [x]}
  twice: {kind: node, op_name: "stdlib:multiply", params: {a: !ref sum, b: 2}, deps: [sum]}
"""


@cacheable(version="1")
class Note(ICacheable):
    """A text that writes itself with a header, and without one to a file."""

    def __init__(self, text: str) -> None:
        self.text = text

    def get_stable_hash(self) -> str:
        return self.text.encode().hex().ljust(64, "0")

    def to_stream(self, stream) -> None:
        stream.write(b"NOTE" + self.text.encode())

    def to_file(self, path) -> None:
        Path(path).write_text(self.text)

    @classmethod
    def from_stream(cls, stream) -> Note:
        return cls(stream.read()[4:].decode())


@cacheable(version="1")
class Plain(Note):
    to_file = None


@op("clitest:note", version="1")
def note(text):
    return Note(text)


@op("clitest:plain", version="1")
def plain(text):
    return Plain(text)


@op("clitest:raw", version="1")
def raw():
    return b"\x00\xff"


@op("clitest:array", version="1")
def array():
    import numpy as np

    return np.arange(3)


@op("clitest:fails", version="1")
def fails():
    raise RuntimeError("out of paint")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INVARIANT_STORE", raising=False)
    Path("sum.yaml").write_text(SUM)
    return tmp_path


def cli(*arguments: str, code: int = 0, stdin: str | bytes | None = None) -> Result:
    result = CliRunner().invoke(app, arguments, input=stdin)
    assert result.exit_code == code, result.output
    return result


def document(name: str, **nodes: Node) -> str:
    from invariant_dask.graph.documents import dump_graph

    Path(name).write_text(dump_graph(nodes))
    return name


# --- where graphs come from ---


def test_a_document_is_run_and_its_output_is_json_on_stdout_alone() -> None:
    result = cli("run", "sum.yaml", "--param", "x=1.50")
    assert result.stdout == '{"$decimal":"2.00"}\n'
    assert "1 ran" in result.stderr


def test_a_second_run_reuses_what_is_stored() -> None:
    cli("run", "sum.yaml", "--param", "x=1")
    result = cli("run", "sum.yaml", "--param", "x=1")
    assert result.stdout == '{"$decimal":"1.5"}\n'
    assert "0 ran, 1 reused" in result.stderr


@pytest.mark.parametrize("input_format", ["auto", "yaml"])
def test_standard_input_is_read_as_a_document(input_format) -> None:
    result = cli("run", "-", "--param", "x=1", "--input-format", input_format, stdin=SUM)
    assert result.stdout == '{"$decimal":"1.5"}\n'


def test_grafts_of_standard_input_lie_in_the_current_folder() -> None:
    outer = (
        "{format: invariant-graph, version: 1, graph: {s: !subgraph "
        "{resource: sum.yaml, params: {x: 4}, deps: []}}}"
    )
    result = cli("run", "-", "--input-format", "yaml", stdin=outer)
    assert result.stdout == '{"$decimal":"4.5"}\n'


def test_a_data_uri_brings_context_values_that_options_override() -> None:
    graph = {"sum": Node("stdlib:add", {"a": ref("x"), "b": ref("y")}, deps=["x", "y"])}
    uri = dump_data_uri(graph, "sum", {"x": 1, "y": 10})
    Path("context.json").write_text('{"x": 2}')
    assert cli("run", uri).stdout == "11\n"
    assert cli("run", uri, "--context", "context.json").stdout == "12\n"
    assert cli("run", uri, "--context", "context.json", "--param", "x=3").stdout == "13\n"


def test_a_python_file_takes_context_values_too() -> None:
    Path("own.py").write_text(
        "from invariant_dask import Graph, Node, ref\n"
        "g = {'sum': Node('stdlib:add', {'a': ref('x'), 'b': 1}, deps=['x'])}\n"
    )
    assert "sum = 3" in cli("run", "own.py:g", "--param", "x=2").stdout
    assert cli("run", "own.py:g", "--param", "x=2", "--output-format", "json").stdout == "3\n"


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="needs pipes with names")
def test_a_pipe_with_a_name_is_read_as_a_document() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m invariant_dask run <(cat sum.yaml) --param x=1"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout == '{"$decimal":"1.5"}\n'


def test_code_that_registers_ops_is_imported_when_asked_for() -> None:
    Path("paint_ops.py").write_text(
        "from invariant_dask import op\n@op(version='1')\ndef red(level):\n    return level + 1\n"
    )
    name = document("red.json", r=Node("paint_ops:red", {"level": 1}))
    assert "no op named 'paint_ops:red'" in cli("run", name, code=2).stderr
    assert cli("run", name, "--import", "paint_ops.py").stdout == "2\n"


def test_a_file_may_have_both_the_graph_and_the_ops_that_are_imported() -> None:
    Path("both_ops.py").write_text(
        "from invariant_dask import Graph, op\n@op(version='1')\ndef red(level):\n"
        "    return level + 1\ng = Graph()\ng.add('r', red, level=1)\n"
    )
    assert "r = 2" in cli("run", "both_ops.py:g", "--import", "both_ops.py").stdout


def test_values_of_installed_packages_need_no_import() -> None:
    Path("image.yaml").write_text(
        "{format: invariant-graph, version: 1, graph: {i: {kind: node, deps: [], "
        'op_name: "gfx:create_solid", params: {size: !tuple [2, 2], color: !tuple [1, 2, 3, 4]}}}}'
    )
    # A process of its own, for which nobody imported the package.
    command = [sys.executable, "-m", "invariant_dask", "run"]
    made = subprocess.run(
        [*command, "image.yaml", "--output-format", "json"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    same = {
        "kind": "node",
        "op_name": "stdlib:identity",
        "params": {"value": json.loads(made.stdout)},
    }
    graph = {"i": {**same, "deps": []}}
    Path("same.json").write_text(
        json.dumps({"format": "invariant-graph", "version": 1, "graph": graph})
    )
    again = subprocess.run(
        [*command, "same.json", "--output-format", "json"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert again.stdout == made.stdout


# --- context values ---


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("7", "7"),
        ("1.50", '{"$decimal":"1.50"}'),
        ("red", '"red"'),
        ("2024-01-01", '"2024-01-01"'),
        ("a=b", '"a=b"'),
        ("", '""'),
        ('"7"', '"7"'),
        ("null", "null"),
        ('[1, {"$tuple": [2]}]', '[1,{"$tuple":[2]}]'),
        ("${x}", '"${x}"'),
    ],
)
def test_a_param_is_json_if_it_is_json_and_text_if_not(text, shown) -> None:
    Path("same.yaml").write_text(
        'format: invariant-graph\nversion: 1\ngraph: {o: {kind: node, op_name: "stdlib:identity", '
        "params: {value: !ref v}, deps: [v]}}"
    )
    assert cli("run", "same.yaml", "--param", f"v={text}").stdout == shown + "\n"


def test_a_context_file_may_be_yaml_with_markers_for_types() -> None:
    Path("context.yaml").write_text("x: !decimal '2.50'\n")
    result = cli("run", "sum.yaml", "--context", "context.yaml")
    assert result.stdout == '{"$decimal":"3.00"}\n'


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("c.json", '{\n "x": {"$ref": "y"}}', "c.json:2:16: a context value cannot hold a $ref"),
        ("c.json", '{"x": 1,\n "x": 2}', "c.json:2:2: the key 'x' stands twice"),
        ("c.json", "[1]", "c.json:1:1: a context is a mapping of values by name, not a list"),
        ("c.yaml", "x: !subgraph {}", "c.yaml:1:4: a context holds values"),
        ("c.yaml", "x: [1", "c.yaml:2:1: not valid YAML"),
        ("c.yaml", "x: .inf", "c.yaml:1:4"),
    ],
)
def test_a_bad_context_file_is_told_with_its_place(name, text, complaint) -> None:
    Path(name).write_text(text)
    assert complaint in cli("run", "sum.yaml", "--context", name, code=2).stderr


# --- outputs ---


def test_pick_chooses_outputs_and_several_are_a_mapping() -> None:
    one = cli("run", "sum.yaml", "--param", "x=1", "--pick", "twice")
    assert one.stdout == '{"$decimal":"3.0"}\n'
    both = cli("run", "sum.yaml", "--param", "x=1", "--pick", "twice", "--pick", "sum")
    assert both.stdout == '{"sum":{"$decimal":"1.5"},"twice":{"$decimal":"3.0"}}\n'


def test_pretty_indents() -> None:
    result = cli("run", "sum.yaml", "--param", "x=1", "--pretty")
    assert result.stdout == '{\n  "$decimal": "1.5"\n}\n'


def test_one_icacheable_goes_to_a_file_as_its_own_file_format(folder) -> None:
    name = document("note.json", n=Node("clitest:note", {"text": "hi"}))
    cli("run", name, "-o", "note.txt")
    assert Path("note.txt").read_bytes() == b"hi"
    cli("run", name, "-o", "note.out", "--output-format", "json")
    assert "$icacheable" in json.loads(Path("note.out").read_text())
    assert cli("run", name).stdout_bytes == b"hi"


def test_an_icacheable_without_a_file_format_is_written_as_its_stream() -> None:
    name = document("plain.json", n=Node("clitest:plain", {"text": "hi"}))
    assert cli("run", name).stdout_bytes == b"NOTEhi"


def test_bytes_are_written_as_they_are() -> None:
    name = document("raw.json", r=Node("clitest:raw", {}))
    assert cli("run", name).stdout_bytes == b"\x00\xff"
    cli("run", name, "-o", "raw.bin", "--output-format", "binary")
    assert Path("raw.bin").read_bytes() == b"\x00\xff"
    assert b"payload_b64" in cli("run", name, "--output-format", "json").stdout_bytes


def test_binary_refuses_what_has_no_bytes() -> None:
    result = cli("run", "sum.yaml", "--param", "x=1", "--output-format", "binary", code=1)
    assert "output 'sum' is of type Decimal; binary output is that of bytes" in result.stderr
    picks = ["--pick", "sum", "--pick", "twice"]
    several = cli("run", "sum.yaml", *picks, "--output-format", "binary", code=2)
    assert "there are 2; choose with --pick" in several.stderr


def test_a_value_without_a_json_form_is_told() -> None:
    name = document("array.json", a=Node("clitest:array", {}))
    assert "output 'a' cannot be written as JSON" in cli("run", name, code=1).stderr


def test_a_file_is_replaced_as_a_whole_or_not_at_all(folder) -> None:
    target = folder / "out.txt"
    target.write_text("before")
    target.chmod(0o600)

    def half(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        write_file(target, half)
    assert target.read_text() == "before"
    assert sorted(p.name for p in folder.iterdir()) == ["out.txt", "sum.yaml"]
    Target(target).write_bytes(b"after")
    assert target.read_bytes() == b"after"
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_link_stays_a_link(folder) -> None:
    (folder / "real").write_text("before")
    (folder / "link").symlink_to("real")
    Target(folder / "link").write_bytes(b"after")
    assert (folder / "link").is_symlink()
    assert (folder / "real").read_bytes() == b"after"


def test_dash_and_devices_can_be_written_to() -> None:
    assert cli("run", "sum.yaml", "--param", "x=1", "-o", "-").stdout == '{"$decimal":"1.5"}\n'
    cli("run", "sum.yaml", "--param", "x=1", "-o", os.devnull)
    assert Path(os.devnull).exists()


def test_plan_shows_a_document_as_a_table_or_as_json() -> None:
    assert "1 to run" in cli("plan", "sum.yaml", "--param", "x=1").stdout
    told = json.loads(cli("plan", "sum.yaml", "--param", "x=1", "--json").stdout)
    assert told["counts"]["run"] == 1
    assert told["cost"]["untimed_nodes"] == 1
    made = json.loads(cli("plan", "sum.yaml", "--param", "x=1", "--output-format", "json").stdout)
    assert made["counts"]["run"] == 1
    assert [node["node"] for node in made["nodes"]] == ["sum"]
    assert not made["nodes"][0]["causes"] or made["nodes"][0]["digest"]


# --- errors ---


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "absent.json"], "there is no file 'absent.json'"),
        (["run", "."], "'.' is a folder"),
        (["run", "sum.yaml"], "refers to 'x'"),
        (["run", "sum.yaml", "--pick", "smu"], "did you mean 'sum'"),
        (["run", "sum.yaml", "--param", "x"], "--param takes NAME=VALUE, not 'x'"),
        (["run", "sum.yaml", "--param", "x=NaN"], "--param x: NaN is no number"),
        (
            ["run", "sum.yaml", "--context", "absent"],
            "there is no file 'absent'; --context takes a JSON or YAML file",
        ),
        (["run", "-", "--context", "-"], "cannot both come from standard input"),
        (["run", "own.py:g", "--input-format", "json"], "--input-format is for documents"),
        (["run", "sum.yaml", "--input-format", "json"], "sum.yaml:2:1: not valid JSON"),
        (["run", "data:text/plain,hello"], "not a data URI of a graph"),
        (["run", "sum.yaml", "-o", "."], "is a folder"),
        (["run", "sum.yaml", "-o", "made/out.json"], "there is no folder 'made'"),
        (["run", "sum.yaml", "--pretty", "--output-format", "binary"], "--pretty is for JSON"),
        (["run", "sum.yaml", "--import", "absent.py"], "--import: there is no file"),
        (["run", "sum.yaml", "--import", "no_such_module"], "ModuleNotFoundError"),
    ],
    ids=lambda value: " ".join(value)[-30:] if isinstance(value, list) else "",
)
def test_bad_input_is_exit_code_2_and_one_line(arguments, complaint) -> None:
    result = cli(*arguments, code=2)
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not result.stdout


def test_a_bad_document_is_told_with_file_line_and_column() -> None:
    Path("bad.json").write_text('{"format": "invariant-graph",\n "version": 7, "graph": {}}')
    assert "bad.json:2:13: version 7 is not known" in cli("run", "bad.json", code=2).stderr
    stdin = cli("run", "-", code=2, stdin='{"format": \n oops}')
    assert "<stdin>:2:2: not valid JSON" in stdin.stderr


def test_a_failing_node_is_exit_code_1_and_writes_no_file() -> None:
    name = document("fails.json", f=Node("clitest:fails", {}))
    result = cli("run", name, "-o", "out.json", code=1)
    assert "out of paint" in result.stderr
    assert not Path("out.json").exists()


def test_a_file_that_cannot_be_written_is_exit_code_1() -> None:
    Path("file").write_text("")
    result = cli("run", "sum.yaml", "--param", "x=1", "-o", "file/out.json", code=1)
    assert "cannot write file/out.json" in result.stderr


def test_a_stored_run_of_a_python_file_imports_nothing_heavy() -> None:
    Path("own.py").write_text(
        "from invariant_dask import Graph\n"
        "g = Graph()\ng.add('o', 'stdlib:make_list', items=[1, 2])\n"
    )
    code = (
        "import sys\n"
        "sys.argv = ['invariant-dask', 'run', 'own.py:g', '--scheduler', 'sync']\n"
        "from invariant_dask.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print([m for m in HEAVY if m in sys.modules])"
    )
    # Dask imports yaml itself.
    heavy = ["rich", "celpy", "re2", "distributed", "invariant_dask.graph.yaml_documents", "numpy"]
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code.replace("HEAVY", repr(heavy))],
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
    assert done.stdout.endswith("[]\n")


def test_a_reader_that_stops_early_is_no_traceback() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m invariant_dask run sum.yaml --param x=1 | true"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stderr


def test_stdin_bytes_that_are_not_utf8_are_told() -> None:
    assert "not UTF-8" in cli("run", "-", code=2, stdin=b"{\xff").stderr
