"""The command line, as a user runs it: real processes, exit codes, output."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from invariant_dask import __version__

GRAPH = """
from invariant_dask import Graph, op
from tools import scale

@op
def scaled(value, by=2):
    return scale(value, by)

@op
def broken(value):
    raise RuntimeError("out of paint")

def graph_with(by):
    g = Graph("demo")
    five = g.add("five", "stdlib:add", a=2, b=3)
    g.add("out", scaled, value=five, by=by)
    return g

g = graph_with(2)
changed = graph_with(3)
plain = dict(g)
number = 7

def made():
    return g

def bad():
    g = graph_with(2)
    g.add("bad", broken, value=1)
    return g

def cyclic():
    from invariant_dask import Node, ref
    return {"a": Node("stdlib:identity", {"value": ref("a")})}
"""

TOOLS = """
def scale(value, by):
    return value * by
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "paint.py").write_text(textwrap.dedent(GRAPH))
    (tmp_path / "tools.py").write_text(textwrap.dedent(TOOLS))
    (tmp_path / "elsewhere").mkdir()
    return tmp_path


def cli(folder: Path, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "invariant_dask", *arguments],
        cwd=folder / "elsewhere", capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "COLUMNS": "160", "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_run_shows_outputs_and_reuses_the_second_time(folder) -> None:
    first = cli(folder, "run", "../paint.py:g")
    assert "out = 10" in first
    assert "2 ran, 0 reused, 0 not looked at" in first
    second = cli(folder, "run", "../paint.py:g")
    assert "out = 10" in second
    assert "0 ran, 1 reused, 1 not looked at" in second
    assert (folder / "elsewhere" / ".invariant").is_dir()


@pytest.mark.parametrize("name", ["g", "plain", "made"])
def test_graphs_dicts_and_functions_can_be_named(folder, name) -> None:
    assert "out = 10" in cli(folder, "run", f"../paint.py:{name}", "--scheduler", "sync")


def test_plan_shows_why_and_runs_nothing(folder) -> None:
    store = str(folder / "store")
    cli(folder, "run", "../paint.py:g", "--store", store)
    printed = cli(folder, "plan", "../paint.py:changed", "--store", store)
    assert "parameter by: 2 -> 3" in printed
    assert "1 to run, 1 reused, 0 not looked at" in printed
    again = cli(folder, "plan", "../paint.py:changed", "--store", store)
    assert "1 to run" in again


def test_output_and_rerun_choose_nodes(folder) -> None:
    cli(folder, "run", "../paint.py:g")
    only = cli(folder, "run", "../paint.py:g", "--output", "five")
    assert "five = 5" in only
    assert "out" not in only
    forced = cli(folder, "run", "../paint.py:g", "--rerun", "out")
    assert "1 ran" in forced
    assert "asked to rerun" in forced


def test_script_and_its_modules_reach_a_cluster(folder, cluster) -> None:
    printed = cli(folder, "run", "../paint.py:g", "--scheduler", cluster.scheduler_address)
    assert "out = 10" in printed
    (folder / "tools.py").write_text(TOOLS.replace("value * by", "value * by + 1"))
    edited = cli(folder, "run", "../paint.py:g", "--scheduler", cluster.scheduler_address)
    assert "out = 11" in edited
    assert "code: " in edited


def test_failing_node_is_exit_code_1_with_its_traceback(folder) -> None:
    complaint = cli(folder, "run", "../paint.py:bad", code=1)
    assert "node 'bad' (op paint:broken" in complaint
    assert "out of paint" in complaint
    assert 'raise RuntimeError("out of paint")' in complaint


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["run", "../nowhere.py:g"], "there is no file"),
        (["run", "../paint.py:h"], "has no 'h'; it has 'g', 'changed', 'plain'"),
        (["run", "../paint.py:number"], "is of type int, not a graph"),
        (["run", "../paint.py:scaled"], "cannot be called without arguments (missing a required"),
        (["run", "../paint.py:scaled"], "the file has 'g', 'changed', 'plain'"),
        (["run", "../paint.py:cyclic"], "a -> a"),
        (["run", "../paint.py:g", "--output", "oot"], "did you mean 'out'"),
        (["run", "../paint.py:g", "--rerun", "oot"], "rerun names 'oot'"),
        (["run", "../paint.py:g", "--store", "../paint.py"], "is a file"),
        (["run", "../paint.py:g", "--scheduler", "tcp://127.0.0.1:9"], "no Dask scheduler answers"),
        (["run", "../paint.py:g", "--scheduler", "quantum"], "quantum"),
        (["run", "../paint.py:g", "--colour"], "--colour"),
        (["paint"], "paint"),
    ],
    ids=lambda value: " ".join(value)[-30:] if isinstance(value, list) else "",
)
def test_bad_input_is_exit_code_2_and_says_what(folder, arguments, text) -> None:
    complaint = cli(folder, *arguments, code=2)
    assert text in complaint
    assert "Traceback" not in complaint


def test_file_that_fails_is_exit_code_2_with_the_users_own_lines(folder) -> None:
    (folder / "broken.py").write_text("def f():\n    return 1 / 0\n\nf()\n")
    complaint = cli(folder, "run", "../broken.py:g", code=2)
    assert "failed while it was read" in complaint
    assert "ZeroDivisionError" in complaint
    assert "click" not in complaint


def test_function_that_fails_to_make_a_graph_is_told_from_its_own_line_on(folder) -> None:
    (folder / "broken.py").write_text("def g():\n    return 1 / 0\n")
    complaint = cli(folder, "run", "../broken.py:g", code=2)
    assert "failed while it made the graph" in complaint
    assert "ZeroDivisionError" in complaint
    assert "click" not in complaint


def test_damage_that_is_found_during_a_run_is_told_as_the_reason_why_a_node_ran(folder) -> None:
    (folder / "large.py").write_text(
        "from invariant_dask import Graph, op\n"
        "@op\ndef large(n):\n    return bytes([n]) * 50_000\n"
        "@op\ndef size(data, by):\n    return len(data) * by\n"
        "def graph(by):\n    g = Graph()\n    data = g.add('arr', large, n=1)\n"
        "    g.add('out', size, data=data, by=by)\n    return g\n"
        "one = graph(1)\nthree = graph(3)\n"
    )
    cli(folder, "run", "../large.py:one")
    (blob,) = (path for path in folder.rglob(".invariant/blobs/*/*"))
    blob.chmod(0o600)
    blob.write_bytes(bytes(50_000))
    damaged = "ran arr: damaged: blob "
    shown = cli(folder, "run", "../large.py:one", "--pick", "arr")
    assert f"{damaged}{(blob.parent.name + blob.name)[:12]}: its 50000 bytes are not" in shown
    assert "1 ran" in shown
    blob.chmod(0o600)
    blob.write_bytes(bytes(50_000))
    assert damaged in cli(folder, "run", "../large.py:three")
    blob.chmod(0o600)
    blob.write_bytes(bytes(500))
    assert "it has 500 bytes and not 50000" in cli(
        folder, "run", "../large.py:one", "--pick", "arr"
    )


def test_nodes_that_were_planned_to_run_and_did_not_are_told_apart(folder) -> None:
    (folder / "cut.py").write_text(
        "from invariant_dask import Graph, op\n"
        "@op\ndef parity(n):\n    return n % 2\n@op\ndef last(n):\n    return n + 1\n"
        "def graph(n):\n    g = Graph()\n    g.add('last', last, n=g.add('p', parity, n=n))\n"
        "    return g\none = graph(1)\nthree = graph(3)\n"
    )
    cli(folder, "run", "../cut.py:one")
    printed = cli(folder, "run", "../cut.py:three")
    assert "ran p: parameter n: 1 -> 3" in printed
    assert "reused last: its inputs came out the same" in printed


def test_version(folder) -> None:
    assert cli(folder, "version") == f"invariant-dask {__version__}\n"


def test_fully_stored_run_imports_no_distributed(folder) -> None:
    cli(folder, "run", "../paint.py:g", "--scheduler", "sync")
    code = (
        "import sys\n"
        "sys.argv = ['invariant-dask', 'run', '../paint.py:g']\n"
        "from invariant_dask.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print([m for m in ('distributed', 'bokeh', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder / "elsewhere",
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.endswith("[]\n")
