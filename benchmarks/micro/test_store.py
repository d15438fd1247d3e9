"""Stores: one artifact in, one out, and many looked up at once."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from invariant_dask import DiskStore, MemoryStore
from invariant_dask.core import manifest as manifests
from invariant_dask.testing import sample_manifest

MANY = 1000
SMALL = {"name": "a", "numbers": [1, 2, 3]}
LARGE = np.arange(1_000_000.0)


@pytest.fixture(params=["disk", "memory"])
def store(request, tmp_path):
    if request.param == "memory":
        yield MemoryStore("unbounded")
        return
    store = DiskStore(tmp_path / "store")
    yield store
    store.close()


@pytest.mark.parametrize("value", [SMALL, LARGE], ids=["small", "array of 8 MB"])
def test_put(benchmark, store, value) -> None:
    numbers = count()

    def fresh() -> tuple[tuple[bytes, object], dict]:
        number = next(numbers)
        other = value + number if value is LARGE else {**value, "number": number}
        return (sample_manifest(n=number), other), {}

    record = benchmark.pedantic(store.put, setup=fresh, rounds=20)
    assert store.exists(record.resolved)


@pytest.mark.parametrize("value", [SMALL, LARGE], ids=["small", "array of 8 MB"])
def test_get(benchmark, store, value) -> None:
    digest = store.put(sample_manifest(), value).resolved
    again = benchmark(store.get, digest)
    assert np.array_equal(again, value) if value is LARGE else again == value


@pytest.fixture
def digests(store) -> list[bytes]:
    made = [sample_manifest(n=number) for number in range(2 * MANY)]
    with store.grouping():
        for number in range(MANY):
            store.put(made[number], number)
    return [manifests.digest(manifest) for manifest in made]


def test_lookup_of_1k_that_are_there(benchmark, store, digests) -> None:
    found = benchmark(store.lookup, digests[:MANY])
    assert found.keys() == set(digests[:MANY])


def test_lookup_of_1k_that_are_not(benchmark, store, digests) -> None:
    assert benchmark(store.lookup, digests[MANY:]) == {}
