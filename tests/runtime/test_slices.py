"""A step that runs before what follows it runs once, whatever the store does with its artifact."""

from __future__ import annotations

import dask.local
import pytest
import sample_ops

from invariant_dask import DiskStore, Graph, MemoryStore, OpRegistry, compile, ref
from invariant_dask.errors import StoreUnavailableError

FOLLOWERS = 80


class FullStore(DiskStore):
    """A store whose disk is full as soon as it is told so."""

    full = False

    def _write_entries(self, rows):
        if self.full:
            raise StoreUnavailableError("no space left")
        return super()._write_entries(rows)


def fan(n: int) -> Graph:
    g = Graph()
    g.add("before", "here:before")
    g.add("root", "here:root", x=ref("before"), n=n)
    for i in range(FOLLOWERS):
        g.add(f"d{i}", "here:part", x=ref("root"), i=i, deps=["root"])
    g.add("sum", "here:sum", xs=[ref(f"d{i}") for i in range(FOLLOWERS)])
    return g


@pytest.fixture
def runs() -> list[str]:
    return []


@pytest.fixture
def registry(runs) -> OpRegistry:
    registry = OpRegistry()

    def root(x, n):
        runs.append("root")
        return x * 200_000

    def part(x, i):
        runs.append("part")
        return len(x) + i

    registry.register("here:before", lambda: b"x", version="1")
    registry.register("here:root", root, version="1")
    registry.register("here:part", part, version="1")
    registry.register("here:sum", lambda xs: sum(xs), version="1")
    return registry


EXPECTED = FOLLOWERS * 200_000 + FOLLOWERS * (FOLLOWERS - 1) // 2


def by_dask(graph, keys):
    """A scheduler of the user's own, which is given a Dask graph."""
    return dask.local.get_sync(graph, keys)


@pytest.mark.parametrize("scheduler", ["sync", "threads", by_dask])
@pytest.mark.parametrize("outputs", [["sum"], ["root", "sum"]])
def test_step_whose_artifact_is_too_large_for_the_store_runs_once(
    scheduler, outputs, registry, runs
) -> None:
    store = MemoryStore(max_bytes=150_000)
    compile(fan(1), ["sum"], store=store, registry=registry).compute(scheduler="sync")
    runs.clear()
    compiled = compile(fan(2), outputs, store=store, registry=registry)
    run = compiled.run(scheduler=scheduler)
    assert run.values["sum"] == EXPECTED
    assert len(run.values) == len(outputs)
    assert runs == ["root"]
    assert run.ran() == ["root"]


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_step_runs_once_though_the_store_cannot_be_written(
    scheduler, registry, runs, tmp_path
) -> None:
    store = FullStore(tmp_path / "s")
    compile(fan(1), ["sum"], store=store, registry=registry).compute(scheduler=scheduler)
    runs.clear()
    store.full = True
    with pytest.warns(UserWarning, match="not all results are where they belong"):
        run = compile(fan(2), ["sum"], store=store, registry=registry).run(scheduler=scheduler)
    assert run.values["sum"] == EXPECTED
    assert runs.count("root") == 1
    assert "root" in run.ran()
    assert run.missed
    assert not run.state.nodes["root"].kept


@pytest.mark.parametrize("scheduler", ["sync", "processes", "cluster"])
def test_step_runs_once_though_its_artifact_has_to_make_room(
    scheduler, calls, tmp_path, request
) -> None:
    chosen = request.getfixturevalue("client") if scheduler == "cluster" else scheduler
    store = DiskStore(tmp_path / "s", size_limit=150_000)

    def chain(n: int) -> Graph:
        g = Graph()
        at = g.add("mean", sample_ops.mean, values=g.add("root", sample_ops.array, n=n))
        for i in range(FOLLOWERS):
            at = g.add(f"d{i}", sample_ops.double, value=at)
        return g

    for n in (30_000, 30_002):
        calls.clear()
        expected = (n // 2 - 1) * 2**FOLLOWERS
        assert compile(chain(n), store=store).compute(scheduler=chosen) == expected
        assert calls.counts == {"array": 1, "mean": 1, "double": FOLLOWERS}
