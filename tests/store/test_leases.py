"""Two clusters with one store take turns, and never wait for the dead."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

import pytest
from store.places import PLACES, put, put_forward

from invariant_dask import DiskStore, Graph, MemoryStore, OpRegistry, compile
from invariant_dask.core import manifest as manifests
from invariant_dask.runtime import produce
from invariant_dask.store import Store
from invariant_dask.store.heartbeat import Heart
from invariant_dask.store.leases import EXPIRES, PATIENCE, Lease
from invariant_dask.store.sizes import SECOND
from invariant_dask.testing import sample_manifest

DIGEST = manifests.digest(sample_manifest(n=1))


@pytest.fixture(params=PLACES)
def store(request, tmp_path: Path) -> Store:
    return PLACES[request.param](tmp_path)


class Time:
    """Goes by only when somebody sleeps, for the store as well."""

    def __init__(self, store: Store) -> None:
        self.start = store.keeper().now()
        self.seconds = 0.0
        self.slept = 0
        store.keeper().clock = lambda: self.start + int(self.seconds * SECOND)

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.slept += 1
        self.seconds += seconds


def lease(store: Store, owner: str, time: Time | None = None, heart: Heart | None = None) -> Lease:
    heart = heart or Heart(every=3600)
    if time is None:
        return Lease(store, DIGEST, owner, heart=heart, sleep=_must_not)
    return Lease(store, DIGEST, owner, heart=heart, sleep=time.sleep, elapsed=time)


def _must_not(_seconds: float) -> None:
    raise AssertionError("there is nothing to wait for")


def test_first_one_gets_the_lease_and_gives_it_back(store: Store) -> None:
    for owner in ("one", "two"):
        with lease(store, owner) as held:
            assert held.wait() is False
            assert held.is_held
            (note,) = store.keeper().notes("leases")
            assert note.name == DIGEST.hex()
            assert note.data.startswith(owner.encode())
        assert not held.is_held
        assert store.keeper().notes("leases") == []


def test_who_waits_finds_what_the_holder_made(store: Store) -> None:
    time = Time(store)
    with lease(store, "one") as holder:
        assert not holder.wait()
        waiter = lease(store, "two", time)

        def sleep(seconds: float) -> None:
            time.sleep(seconds)
            if time.slept == 3:
                put(store, 1, "made")

        waiter._sleep = sleep
        assert waiter.wait() is True
        assert not waiter.is_held
        assert time.slept == 3


def test_what_was_made_before_the_lease_came_is_found(store: Store) -> None:
    put(store, 1, "made")
    with lease(store, "one") as held:
        assert held.wait() is True


def test_lease_of_a_killed_holder_only_delays(store: Store) -> None:
    killed = lease(store, "killed")
    assert not killed.wait()
    time = Time(store)
    with lease(store, "next", time) as held:
        assert held.wait() is False
        assert held.is_held
    assert EXPIRES / SECOND <= time.seconds < EXPIRES / SECOND + 10
    killed.give_back()  # it was not killed after all, and takes nobody's lease away
    with lease(store, "other") as held:
        assert not held.wait()
        killed.give_back()
        assert len(store.keeper().notes("leases")) == 1


def test_lease_that_is_renewed_does_not_expire_and_patience_ends(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    time, heart = Time(store), Heart(every=3600)
    with lease(store, "busy", heart=heart) as busy:
        assert not busy.wait()
        waiter = lease(store, "two", time)

        def sleep(seconds: float) -> None:
            time.sleep(seconds)
            heart.beat()

        waiter._sleep = sleep
        assert waiter.wait() is False
        assert not waiter.is_held
        assert PATIENCE - 10 < time.seconds <= PATIENCE
        waiter.give_back()
        assert len(store.keeper().notes("leases")) == 1


def test_lease_that_is_neither_there_nor_to_be_had_is_not_asked_for_for_ever(
    tmp_path: Path,
) -> None:
    store = DiskStore(tmp_path / "s")
    (tmp_path / "s" / "leases").mkdir()
    (tmp_path / "s" / "leases" / DIGEST.hex()).symlink_to(tmp_path / "nowhere")
    time = Time(store)
    assert lease(store, "one", time).wait() is False
    assert PATIENCE - 10 < time.seconds <= PATIENCE


def test_expired_lease_that_cannot_be_removed_is_not_asked_for_for_ever(
    store: Store, monkeypatch
) -> None:
    with lease(store, "dead") as dead:
        assert not dead.wait()
        time = Time(store)
        time.seconds = 2 * EXPIRES / SECOND
        monkeypatch.setattr(store.keeper(), "remove_note", lambda *_: False)
        started = time.seconds
        assert lease(store, "one", time).wait() is False
        assert time.seconds - started <= PATIENCE


def test_lease_that_another_took_is_not_renewed(store: Store) -> None:
    heart = Heart(every=3600)
    with lease(store, "slow", heart=heart) as slow:
        assert not slow.wait()
        put_forward(store, EXPIRES / SECOND + 1)
        with lease(store, "next") as taken:
            assert not taken.wait()
            assert taken.is_held
            heart.beat()
            assert not slow.is_held
            (note,) = store.keeper().notes("leases")
            assert note.data.startswith(b"next")


def test_store_without_a_keeper_lets_everybody_make_everything() -> None:
    with lease(MemoryStore(), "one") as one, lease(MemoryStore(), "two") as two:
        assert not one.wait()
        assert not two.wait()


def test_two_clusters_with_leases_call_an_op_once(tmp_path: Path, monkeypatch) -> None:
    waits = threading.Event()
    calls: list[int] = []

    def slow(n: int) -> int:
        calls.append(n)
        assert waits.wait(60)
        return n + 1

    def sleep(_seconds: float) -> None:
        waits.set()
        done.wait(0.01)  # what is really waited for is the other thread

    done = threading.Event()
    monkeypatch.setattr(produce, "Lease", partial(Lease, sleep=sleep))
    registry = OpRegistry()
    registry.register("here:slow", slow, version="1")
    graph = Graph()
    graph.add("n", "here:slow", n=1)
    results: list[int] = []

    def cluster() -> None:
        store = DiskStore(tmp_path / "s", leases=True)
        results.append(compile(graph, store=store, registry=registry).compute(scheduler="sync"))

    threads = [threading.Thread(target=cluster) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [2, 2]
    assert calls == [1]
    assert DiskStore(tmp_path / "s").keeper().notes("leases") == []


def test_without_the_option_nobody_asks_for_a_lease(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(produce, "Lease", _must_not)
    graph = Graph()
    graph.add("n", "stdlib:add", a=1, b=2)
    assert compile(graph, store=DiskStore(tmp_path / "s")).compute(scheduler="sync") == 3
