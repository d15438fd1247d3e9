"""The benchmarks run, and what they measure is right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_a_workflow_document_is_run_cold_warm_and_changed(tmp_path) -> None:
    tasks = [
        {"id": "split", "name": "split", "parents": [], "children": ["a", "b"]},
        {"id": "a", "name": "a", "parents": ["split"], "children": ["join"]},
        {"id": "b", "name": "b", "parents": ["split"], "children": ["join"]},
        {"id": "join", "name": "join", "parents": ["a", "b"], "children": []},
    ]
    document = tmp_path / "diamond.json"
    document.write_text(json.dumps({"workflow": {"specification": {"tasks": tasks}}}))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.workflows", document, "--schedulers", "sync"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    row = done.stdout.splitlines()[-1].split()
    assert row[0] == "diamond"
    # tasks; then op calls when cold, when warm, and with the third task changed
    assert [row[1], row[2], row[4], row[6]] == ["4", "4", "0", "2"]


def test_arrays_are_stored_and_loaded_beside_their_floors(tmp_path) -> None:
    report = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.arrays", "--mb", "4", "--repeat", "1",
         "--json", report],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert "ours: put" in done.stdout
    found = json.loads(report.read_text())
    times = found["arrays"]["4"]
    assert {"write", "sha_tree", "store_tree", "load_tree", "put", "get"} <= times.keys()
    assert times["store_tree"]["tree"] == times["load_tree"]["tree"] == 1
    memory = found["memory"]["4"]
    assert memory.keys() == {"put", "load", "compute"}
    # At most one copy to store; to load, nothing but a map. The slack is for what else there is.
    assert memory["put"]["peak"] < 1.5
    assert memory["load"]["held_anonymous"] < 0.5


def test_what_the_language_costs_is_measured_and_right() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.language", "--nodes", "200", "--repeat", "1"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    rows = [line for line in done.stdout.splitlines() if line.startswith("| `")]
    assert len(rows) == 7
    for row in rows:
        # The second column is ours: a number, never a failure or a difference.
        assert float(row.split(" | ")[1]) > 0
    run, compiled = done.stdout.splitlines()[-2:]
    assert run.startswith("run: ")
    assert compiled.startswith("compile: ")
