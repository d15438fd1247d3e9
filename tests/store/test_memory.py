"""A memory store stays within its bounds and lets the right artifacts go."""

from __future__ import annotations

import pytest

from invariant_dask.core.encode import encode
from invariant_dask.errors import SpecError
from invariant_dask.store import About, MemoryStore
from invariant_dask.testing import sample_manifest, sample_planned


def put(store: MemoryStore, n: int, value: object = None) -> bytes:
    return store.put(sample_manifest(n=n), n if value is None else value).resolved


def test_by_default_only_bytes_are_counted() -> None:
    store = MemoryStore()
    digests = [put(store, n) for n in range(3000)]
    assert len(store.lookup(digests)) == 3000
    assert store.stats.evicted == 0


def test_least_recently_used_artifact_goes_first() -> None:
    store = MemoryStore("lru", max_size=3)
    first, second, third = (put(store, n) for n in range(3))
    store.lookup([first])
    fourth = put(store, 3)
    assert store.lookup([first, second, third, fourth]).keys() == {first, third, fourth}
    assert store.stats.evicted == 1


def test_least_often_used_artifact_goes_first() -> None:
    store = MemoryStore("lfu", max_size=3)
    first, second, third = (put(store, n) for n in range(3))
    store.lookup([first, second])
    store.lookup([first, third])
    store.lookup([third])
    fourth = put(store, 3)
    assert store.lookup([first, second, third, fourth]).keys() == {first, third, fourth}
    fifth = put(store, 4)
    assert fifth in store.lookup([fifth])
    assert len(store) == 3


def test_artifact_older_than_its_time_is_gone() -> None:
    now = [0.0]
    store = MemoryStore("ttl", ttl=10, clock=lambda: now[0])
    old = put(store, 1, b"x" * 40_000)
    now[0] = 6
    young = put(store, 2)
    store.lookup([old])  # use does not prolong it
    now[0] = 11
    assert store.lookup([old, young]).keys() == {young}
    now[0] = 16
    assert not store.exists(young)
    assert len(store) == 0


def test_unbounded_store_keeps_everything() -> None:
    store = MemoryStore("unbounded", max_size=1, max_bytes=1)
    digests = [put(store, n) for n in range(50)]
    assert len(store.lookup(digests)) == 50


@pytest.mark.parametrize("policy", ["lru", "lfu"])
def test_bytes_are_bounded_blobs_included(policy: str) -> None:
    store = MemoryStore(policy, max_bytes=200_000)  # type: ignore[arg-type]
    digests = [put(store, n, bytes((n,)) * 50_000) for n in range(10)]
    kept = store.lookup(digests)
    assert 2 <= len(kept) <= 3
    assert digests[-1] in kept
    for digest in kept:
        assert len(store.get(digest)) == 50_000


def test_artifact_that_does_not_fit_drives_nothing_out() -> None:
    store = MemoryStore(max_bytes=200_000)
    small = put(store, 1)
    giant = put(store, 2, b"x" * 300_000)
    assert store.lookup([small, giant]).keys() == {small}


def test_blob_of_two_artifacts_stays_until_both_are_gone() -> None:
    store = MemoryStore(max_size=2)
    shared = b"x" * 40_000
    put(store, 1, [1, shared])
    second = put(store, 2, [2, shared])
    third = put(store, 3)
    assert store.get(second) == [2, shared]
    put(store, 4)
    put(store, 5)
    assert store.lookup([second, third]) == {}
    blob = next(iter(encode(shared).blobs))
    assert store.read_blob(blob, len(shared)) is None


def test_claims_go_with_their_record() -> None:
    store = MemoryStore(max_size=1)
    planned = sample_planned("a")
    store.publish(
        encode(1), sample_manifest(n=1), kind="int", about=About("sample:op"), planned=planned
    )
    put(store, 2)
    assert store.lookup([planned]) == {}
    assert store._targets == {}


def test_number_of_claims_on_one_record_is_bounded() -> None:
    store = MemoryStore()
    record = store.put(sample_manifest(), 1)
    planned = [sample_planned(str(n)) for n in range(200)]
    for each in planned:
        store.claim(each, record, [])
    found = store.lookup(planned)
    assert 0 < len(found) < 100
    assert planned[-1] in found


@pytest.mark.parametrize(
    "options",
    [
        {"cache": "fifo"},
        {"max_size": 0},
        {"max_bytes": 0},
        {"cache": "ttl"},
        {"ttl": 5},
        {"cache": "ttl", "ttl": 0},
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        MemoryStore(**options)  # type: ignore[arg-type]
