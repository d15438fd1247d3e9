"""What strangers write into a store is refused or right; nothing that they write can run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def fuzz(seed: int, cases: int, folder: Path) -> dict[str, int]:
    """Return the outcomes of so many hostile things, by what they were."""
    done = subprocess.run(
        [sys.executable, "-m", "torture.fuzzing", str(seed), str(cases), str(folder)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
    )  # fmt: skip
    at = (folder / "case").read_text().strip() if (folder / "case").exists() else "the start"
    assert done.returncode == 0, f"ended by {done.returncode} at {at}: {done.stderr[-2000:]}"
    result = json.loads(done.stdout)
    assert not result["wrong"], "\n".join(result["wrong"])
    assert sum(result["counts"].values()) == cases
    return result["counts"]


def test_hostile_entries_blobs_and_values_are_refused_or_right(tmp_path: Path) -> None:
    counts = fuzz(1, 2_000, tmp_path)
    # Not all of them fail at the first door.
    for kind in ("entry", "manifest", "fields", "storage", "blob", "planned", "values"):
        assert sum(number for name, number in counts.items() if name.startswith(kind)) > 50, counts
    assert counts["values: right"] > 50
    assert counts["values: lost"] > 50


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(2, 12))
def test_twenty_thousand_hostile_things_are_refused_or_right(seed: int, tmp_path: Path) -> None:
    fuzz(seed, 2_000, tmp_path)
