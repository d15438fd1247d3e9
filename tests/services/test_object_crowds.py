"""Processes that write to one bucket at once lose nothing and notice nothing."""

from __future__ import annotations

import pytest
from services.places import Place
from torture.crowds import write_at_once


@pytest.mark.parametrize("processes", [2, 8])
def test_processes_write_at_once(processes: int, s3: Place) -> None:
    write_at_once(s3.url, dict(s3.options), processes, 3)


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("processes", [2, 8])
def test_processes_write_at_once_for_a_minute(processes: int, s3: Place) -> None:
    assert write_at_once(s3.url, dict(s3.options), processes, 60) > 1000
