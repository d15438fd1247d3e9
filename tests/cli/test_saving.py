"""`run -o FILE` of what has no JSON form: files, arrays, frames; and what is said of all else."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from invariant_dask import FileArtifact
from invariant_dask.cli import saving
from invariant_dask.cli.app import app
from invariant_dask.cli.outputs import OutputError, Target

GRAPH = """
import numpy as np
import pandas as pd
from invariant_dask import FileArtifact, Graph, op

@op
def table():
    return pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})

@op
def numbers():
    return np.arange(6.0).reshape(2, 3)

@op
def text_file(text, path):
    with open(path, "w") as file:
        file.write(text)
    return FileArtifact(path)

g = Graph()
g.add("frame", table)
g.add("array", numbers)
g.add("file", text_file, text="made by an op", path="made.txt")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = f"saving_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(GRAPH)
    return tmp_path / f"{name}.py"


def run(folder: Path, output: str, *options: str, code: int = 0) -> Result:
    arguments = ["run", f"{folder}:g", "--pick", output, *options, "--store", "s"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def test_a_file_artifact_is_written_as_its_bytes(folder: Path) -> None:
    run(folder, "file", "-o", "copy.bin")
    assert Path("copy.bin").read_text() == "made by an op"
    run(folder, "file", "-o", "again", "--output-format", "binary")
    assert Path("again").read_text() == "made by an op"
    assert run(folder, "file", "--output-format", "binary").stdout_bytes == b"made by an op"


def test_an_array_is_written_to_npy(folder: Path) -> None:
    run(folder, "array", "-o", "array.npy")
    assert np.array_equal(np.load("array.npy"), np.arange(6.0).reshape(2, 3))


def test_a_frame_is_written_to_csv_and_parquet(folder: Path) -> None:
    expected = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    run(folder, "frame", "-o", "frame.csv")
    assert Path("frame.csv").read_text() == "a,b\n1,x\n2,y\n"
    run(folder, "frame", "-o", "frame.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet("frame.parquet"), expected)


def test_an_index_that_says_something_is_written_too(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1]}, index=pd.Index(["x"], name="key"))
    Target(tmp_path / "f.csv").write_values({"frame": frame})
    assert (tmp_path / "f.csv").read_text() == "key,a\nx,1\n"


@pytest.mark.parametrize(
    ("output", "options", "hint"),
    [
        ("array", ["-o", "array.bin"], "-o FILE.npy writes an array"),
        ("array", ["--output-format", "binary"], "-o FILE.npy writes an array"),
        ("array", ["--output-format", "json"], "-o FILE.npy writes an array"),
        ("frame", ["-o", "frame.txt"], "-o FILE.csv or -o FILE.parquet writes a frame"),
        ("file", ["--output-format", "json"], "-o FILE writes its bytes"),
    ],
)
def test_what_cannot_be_written_so_says_how_it_can(output, options, hint: str, folder) -> None:
    told = run(folder, output, *options, code=1).stderr
    assert hint in told
    assert "write it as JSON" not in told


def test_for_all_else_the_line_of_python_is_said_and_works(folder: Path) -> None:
    folder.write_text(
        GRAPH + "\n@op\ndef odd():\n    return pd.Series([1, 2])\ng.add('odd', odd)\n"
    )
    told = run(folder, "odd", "-o", "x.json", code=1).stderr
    (line,) = (part for part in told.splitlines() if "in Python it is" in part)
    expression = line.partition("in Python it is ")[2]
    from invariant_dask import open_store

    assert expression.startswith("open_store(")
    assert eval(expression, {"open_store": open_store}).tolist() == [1, 2]
    assert not Path("x.json").exists()


def test_a_file_that_cannot_be_written_is_no_fault_of_the_value(tmp_path: Path) -> None:
    (tmp_path / "locked").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        Target(tmp_path / "locked" / "f.npy").write_values({"array": np.arange(3)})


def test_an_array_of_objects_is_never_pickled(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot be written to \.npy"):
        Target(tmp_path / "f.npy").write_values({"array": np.array([object()])})
    assert list(tmp_path.iterdir()) == []


def test_files_go_in_pieces_whatever_their_suffix() -> None:
    value = FileArtifact.of(b"1" * (3 << 20), ".npy")
    assert saving.saver(value, ".npy").func is saving._copy
