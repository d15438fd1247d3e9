"""A writer to S3 that is killed leaves nothing half, and the next one goes on from there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from services.places import Place, s3_place
from torture.jobs import is_large
from torture.killing import Nursery, nursery
from torture.runs import kill_until_done


@pytest.fixture(scope="module")
def writers() -> Iterator[Nursery]:
    with nursery() as started:
        yield started


@pytest.mark.timeout(300)
def test_run_that_is_killed_again_and_again_makes_only_what_was_unfinished(
    tmp_path: Path, s3: Place, writers: Nursery
) -> None:
    options = dict(s3.options)
    rng = random.Random(3)
    kills = kill_until_done(writers, s3.url, options, tmp_path, rng, 600, is_large, sample=50)
    assert kills >= 2


@pytest.mark.full
@pytest.mark.timeout(7200)
def test_object_store_survives_two_hundred_kills(
    tmp_path: Path, moto: str, writers: Nursery
) -> None:
    rng, kills = random.Random(4), 0
    while kills < 200:
        folder = tmp_path / str(kills)
        folder.mkdir()
        place = s3_place(moto)
        options = dict(place.options)
        url = place.url
        kills += kill_until_done(writers, url, options, folder, rng, 80, is_large, sample=200)
