"""Trust in runs: what is not believed runs again and says why; workers sign what they may."""

from __future__ import annotations

import logging
import os
import pickle

import pytest

from invariant_dask import DiskStore, Graph, OpRegistry, compile, open_store, ref
from invariant_dask.core.manifest import CODE_OP
from invariant_dask.plan.plan import Decision
from invariant_dask.store.keys import SigningKey
from invariant_dask.store.record import EntryRow, PlannedEntry, Record, parse_entry
from invariant_dask.testing import damage_blob, damage_entry


def one(n: int) -> list[int]:
    return [n]


def more(a: list[int]) -> list[int]:
    return [*a, len(a)]


@pytest.fixture
def registry() -> OpRegistry:
    registry = OpRegistry()
    registry.register("here:one", one, version="1")
    registry.register("here:more", more, version="1")
    return registry


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path) -> None:
    for name in ("INVARIANT_SIGNING_KEY", "INVARIANT_TRUSTED_KEYS", "INVARIANT_TRUST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def key() -> SigningKey:
    return SigningKey("ci", os.urandom(32))


def graph() -> Graph:
    g = Graph()
    g.add("one", "here:one", n=1)
    g.add("two", "here:more", a=ref("one"))
    g.add("three", "here:more", a=ref("two"))
    return g


def run(store, registry, **options):
    options = {"scheduler": "sync"} | options
    return compile(graph(), store=store, registry=registry).run(**options)


def causes(store, registry) -> dict[str, str]:
    plan = compile(graph(), store=store, registry=registry).plan()
    return {n.node: "; ".join(n.causes) for n in plan.nodes() if n.decision is Decision.RUN}


def signatures(path) -> dict[str, set[bytes]]:
    """The public keys on what ops made, of records and of claims; nothing where it is unsigned.

    What the code of ops reads like is signed, or not, by whoever compiled.
    """
    with DiskStore(path)._index._open().read_lock:
        rows = DiskStore(path)._index._select("SELECT digest, data FROM entries WHERE 1 IN", [1])
    found: dict[str, set[bytes]] = {"record": set(), "claim": set()}
    for digest, data in rows:
        entry = parse_entry(digest, data)
        if isinstance(entry, Record) and entry.about.op == CODE_OP:
            continue  # of the process that has the source, which need not be a worker
        found["claim" if isinstance(entry, PlannedEntry) else "record"].add(entry.signature[:32])
    return found


def test_a_signed_run_is_reused_by_whoever_trusts_the_key(
    registry, key, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("INVARIANT_SIGNING_KEY", key.secret_text())
    assert len(run(tmp_path / "s", registry).ran()) == 3
    monkeypatch.delenv("INVARIANT_SIGNING_KEY")
    store = open_store(tmp_path / "s", trust="signed", trusted_keys=[key.public])
    again = run(store, registry)
    assert again.ran() == []
    assert again.values["three"] == [1, 1, 2]


def test_an_unsigned_run_is_run_again_says_why_and_is_replaced(
    registry, key, tmp_path, monkeypatch
) -> None:
    assert len(run(tmp_path / "s", registry).ran()) == 3
    monkeypatch.setenv("INVARIANT_SIGNING_KEY", key.secret_text())
    store = open_store(tmp_path / "s", trust="signed")
    assert causes(store, registry)["one"] == "untrusted: it is not signed"
    result = run(store, registry)
    assert result.ran() == ["one", "two", "three"]
    node = next(n for n in result.plan.nodes() if n.node == "two")
    assert node.causes[0] == "untrusted: it is not signed"
    assert store.stats.untrusted > 0
    monkeypatch.delenv("INVARIANT_SIGNING_KEY")
    reader = open_store(tmp_path / "s", trust=[key.public])
    assert run(reader, registry).ran() == []


def test_a_forged_result_is_made_again_and_never_seen(registry, key, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("INVARIANT_SIGNING_KEY", key.secret_text())
    compiled = compile(graph(), store=tmp_path / "s", registry=registry)
    compiled.compute(scheduler="sync")
    attacker = DiskStore(tmp_path / "s")
    planned = {name: bytes.fromhex(digest) for name, digest in compiled.digests.items()}
    evil = attacker.lookup([planned["two"]])[planned["two"]].record
    three = planned["three"]
    entry = parse_entry(three, attacker._read_entries([three])[three])
    pointed = entry._replace(resolved=evil.resolved, hash=evil.hash).to_bytes()
    attacker._write_entries([EntryRow(planned["three"], pointed, "here:more", 0, evil.resolved)])
    assert compile(graph(), store=attacker, registry=registry).compute(scheduler="sync") == [1, 1]
    store = open_store(tmp_path / "s", trust="signed")
    assert causes(store, registry) == {}, "its record is found by what it is made from"
    assert compile(graph(), store=store, registry=registry).compute(scheduler="sync") == [1, 1, 2]
    assert open_store(tmp_path / "s", trust="signed").lookup([three]), "claimed anew"


def test_a_run_without_a_key_uses_what_it_made_itself(registry, key, tmp_path) -> None:
    store = open_store(tmp_path / "s", trust=[key.public])
    assert len(run(store, registry).ran()) == 3
    assert run(store, registry).ran() == []
    other = open_store(f"disk:{tmp_path / 's'}", trust=[key.public], trusted_keys=())
    assert other is store
    assert len(run(DiskStore(tmp_path / "s", terms=store.terms), registry).ran()) == 3


def test_who_signs_does_not_sign_what_was_made_from_unsigned_results(
    registry, key, tmp_path, monkeypatch, caplog
) -> None:
    g = Graph()
    g.add("one", "here:one", n=1)
    compile(g, store=tmp_path / "s", registry=registry).compute(scheduler="sync")
    monkeypatch.setenv("INVARIANT_SIGNING_KEY", key.secret_text())
    result = run(DiskStore(tmp_path / "s"), registry)
    assert result.ran() == ["two", "three"]
    assert signatures(tmp_path / "s") == {"record": {b""}, "claim": {b""}}
    assert caplog.text.count("published without a signature") == 1
    # Under a policy the same process makes all of it, and signs it.
    assert len(run(open_store(tmp_path / "s", trust="signed"), registry).ran()) == 3
    signed = {key.public.raw}
    assert signatures(tmp_path / "s") == {"record": signed, "claim": signed}


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_local_workers_sign_too(scheduler, registry, key, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("INVARIANT_SIGNING_KEY", key.secret_text())
    run(DiskStore(tmp_path / "s"), registry, scheduler=scheduler)
    assert signatures(tmp_path / "s")["record"] == {key.public.raw}


def test_damage_is_the_reason_of_a_rerun(registry, tmp_path) -> None:
    store = DiskStore(tmp_path / "s")
    compiled = compile(graph(), store=store, registry=registry)
    compiled.compute(scheduler="sync")
    three = bytes.fromhex(compiled.digests["three"])
    record = store.lookup([three])[three].record
    damage_entry(store, record.resolved)
    assert causes(store, registry) == {"three": "damaged: its checksum does not hold"}


def test_a_damaged_blob_found_in_a_run_is_the_reason_of_its_rerun(tmp_path) -> None:
    registry = OpRegistry()
    registry.register("here:big", lambda n: b"x" * n, version="1")
    g = Graph()
    g.add("big", "here:big", n=40_000)
    store = DiskStore(tmp_path / "s")
    compiled = compile(g, store=store, registry=registry)
    compiled.compute(scheduler="sync")
    digest = bytes.fromhex(compiled.digests["big"])
    damage_blob(store, *store.lookup([digest])[digest].record.parts[0])
    result = compiled.run(scheduler="sync")
    assert result.values["big"] == b"x" * 40_000
    (node,) = result.plans[-1].nodes()
    assert node.causes[0].startswith("damaged: blob ")


# --- clusters ---


def cluster_env(key: SigningKey | None) -> dict[str, str]:
    return {} if key is None else {"INVARIANT_SIGNING_KEY": key.secret_text()}


@pytest.fixture
def signing_client(key, tmp_path):
    """A client of two worker processes that have a key in their environment; it has none."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0",
            local_directory=str(tmp_path / "workers"), env=cluster_env(key),
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        yield client


def test_workers_sign_with_the_key_of_their_environment(
    registry, key, tmp_path, signing_client, caplog
) -> None:
    caplog.set_level(logging.DEBUG)
    store = open_store(tmp_path / "s", trust="signed", trusted_keys=[key.public])
    assert len(run(store, registry, scheduler=signing_client).ran()) == 3
    assert "INVARIANT_SIGNING_KEY" not in os.environ
    signed = {key.public.raw}
    assert signatures(tmp_path / "s") == {"record": signed, "claim": signed}
    # Another client that trusts the key, without the cluster.
    reader = DiskStore(tmp_path / "s", terms=store.terms)
    assert run(reader, registry).ran() == []
    secret = key.secret_text().partition(":")[2][:20]
    logs = str(signing_client.get_worker_logs()) + str(signing_client.get_scheduler_logs())
    assert secret not in logs + caplog.text
    graph_bytes = pickle.dumps(compile(graph(), store=store, registry=registry).dask)
    assert key._key.private_bytes_raw() not in graph_bytes


def test_workers_do_not_sign_what_they_made_from_unsigned_results(
    registry, key, tmp_path, signing_client
) -> None:
    g = Graph()
    g.add("one", "here:one", n=1)
    compile(g, store=tmp_path / "s", registry=registry).compute(scheduler="sync")
    store = DiskStore(tmp_path / "s")
    assert run(store, registry, scheduler=signing_client).ran() == ["two", "three"]
    assert signatures(tmp_path / "s") == {"record": {b""}, "claim": {b""}}


def test_another_policy_on_a_cluster_shares_no_keys(registry, key, tmp_path, client) -> None:
    run(DiskStore(tmp_path / "s"), registry, scheduler=client)
    strict = open_store(tmp_path / "s", trust=[key.public])
    with pytest.warns(UserWarning, match=r"tasks get keys of their own.*"):
        result = run(strict, registry, scheduler=client)
    assert result.values["three"] == [1, 1, 2]
    assert len(result.ran()) == 3


def test_a_worker_whose_key_cannot_be_used_is_told_before_anything_runs(
    registry, tmp_path, client
) -> None:
    from invariant_dask.errors import StoreNotSharedError

    client.run(lambda: os.environ.update(INVARIANT_SIGNING_KEY="/no/such/key"))
    try:
        with pytest.raises(StoreNotSharedError, match="INVARIANT_SIGNING_KEY names no readable"):
            run(DiskStore(tmp_path / "s"), registry, scheduler=client)
    finally:
        client.run(lambda: os.environ.pop("INVARIANT_SIGNING_KEY"))


def warnings_of(caplog, store, registry, **options) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING, "invariant_dask.runtime"):
        run(store, registry, **options)
    return [r.getMessage() for r in caplog.records if r.name == "invariant_dask.runtime"]


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_a_run_whose_results_will_not_be_believed_says_so_once(
    registry, key, tmp_path, monkeypatch, caplog, scheduler
) -> None:
    trusting = open_store(tmp_path / "s", trust="signed", trusted_keys=[key.public])
    expected = (
        "3 results are not signed (INVARIANT_SIGNING_KEY is not set) and will not be believed "
        "under trust=signed; see invariant-dask keygen"
    )
    assert warnings_of(caplog, trusting, registry, scheduler=scheduler) == [expected]
    assert warnings_of(caplog, trusting, registry) == [], "what it made itself it takes"
    again = DiskStore(tmp_path / "s", terms=trusting.terms)
    assert warnings_of(caplog, again, registry) == [expected]
    monkeypatch.setenv("INVARIANT_SIGNING_KEY", key.secret_text())
    signing = DiskStore(tmp_path / "s", terms=trusting.terms)
    assert warnings_of(caplog, signing, registry) == []


def test_a_run_that_signs_with_a_key_that_is_not_taken_says_so(
    registry, key, tmp_path, monkeypatch, caplog
) -> None:
    other = SigningKey("other", os.urandom(32))
    monkeypatch.setenv("INVARIANT_SIGNING_KEY", other.secret_text())
    store = open_store(tmp_path / "s", trust=[key.public])
    (told,) = warnings_of(caplog, store, registry)
    assert told.startswith("3 results will not be believed: untrusted: it is signed by ")


def test_under_any_and_in_memory_nobody_is_warned(registry, key, tmp_path, caplog) -> None:
    assert warnings_of(caplog, tmp_path / "s", registry) == []
    store = open_store("memory:", trust="signed", trusted_keys=[key.public])
    assert warnings_of(caplog, store, registry) == []
