"""The examples run, and show what they promise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def run(name: str, folder: Path) -> list[str]:
    """Run an example as a reader would, in a folder of its own."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), "store"],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [line.strip() for line in done.stdout.splitlines()]


def test_every_example_is_tested() -> None:
    text = Path(__file__).read_text()
    names = [path.name for path in EXAMPLES.glob("*.py")]
    assert names
    assert [name for name in names if f'run("{name}"' not in text] == []


def test_word_counts_reruns_what_the_change_touches(tmp_path: Path) -> None:
    lines = run("word_counts.py", tmp_path)
    assert lines[0] == "words of at least 8 letters: 6 ran, 0 reused, 0 not looked at"
    assert "words of at least 8 letters: 0 ran, 2 reused, 4 not looked at" in lines
    at = lines.index("words of at least 10 letters: 4 ran, 2 reused, 0 not looked at")
    assert "ran readme/counts: parameter shortest: 8 -> 10" in lines[at:]
    assert "ran readme/top: follows from readme/counts" in lines[at:]


def test_early_cutoff_stops_where_nothing_changed(tmp_path: Path) -> None:
    lines = run("early_cutoff.py", tmp_path)
    second = lines[lines.index(next(x for x in lines if x.startswith("limit 50:"))) :]
    assert second[2].startswith("kept: ran (parameter limit: ")
    assert second[3].startswith("slope: same inputs")
    third = lines[lines.index(next(x for x in lines if x.startswith("limit 1:"))) :]
    assert third[3].startswith("slope: ran")


def test_with_dask_computes_the_shared_part_once_and_stores_it(tmp_path: Path) -> None:
    lines = run("with_dask.py", tmp_path)
    assert (
        lines[0]
        == "to do: 2 to run, 0 reused, 0 not looked at and 2 to run, 0 reused, 0 not looked at"
    )
    assert lines[1].count("% under water") == 2
    assert (
        lines[2]
        == "now: 0 to run, 1 reused, 1 not looked at and 0 to run, 1 reused, 1 not looked at"
    )


@pytest.mark.parametrize("name", ["word_counts.py", "early_cutoff.py"])
def test_an_example_run_again_runs_no_op(name: str, tmp_path: Path) -> None:
    run(name, tmp_path)
    assert not [line for line in run(name, tmp_path) if "ran" in line.split(":")[0].split()]
