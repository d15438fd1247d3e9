"""`graph`: a picture of what a run would do; nothing runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from invariant_dask.cli.app import app

SOURCE = """
from invariant_dask import Graph

def graph(lanes=3):
    g = Graph("fails if it runs")
    for lane in range(lanes):
        start = g.add(f"start {lane}", "stdlib:add", a=lane, b=1)
        g.add(f"half {lane}", "stdlib:divide", a=start, b=0)
    return g

def many():
    return graph(300)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INVARIANT_STORE", raising=False)
    Path("pairs.py").write_text(SOURCE)
    return tmp_path


def cli(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["graph", *arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("x.html", b"<!DOCTYPE html>"),
        ("x.dot", b"digraph {"),
        ("x.png", b"\x89PNG"),
        ("x.svg", b"<?"),
    ],
)
def test_the_suffix_says_the_format(name, start) -> None:
    told = cli("pairs.py:graph", "-o", name)
    assert Path(name).read_bytes().startswith(start)
    assert "6 nodes" in told.stderr
    assert told.stdout == ""


def test_a_picture_goes_to_standard_output_in_the_format_asked_for() -> None:
    assert cli("pairs.py:graph", "-o", "-", "--output-format", "dot").stdout.startswith("digraph {")


def test_many_nodes_are_drawn_as_groups_unless_all_are_asked_for() -> None:
    assert "drawn as 2 groups by op" in cli_text("pairs.py:many")
    assert "half 299" in cli_text("pairs.py:many", "--detail", "nodes")
    assert "drawn as 2 groups by op" in cli_text("pairs.py:graph", "--detail", "ops")


def cli_text(*arguments: str) -> str:
    cli(*arguments, "-o", "x.html")
    return Path("x.html").read_text()


def test_picks_and_reruns_and_the_store_count() -> None:
    text = cli_text("pairs.py:graph", "--pick", "half 1", "--store", "other")
    assert "half 1" in text
    assert "half 0" not in text
    assert Path("other").is_dir()
    assert not Path(".invariant").exists()
    cli("pairs.py:graph", "--rerun", "nobody", "-o", "x.html", code=2)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("-o", "x.gif"), "there is no format 'gif'; pictures are svg, png, dot, html"),
        (("-o", "x"), "the file has no suffix"),
        (("-o", "-"), "say the format by --output-format"),
        (("-o", "nowhere/x.html"), "there is no folder 'nowhere'"),
        ((), "Missing option '-o'"),
        (("-o", "x.html", "--detail", "some"), "'some' is not one of"),
    ],
)
def test_what_cannot_be_drawn_is_a_wrong_use_and_leaves_no_store(arguments, told) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "invariant_dask", "graph", "pairs.py:graph", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert told in result.stderr
    assert {path.name for path in Path().iterdir()} <= {"pairs.py", "__pycache__"}


def test_without_graphviz_the_exit_code_is_1_and_html_works(folder, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    told = cli("pairs.py:graph", "-o", "x.png", code=1)
    assert "apt-get install graphviz" in str(told.exception) + told.stderr
    assert not Path("x.png").exists()
    cli("pairs.py:graph", "-o", "x.html")
