"""Runs say what they rely on, so that nobody collects it, and keep to the store's budget."""

from __future__ import annotations

from pathlib import Path

import pytest
from store.places import put_forward

from invariant_dask import DiskStore, Graph, OpRegistry, compile, open_store, ref
from invariant_dask.store import upkeep
from invariant_dask.store.heartbeat import HEART
from invariant_dask.store.notes import read_roots

WEEK = 7 * 24 * 3600


def chain(last: str = "here:last") -> Graph:
    g = Graph()
    g.add("first", "here:first", n=1)
    g.add("last", last, value=ref("first"))
    return g


@pytest.fixture(params=["disk", "files"])
def store(request, tmp_path: Path):
    return (
        DiskStore(tmp_path / "s")
        if request.param == "disk"
        else open_store((tmp_path / "s").as_uri())
    )


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_what_a_run_reuses_is_not_collected_under_it(scheduler, store) -> None:
    calls = []
    live = []

    def last(value: bytes) -> int:
        # While this runs, somebody collects whatever is older than a moment.
        keeper = store.keeper()
        live.append(read_roots(keeper, keeper.now()).live)
        report = upkeep.collect(store, max_age=0, grace=0)
        live.append(report.kept)
        return len(value)

    registry = OpRegistry()

    def first(n: int) -> bytes:
        calls.append(n)
        return bytes(50_000)

    registry.register("here:first", first, version="1", on_drift="ignore")
    registry.register("here:last", last, version="1", on_drift="ignore")
    alone = compile(chain(), ["first"], store=store, registry=registry)
    alone.compute(scheduler=scheduler)
    (found,) = store.lookup([bytes.fromhex(alone.digests["first"])]).values()
    record = found.record
    both = compile(chain(), store=store, registry=registry)
    assert both.compute(scheduler=scheduler) == 50_000
    assert calls == [1]
    assert live == [{record.resolved}, {"in use by a run": 1}]
    assert store.exists(record.resolved)


def test_run_that_is_over_or_failed_holds_nothing(tmp_path: Path) -> None:
    def fail(value: int) -> int:
        raise ValueError(value)

    registry = OpRegistry()
    registry.register("here:first", lambda n: n, version="1")
    registry.register("here:last", fail, version="1")
    store = DiskStore(tmp_path / "s")
    compile(chain(), ["first"], store=store, registry=registry).compute(scheduler="sync")
    with pytest.raises(Exception, match="here:last"):
        compile(chain(), store=store, registry=registry).compute(scheduler="sync")
    assert not HEART._beats
    assert store.keeper().notes("roots") == []
    put_forward(store, WEEK)
    removed = upkeep.collect(store, max_age=0).removals
    assert [each.op for each in removed if each.op.startswith("here:")] == ["here:first"]


def test_run_that_reuses_or_makes_everything_writes_no_root(tmp_path: Path) -> None:
    registry = OpRegistry()
    registry.register("here:first", lambda n: n, version="1")
    registry.register("here:last", lambda value: value, version="1")
    store = DiskStore(tmp_path / "s")
    for _ in range(2):
        compile(chain(), store=store, registry=registry).compute(scheduler="sync")
    assert store.keeper().notes("roots") == []


def test_run_keeps_to_a_budget_that_was_set_after_its_store_was_opened(tmp_path: Path) -> None:
    registry = OpRegistry()
    registry.register("here:bytes", lambda n: bytes((n,)) * 50_000, version="1")
    store = DiskStore(tmp_path / "s")
    put_forward(store, WEEK)
    upkeep.write_budget(store.keeper(), upkeep.Budget.of("120kB"))
    for n in range(4):
        g = Graph()
        g.add("n", "here:bytes", n=n)
        compile(g, store=store, registry=registry).compute(scheduler="sync")
        assert store.keeper().size() <= 120_000


def test_budget_that_cannot_be_read_fails_no_run(tmp_path: Path, caplog) -> None:
    store = DiskStore(tmp_path / "s")
    store.keeper().write_note("", "config", b"rubbish")
    g = Graph()
    g.add("n", "stdlib:add", a=1, b=2)
    assert compile(g, store=store).compute(scheduler="sync") == 3
    assert "gc --set" in caplog.text
