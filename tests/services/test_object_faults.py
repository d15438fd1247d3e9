"""What goes wrong between a store and its server costs time, and never the right result."""

from __future__ import annotations

import time
import warnings
from collections import Counter

import pytest
import sample_ops
from distributed import Client
from services.places import Place
from services.processes import Faults

from invariant_dask import Graph, compile, ref
from invariant_dask.errors import StoreUnavailableError
from invariant_dask.store import Store
from invariant_dask.testing import sample_manifest

ONCE = {
    "unavailable": {"action": "status", "code": 503},
    "failing": {"action": "status", "code": 500},
    "reset": {"action": "reset"},
    "reset after the work": {"action": "reset_after"},
    "lost acknowledgement": {"action": "after", "code": 500},
    "truncated": {"action": "truncate"},
    "corrupt": {"action": "corrupt"},
}
CLIENTS = pytest.mark.parametrize("client", ["obstore", "fsspec"])


@CLIENTS
@pytest.mark.parametrize("fault", ONCE)
def test_one_fault_of_each_request_is_noticed_by_nobody(
    fault: str, client: str, faulty_s3: Place, moto_faults: Faults
) -> None:
    store = faulty_s3.open(client=client)
    value = [b"x" * 40_000, "small"]
    for method in ("PUT", "GET", "HEAD"):
        moto_faults.set({"method": method, "times": 1, **ONCE[fault]})
        record = store.put(sample_manifest(method=method), value)
        assert store.get(record.resolved) == value
        assert store.stats.quarantined == 0
    moto_faults.set({"path": "list-type", "times": 1, **ONCE[fault]})
    # A bit of a list that flips may hide a name; nothing else may go wrong.
    assert fault == "corrupt" or len(store.recent("sample:op")) == 3


@CLIENTS
def test_lost_acknowledgement_of_what_is_created_once_is_no_refusal(
    client: str, faulty_s3: Place, moto_faults: Faults
) -> None:
    store = faulty_s3.open(client=client)
    moto_faults.set({"method": "PUT", "action": "after", "code": 500, "times": 1})
    assert store._client.create("leases/x", b"mine")
    assert not store._client.create("leases/x", b"another's")


@CLIENTS
def test_server_that_is_down_costs_its_time_once(
    client: str, faulty_s3: Place, moto_faults: Faults
) -> None:
    store = faulty_s3.open(client=client, timeout=3)
    record = store.put(sample_manifest(), 1)
    moto_faults.set({"action": "status", "code": 503})
    start = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="attempts"):
        store.lookup([record.resolved])
    with pytest.raises(StoreUnavailableError, match="left alone"):
        store.lookup([record.resolved])
    assert time.monotonic() - start < 20
    moto_faults.set()
    store._client._down_until = 0.0  # as if it had been left alone for long enough
    assert store.get(record.resolved) == 1


def test_what_is_wrong_with_credentials_is_said_at_once(ceph_s3: Place) -> None:
    with pytest.raises(StoreUnavailableError, match=r"(?i)signature|forbidden|denied|lack"):
        ceph_s3.open(secret="wrong")


def test_bucket_that_is_not_there_is_said_at_once(s3: Place) -> None:
    place = Place("s3://no-such-bucket/store", s3.options)
    with pytest.raises(StoreUnavailableError, match="no such bucket"):
        place.open()


# --- runs ---


def columns(width: int, depth: int, *, start: object = 0) -> tuple[Graph, list[str]]:
    """A graph of chains that count, and the ends of the chains."""
    graph = Graph()
    for column in range(width):
        value = start
        for row in range(depth):
            name = f"n{column}-{row}"
            value = graph.add(name, sample_ops.step, value=value, column=column)
    return graph, [f"n{column}-{depth - 1}" for column in range(width)]


@pytest.mark.timeout(240)
def test_run_with_every_tenth_request_failing_is_right_and_runs_no_op_twice(
    client: Client, faulty_s3: Place, moto_faults: Faults, calls
) -> None:
    store = faulty_s3.open()
    graph, ends = columns(100, 5)
    faults = [*ONCE.values(), {"action": "delay", "seconds": 0.5}]
    moto_faults.set({"share": 0.1, "seed": 7, "action": "any", "of": faults})
    compiled = compile(graph, outputs=ends, store=store)
    result = compiled.compute(scheduler=client)
    assert list(result.values()) == [5] * 100
    hit = Counter(action for *_, action in moto_faults.log if action)
    assert sum(hit.values()) > 50
    assert calls.counts == {"step": 500}
    again = compile(graph, outputs=ends, store=store)
    assert list(again.compute(scheduler=client).values()) == list(result.values())
    assert calls.counts == {"step": 500}


@pytest.mark.timeout(240)
def test_run_whose_store_goes_down_ends_right_and_says_what_is_not_persisted(
    client: Client, faulty_s3: Place, moto_faults: Faults, calls
) -> None:
    store: Store = faulty_s3.open(timeout=1.5)
    graph, ends = columns(20, 2, start=ref("off"))
    graph.add("off", sample_ops.switch_off, proxy=moto_faults.url)
    compiled = compile(graph, outputs=ends, store=store)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = compiled.compute(scheduler=client)
    assert list(result.values()) == [2] * 20
    assert any("artifacts are not in s3://" in str(each.message) for each in caught)
    assert calls.counts["step"] == 40
    moto_faults.set()
