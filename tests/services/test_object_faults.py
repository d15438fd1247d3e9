"""What goes wrong between a store and its server costs time, and never the right result."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import pytest
import sample_ops
from distributed import Client
from services.places import Place
from services.processes import Faults, free_port

from invariant_dask import Graph, compile, ref
from invariant_dask.errors import StoreLayoutError, StoreUnavailableError
from invariant_dask.store import Store, open_store
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
    store._client._outage.try_now()  # as if it had been left alone for long enough
    assert store.get(record.resolved) == 1


def test_what_is_wrong_with_credentials_is_said_at_once(ceph_s3: Place) -> None:
    with pytest.raises(StoreUnavailableError, match=r"(?i)signature|forbidden|denied|lack"):
        ceph_s3.open(secret="wrong")


def test_bucket_that_is_not_there_is_said_at_once(s3: Place) -> None:
    place = Place("s3://no-such-bucket/store", s3.options)
    with pytest.raises(StoreUnavailableError, match="no such bucket"):
        place.open()


@CLIENTS
def test_server_where_nobody_listens_is_not_waited_for(client: str, amazon: object) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(StoreUnavailableError, match="connect") as caught:
        open_store("s3://bucket/x", endpoint_url=endpoint, key="k", secret="s", client=client)
    # In all its time it would be tried more than ten times.
    assert int(re.search(r"no success in (\d+)", str(caught.value))[1]) < 8


# --- tiers ---


@CLIENTS
def test_far_tier_is_asked_for_nothing_while_near_ones_have_all(
    client: str, faulty_s3: Place, moto_faults: Faults, tmp_path: Path
) -> None:
    def chain(**more: object) -> Store:
        return open_store([tmp_path / "near", {"url": faulty_s3.url, **faulty_s3.options, **more}])

    first = chain(client=client)
    record = first.put(sample_manifest(), [b"x" * 40_000])
    assert first.barrier() == ()
    assert faulty_s3.open().get(record.resolved) is not None, "it says what it is"
    moto_faults.set()
    again = chain(client=client, timeout=7)  # which this process has not opened yet
    assert again.get(record.resolved) is not None
    assert moto_faults.log == []
    assert again.lookup([bytes(32)]) == {}
    assert moto_faults.log != []


@CLIENTS
def test_tier_that_is_down_is_tried_for_its_time_once(
    client: str, faulty_s3: Place, moto_faults: Faults, tmp_path: Path
) -> None:
    moto_faults.set({"action": "status", "code": 503})
    tier = {"url": faulty_s3.url, **faulty_s3.options, "client": client, "timeout": 3}
    chain = open_store([tmp_path / "near", tier])
    assert chain.lookup([bytes(32)]) == {}
    far = chain.stores[1]
    far._client._outage._until += 1000  # however slow this machine is
    before = len(moto_faults.log)
    assert before > 2
    record = chain.put(sample_manifest(), 1)
    (missed,) = chain.barrier()
    assert "left alone" in missed.reason
    assert len(moto_faults.log) == before
    # Somebody finds out whether it is back, in one attempt.
    far._client._outage.try_now()
    with pytest.raises(StoreUnavailableError, match="in 1 attempt "):
        far.lookup([record.resolved])
    moto_faults.set()
    far._client._outage.try_now()
    assert chain.barrier() == ()
    assert faulty_s3.open().exists(record.resolved)


def test_chain_of_which_no_tier_is_there_says_so_when_it_is_opened(amazon: object) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    tier = {"endpoint_url": endpoint, "key": "k", "secret": "s", "timeout": 1}
    with pytest.raises(StoreUnavailableError, match="s3://one"):
        open_store([{"url": "s3://one/x", **tier}, {"url": "s3://other/x", **tier}])


def test_what_is_no_store_is_no_tier_and_is_left_as_it_is(
    s3: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    s3.open()._client.put("somebody's", b"file")
    chain = open_store([tmp_path / "near", {"url": s3.url, **s3.options, "timeout": 5}])
    assert chain.get(chain.put(sample_manifest(), 1).resolved) == 1
    assert "something else than a store" in caplog.text
    with pytest.raises(StoreLayoutError):
        s3.open(timeout=6)


def test_run_by_command_says_in_one_line_each_what_fails_and_what_is_missing(
    amazon: pytest.MonkeyPatch, s3: Place, tmp_path: Path
) -> None:
    for name, option in {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret"}.items():
        amazon.setenv(f"AWS_{name}", s3.options[option])
    amazon.setenv("AWS_ENDPOINT_URL", s3.options["endpoint_url"])
    (tmp_path / "g.py").write_text(
        'from invariant_dask import Graph\ng = Graph()\ng.add("a", "stdlib:add", a=1, b=2)\n'
    )
    command = [sys.executable, "-m", "invariant_dask", "run", "g.py:g", "--store"]
    done = subprocess.run(
        [*command, '["./near", "s3://no-such-bucket/store"]'],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    told = [line for line in done.stderr.splitlines() if "no-such-bucket" in line]
    assert ["no such bucket" in line for line in told] == [True, True], done.stderr
    assert "tier s3://no-such-bucket/store fails" in told[0]
    assert "1 artifact is not in s3://no-such-bucket/store" in told[1]
    assert not re.search(r"\.py:\d|xml", done.stderr)


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
    told = [str(each.message) for each in caught]
    assert any("artifacts are not in s3://" in each for each in told), told
    assert calls.counts["step"] == 40
    moto_faults.set()
