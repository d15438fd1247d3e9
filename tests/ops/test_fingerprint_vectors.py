"""Fingerprints that were written down: the same under every Python, for ever."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REPORT = Path(__file__).parent / "fingerprint_samples" / "report.py"
WRITTEN = json.loads((ROOT / "tests" / "vectors" / "fingerprints.json").read_text())


def report(python: str, folder: Path, script: Path = REPORT) -> dict[str, dict[str, object]]:
    done = subprocess.run(
        [python, str(script)], cwd=folder, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "random"},
    )  # fmt: skip
    return json.loads(done.stdout)


def other_pythons() -> list[str]:
    """Interpreters of other minor versions on this machine, one of each."""
    places = [shutil.which(f"python3.{minor}") for minor in range(11, 20)]
    roots = {Path.home() / ".pyenv", Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))}
    places += [str(path) for root in roots for path in root.glob("versions/*/bin/python")]
    found: dict[tuple[int, int], str] = {}
    for place in filter(None, places):
        asked = subprocess.run(
            [place, "-c", "import sys; print(sys.version_info[:2])"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        numbers = re.findall(r"\d+", asked.stdout) if asked.returncode == 0 else ()
        version = tuple(map(int, numbers))
        if len(version) == 2 and version >= (3, 11) and version != sys.version_info[:2]:
            found.setdefault(version, place)
    return [found[version] for version in sorted(found)]


def test_fingerprints_are_as_written_down(tmp_path: Path) -> None:
    assert report(sys.executable, tmp_path) == WRITTEN


def test_fingerprints_are_the_same_under_other_pythons(tmp_path: Path) -> None:
    pythons = other_pythons()
    if not pythons:
        pytest.skip("there is no other Python on this machine")
    for python in pythons:
        assert report(python, tmp_path) == WRITTEN, python


def test_fingerprints_are_the_same_in_another_folder(tmp_path: Path) -> None:
    moved = tmp_path / "moved" / "away"
    shutil.copytree(REPORT.parent, moved)
    assert report(sys.executable, tmp_path, moved / REPORT.name) == WRITTEN


def test_fingerprints_are_the_same_with_optimisation(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-OO", str(REPORT)], cwd=tmp_path, capture_output=True, text=True,
        check=True, env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert json.loads(done.stdout) == WRITTEN
