"""What the demo prints, in a process of its own with a cluster of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "invariant_dask", "demo", "--side", "64"]


def run(folder: Path, *options: str) -> str:
    done = subprocess.run(
        [*COMMAND, *options],
        cwd=folder, capture_output=True, text=True, timeout=200, check=False,
        env={**os.environ, "COLUMNS": "100"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def row(text: str, name: str) -> list[str]:
    (found,) = [line for line in text.splitlines() if line.startswith(f"│ {name} ")]
    return found.replace("│", " ").split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def first(folder: Path) -> str:
    return run(folder)


def test_links_the_dashboard(first: str) -> None:
    assert "dashboard: http://127.0.0.1:" in first


def test_says_at_the_start_how_much_there_is_to_do_and_then_what_was_done(first: str) -> None:
    told = [
        line for line in first.splitlines() if line.startswith(("three runs", "cold: ", "warm: "))
    ]
    assert told[0].endswith("has 149 to run, 0 reused, 0 not looked at")
    assert told[1].startswith("cold: 149 ran, 0 reused, 0 not looked at in ")
    assert told[2].startswith("warm: 0 ran, 3 reused, 146 not looked at in ")


def test_tables_the_three_runs(first: str) -> None:
    assert row(first, "cold")[1:4] == ["149", "0", "0"]
    assert row(first, "warm")[1:4] == ["0", "3", "146"]
    assert row(first, "changed")[1:4] == ["50", "38", "61"]
    assert row(first, "warm")[-1].endswith("x")


def test_tells_root_causes_from_what_merely_follows(first: str) -> None:
    assert "strength of the tone curve, 0.40 -> 0.80: 50 of 149 nodes ran" in first
    lines = first.splitlines()
    (told,) = [line for line in lines if line.startswith("parameter strength: ")]
    assert "0.40" in told
    assert "0.80" in told
    (cat,) = [line.split() for line in lines if line.strip().startswith("cat/tone")]
    assert cat == ["cat/tone", "then", "sharpen,", "thumbnail,", "card"]
    assert "montage/page, montage/png" in lines[lines.index("no change of its own") + 1]


def test_says_where_pictures_and_store_are(first: str, folder: Path) -> None:
    for name in ("montage.png", "montage-changed.png", "edges.png", "report.txt", "store"):
        assert f"  ./invariant-demo/{name}\n" in first
        assert (folder / "invariant-demo" / name).exists()


def test_a_second_demo_says_that_it_was_not_cold_and_fresh_starts_over(
    first: str, folder: Path
) -> None:
    assert "not cold" not in first
    second = run(folder)
    assert row(second, "cold")[1:4] == ["0", "3", "146"]
    assert "the first run was not cold; --fresh starts over" in " ".join(second.split())
    assert "0.40 -> 0.85" in second
    third = run(folder, "--fresh")
    assert row(third, "cold")[1] == "149"
    assert "not cold" not in third


def test_keep_leaves_the_cluster_up_until_interrupted(first: str, folder: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--keep"], cwd=folder, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # Whoever runs this in the background of a shell has interrupts ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert any("press Ctrl-C" in line for line in process.stdout)
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers as well
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def test_a_side_out_of_range_is_said_before_a_cluster_starts(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--side", "3"], cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "from 64 to 2048" in " ".join(done.stderr.split())
    assert not list(tmp_path.iterdir())
