"""Both kinds of entry keep their promises, on every scheduler: planned, and plain Dask."""

from __future__ import annotations

import gc
import re

import dask
import pytest
import sample_ops
from dask.base import collections_to_expr
from dask.delayed import Delayed
from distributed import Client

from invariant_dask import Graph, MemoryStore, Node, compile
from invariant_dask.core.digest import parse_hex
from invariant_dask.ops.registry import OpRegistry
from invariant_dask.store.disk import DiskStore

KEY = re.compile(r"([A-Za-z][A-Za-z0-9_:.]*)-([0-9a-f]{64})")


def arithmetic(seed: int = 4) -> Graph:
    g = Graph("arithmetic")
    src = g.add("src", sample_ops.source, seed=seed)
    a = g.add("a", sample_ops.total, values=src)
    b = g.add("b", sample_ops.total, values=src, plus=1)
    again = g.add("again", sample_ops.total, values=src)  # the same work as a
    g.add("all", sample_ops.pack, a=a, b=b, again=[again, (b,)])
    return g


EXPECTED = {"a": 6, "b": 7, "again": [6, (7,)]}
OPS = ["pack", "source", "total", "total"]


def identity(value):
    return value


ENTRIES = {
    "compute": lambda c, kw: c.compute(**kw),
    "run": lambda c, kw: c.run(**kw).values["all"],
    "dask.compute": lambda c, kw: dask.compute(c, **kw)[0],
    "dask.compute of several": lambda c, kw: dask.compute(c, [c], **kw)[1][0],
    "persist": lambda c, kw: dask.persist(c, **kw)[0].compute(**kw),
    "delayed": lambda c, kw: dask.delayed(identity)(c).compute(**kw),
    "frozen": lambda c, kw: c.frozen().compute(**kw),
    "visualized first": lambda c, kw: (c.visualize(None), c.compute(**kw))[1],
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("scheduler", ["sync", "threads", "cluster"])
def test_entry_gives_the_right_value_and_runs_each_op_once(
    entry, scheduler, tmp_path, calls, request
) -> None:
    chosen = request.getfixturevalue("client") if scheduler == "cluster" else scheduler
    options = {"scheduler": chosen}
    store = DiskStore(tmp_path / "store")

    assert ENTRIES[entry](compile(arithmetic(), store=store), options) == EXPECTED
    assert sorted(calls.names) == OPS

    calls.clear()
    again = compile(arithmetic(), store=DiskStore(tmp_path / "store"))
    assert ENTRIES[entry](again, options) == EXPECTED
    assert calls.names == []


def test_entry_under_the_processes_scheduler(tmp_path, calls) -> None:
    store = DiskStore(tmp_path / "store")
    options = {"scheduler": "processes", "num_workers": 2}
    assert compile(arithmetic(), store=store).compute(**options) == EXPECTED
    assert sorted(calls.names) == OPS
    run = compile(arithmetic(5), store=store).run(**options)
    assert run.counts() == {"ran": 4, "shared": 1, "reused": 0, "pruned": 0}


def test_client_compute_and_persist_keep_our_keys(client, tmp_path, calls) -> None:
    compiled = compile(arithmetic(), store=DiskStore(tmp_path / "store"))
    future = client.compute(compiled)
    assert future.result() == EXPECTED
    assert future.key == f"value-{compiled.digests['all']}"
    persisted = client.persist(compiled)
    assert persisted.compute(scheduler=client) == EXPECTED
    assert sorted(calls.names) == OPS


def test_every_key_is_op_and_digest(tmp_path) -> None:
    for outputs in (["all"], ["all", "b"]):
        compiled = compile(arithmetic(), outputs, store=DiskStore(tmp_path / "store"))
        digests = set(compiled.digests.values())
        keys = set(compiled.__dask_graph__())
        assert len(keys) == 5  # a and again are one task
        for key in keys:
            matched = KEY.fullmatch(key)
            assert matched, key
            assert matched[2] in digests
            assert matched[1] in {"value", "t:source", "t:total", "t:pack"}


def test_keys_survive_what_dask_does_to_a_graph_on_the_way(tmp_path) -> None:
    compiled = compile(arithmetic(), ["all", "b"], store=DiskStore(tmp_path / "store"))
    digests = set(compiled.digests.values())
    expr = collections_to_expr([compiled]).optimize()
    assert {key.rpartition("-")[2] for key in expr.__dask_graph__()} <= digests


def test_several_outputs_come_as_a_dict(client, tmp_path, calls) -> None:
    store = DiskStore(tmp_path / "store")
    compiled = compile(arithmetic(), ["b", "a"], store=store)
    for result in (
        compiled.compute(scheduler="sync"),
        dask.compute(compiled, scheduler="threads")[0],
        client.compute(compiled).result(),
        dask.delayed(identity)(compiled).compute(scheduler=client),
    ):
        assert result == {"b": 7, "a": 6}
        assert list(result) == ["b", "a"]
    assert sorted(calls.names) == ["source", "total", "total"]


def test_stored_outputs_submit_nothing(client, tmp_path) -> None:
    store = DiskStore(tmp_path / "store")
    compile(arithmetic(), store=store).compute(scheduler="sync")
    before = len(client.get_events("all")) if client.get_events("all") else 0

    def no_scheduler(*_args, **_kwargs):
        raise AssertionError("something was submitted")

    assert compile(arithmetic(), store=store).compute(scheduler=no_scheduler) == EXPECTED
    assert compile(arithmetic(), store=store).compute(scheduler=client) == EXPECTED
    assert client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) == 0
    assert (len(client.get_events("all")) if client.get_events("all") else 0) >= before


async def _asynchronous(address: str, path) -> list[object]:
    async with Client(address, asynchronous=True) as client:
        compiled = compile(arithmetic(), store=DiskStore(path))
        computed = await client.compute(compiled)
        persisted = await client.persist(compiled)
        return [computed, await client.compute(persisted)]


def test_asynchronous_client_awaits_a_compiled_graph(cluster, tmp_path, calls) -> None:
    import asyncio

    results = asyncio.run(_asynchronous(cluster.scheduler_address, tmp_path / "store"))
    assert results == [EXPECTED, EXPECTED]
    assert sorted(calls.names) == OPS


def test_compiled_can_be_pickled_as_a_plain_dask_object(tmp_path) -> None:
    import pickle

    compiled = compile(arithmetic(), store=DiskStore(tmp_path / "store"))
    assert pickle.loads(pickle.dumps(compiled)).compute(scheduler="sync") == EXPECTED


def test_second_store_on_a_cluster_gets_what_was_computed_for_it(local_client, calls) -> None:
    first, second = MemoryStore(), MemoryStore()
    digest = parse_hex(compile(arithmetic(), store=first).digests["all"])
    compile(arithmetic(), store=first).compute(scheduler=local_client)
    held = local_client.persist(compile(arithmetic(), store=first))
    with pytest.warns(UserWarning, match="this scheduler works with the store"):
        compile(arithmetic(), store=second).compute(scheduler=local_client)
    assert first.exists(digest)
    assert second.exists(digest)
    assert sorted(calls.names) == sorted(OPS * 2)
    del held


@pytest.mark.timeout(60)
@pytest.mark.parametrize("entry", ["compute", "run", "twice"])
def test_op_that_computes_a_graph_of_its_own_leaves_its_thread_to_it(entry, tmp_path) -> None:
    ops = OpRegistry()

    @ops.op("t:nested", version="1")
    def nested(value):
        inner = Graph()
        src = inner.add("src", sample_ops.source, seed=value)
        inner.add("total", sample_ops.total, values=src)
        compiled = compile(inner, store=DiskStore(tmp_path / "store"))
        if entry == "run":
            return compiled.run(progress=lambda *_: None).values["total"]
        if entry == "twice":
            compile({"x": Node("t:double", {"value": 4})}, store=compiled.store).compute()
        return compiled.compute()

    g = Graph()
    g.add("out", "t:nested", value=4)
    compiled = compile(g, store=DiskStore(tmp_path / "store"), registry=ops)
    with Client(
        processes=False, n_workers=1, threads_per_worker=1, dashboard_address=":0",
        set_as_default=False,
    ) as client:  # fmt: skip
        assert compiled.compute(scheduler=client) == 6


@pytest.mark.parametrize("make", ["frozen", "delayed", "graph"])
def test_what_is_left_of_a_compiled_graph_keeps_a_store_in_memory(make) -> None:
    compiled = compile(arithmetic(), store=MemoryStore())
    if make == "frozen":
        left = compiled.frozen()
    elif make == "delayed":
        left = dask.delayed(identity)(compiled)
    else:
        left = Delayed(compiled.key, dict(compiled.dask))
    del compiled
    gc.collect()
    assert left.compute(scheduler="sync") == EXPECTED


def test_compiled_has_no_attributes_by_magic(tmp_path) -> None:
    compiled = compile(arithmetic(), store=DiskStore(tmp_path / "store"))
    with pytest.raises(AttributeError, match="colour"):
        _ = compiled.colour


def test_outputs_may_be_the_markers_that_add_returned() -> None:
    g = Graph()
    three = g.add("three", "stdlib:add", a=1, b=2)
    g.add("four", "stdlib:add", a=three, b=1)
    assert compile(g, [three], store=MemoryStore()).compute(scheduler="sync") == 3


def test_kinds_of_entry_can_be_mixed_without_confusing_the_scheduler(
    client, tmp_path, caplog
) -> None:
    """What a held result keeps known is used as it is, not redefined."""
    store = DiskStore(tmp_path / "s")
    g = Graph()
    src = g.add("src", sample_ops.source, seed=4)
    total = g.add("total", sample_ops.total, values=src)
    compile(g, store=store).compute(scheduler=client)
    held = client.compute(compile(g, store=store))
    assert held.result() == 6
    g.add("double", sample_ops.double, value=total)
    assert compile(g, store=store).compute(scheduler=client) == 12
    assert "different `run_spec`" not in caplog.text
