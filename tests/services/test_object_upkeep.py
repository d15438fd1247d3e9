"""Looking after a store on a real server: conditional removal, notes, leases, its clock."""

from __future__ import annotations

import pytest
from services.places import Place
from store.places import large, put, put_forward

from invariant_dask.store import upkeep
from invariant_dask.store.heartbeat import Heart
from invariant_dask.store.leases import EXPIRES, Lease
from invariant_dask.store.sizes import SECOND
from invariant_dask.testing import sample_planned

WEEK = 7 * 24 * 3600


@pytest.fixture(params=["obstore", "fsspec"])
def store(request, s3: Place):
    store = s3.open(client=request.param)
    yield store
    store.close()


def test_collector_takes_what_it_should_and_no_more(store) -> None:
    for n in range(5):
        put(store, n, claim=f"claim {n}")
    put(store, 0, large(9))
    upkeep.pin(store, sample_planned("claim 1"))
    root = upkeep.Root(store, "run", Heart(every=3600))
    root.hold(store.lookup([sample_planned("claim 2")]).values())
    put_forward(store, EXPIRES / SECOND - 60)
    assert upkeep.collect(store).removals == []  # all blobs are young
    put_forward(store, WEEK)
    report = upkeep.collect(store)
    assert [r.why for r in report.removals] == ["no record names it"]
    root.beat()
    keeper, clock = store.keeper(), store.keeper().clock
    report = upkeep.collect(store, max_age="1d", dry_run=True)
    assert report.count("record") == 4
    put_forward(store, 300)
    assert upkeep.collect(store, max_age=0, grace=0).kept == {
        "pinned": 1, "in use by a run": 1,
    }  # fmt: skip
    keeper.clock = clock
    upkeep.collect(store)
    left = upkeep.overview(store)
    assert (left.records, left.planned, left.blobs, left.unnamed) == (2, 2, 2, 0)
    assert upkeep.verify(store).is_sound
    assert {store.get(sample_planned(f"claim {n}")) for n in (1, 2)} == {large(1), large(2)}


def test_what_is_written_again_after_it_was_seen_stays(store) -> None:
    record = put(store, 1)
    keeper = store.keeper()
    (entry,) = keeper.entries()
    put(store, 1, "another value")
    assert keeper.remove_entries([entry]) == []
    (entry,) = keeper.entries()
    assert keeper.remove_entries([entry]) == [entry]
    assert not store.exists(record.resolved)


def test_leases_are_exclusive_and_expire_by_the_clock_of_the_server(store) -> None:
    record = put(store, 1)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        put_forward(store, EXPIRES / SECOND + 5)

    store.invalidate(record.resolved)
    killed = Lease(store, record.resolved, "killed", heart=Heart(every=3600))
    assert not killed.wait()
    with Lease(store, record.resolved, "next", heart=Heart(every=3600), sleep=sleep) as held:
        assert not held.wait()
        assert held.is_held
        assert len(waits) == 1
    assert store.keeper().notes("leases") == []
