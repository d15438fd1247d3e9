"""Processes that write the same and different things at once lose nothing and notice nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from torture.crowds import write_at_once


@pytest.mark.parametrize("processes", [2, 8])
@pytest.mark.parametrize("kind", ["disk", "files"])
def test_processes_write_at_once(kind: str, processes: int, tmp_path: Path) -> None:
    path = tmp_path / "store"
    write_at_once(str(path) if kind == "disk" else path.as_uri(), {}, processes, 2)


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("processes", [2, 8])
@pytest.mark.parametrize("kind", ["disk", "files"])
def test_processes_write_at_once_for_a_minute(kind: str, processes: int, tmp_path: Path) -> None:
    path = tmp_path / "store"
    url = str(path) if kind == "disk" else path.as_uri()
    assert write_at_once(url, {}, processes, 60) > 1000
