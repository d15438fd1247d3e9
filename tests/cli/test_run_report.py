"""`run --report`, `run --json` and the bar of progress, as a user meets them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from invariant_dask.ledger.coding import from_json
from invariant_dask.ledger.folding import fold

GRAPH = """
import threading
from invariant_dask import Graph, op

@op(version="1")
def made(n):
    print("the op prints")
    return n

@op(version="1")
def broken(n):
    raise RuntimeError("out of paint")

good = Graph("good")
good.add("sum", "stdlib:add", a=good.add("one", made, n=1), b=2)
bad = Graph("bad")
bad.add("after", made, n=bad.add("worse", broken, n=bad.add("first", made, n=1)))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "g.py").write_text(GRAPH)
    return tmp_path


def invariant(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "invariant_dask", *arguments, "--scheduler", "sync"],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_run_leaves_a_report(folder: Path) -> None:
    done = invariant(folder, "run", "g.py:good", "--report", "out.html")
    assert done.returncode == 0
    assert "sum = 3" in done.stdout
    page = (folder / "out.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert 'data-state="ran" data-count="2"' in page


def test_a_run_that_fails_leaves_a_report_as_well(folder: Path) -> None:
    done = invariant(folder, "run", "g.py:bad", "--report", "out.html")
    assert done.returncode == 1
    assert "out of paint" in done.stderr
    page = (folder / "out.html").read_text(encoding="utf-8")
    assert "RuntimeError: out of paint" in page
    for state in ("ran", "failed", "skipped"):
        assert f'data-state="{state}" data-count="1"' in page


@pytest.mark.parametrize(("file", "told"), [("missing/x.html", "no folder"), (".", "is a folder")])
def test_a_report_that_cannot_be_written_is_refused_before_anything_runs(
    folder: Path, file: str, told: str
) -> None:
    done = invariant(folder, "run", "g.py:good", "--report", file)
    assert done.returncode == 2
    assert f"--report {file}" in done.stderr
    assert told in done.stderr
    assert "the op prints" not in done.stdout


def test_json_lines_are_events_that_fold_and_nothing_else(folder: Path) -> None:
    done = invariant(folder, "run", "g.py:good", "--json", "-o", "sum.json", "--store", "memory:")
    assert done.returncode == 0, done.stderr
    state = fold([from_json(json.loads(line)) for line in done.stdout.splitlines()])
    assert "the op prints" in done.stderr
    assert state.state == "finished"
    assert state.counts()["ran"] == 2
    assert json.loads((folder / "sum.json").read_text()) == 3


def test_json_lines_of_a_run_that_fails_end_with_its_end(folder: Path) -> None:
    done = invariant(folder, "run", "g.py:bad", "--json")
    assert done.returncode == 1
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["event"], last["state"]) == ("run.ended", "failed")


def test_outputs_and_json_lines_do_not_share_standard_output(folder: Path) -> None:
    done = invariant(folder, "run", "g.py:good", "--json", "--pretty")
    assert done.returncode == 2
    assert "-o" in done.stderr


def test_a_bar_is_drawn_on_terminals_only(folder: Path) -> None:
    quiet = invariant(folder, "run", "g.py:good", "--store", "one")
    assert "running" not in quiet.stderr
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "invariant_dask", "run", "g.py:good", "--store", "two"]
    running = subprocess.Popen(
        [*command, "--scheduler", "sync"], cwd=folder, stderr=slave, stdout=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )  # fmt: skip
    os.close(slave)
    told = b""
    try:
        while part := os.read(master, 4096):
            told += part
    except OSError:  # Linux says so that the other end is closed
        pass
    os.close(master)
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    assert b"2/2" in told
    assert b"the op prints" in out
    assert b"sum = 3" in out


def test_the_same_report_comes_from_the_journal_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVARIANT_LEDGER", str(folder / "ledger"))
    assert invariant(folder, "run", "g.py:bad", "--store", "s").returncode == 1
    command = [sys.executable, "-m", "invariant_dask", "runs", "replay", "latest"]
    for name in ("one.html", "two.html"):
        done = subprocess.run(
            [*command, "--html", name], cwd=folder, check=False, timeout=60, capture_output=True
        )
        assert done.returncode == 0, done.stderr
    page = (folder / "one.html").read_text(encoding="utf-8")
    assert page == (folder / "two.html").read_text(encoding="utf-8")
    assert "RuntimeError: out of paint" in page
    assert "python" in page
