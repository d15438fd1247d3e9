"""Stored artifacts whose hashes hold and whose bytes are no value: made again, not believed."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing.pool import ThreadPool

import dask
import pytest

from invariant_dask import (
    ChainStore,
    DiskStore,
    Graph,
    OpRegistry,
    ReadOnly,
    cel,
    compile,
    open_store,
    ref,
)
from invariant_dask.core.encode import Encoded
from invariant_dask.errors import ArtifactLostError, ArtifactNotFoundError
from invariant_dask.store.about import About
from invariant_dask.testing import damage_blob

NO_VALUE = b"\x18\x05"  # five, in more bytes than it takes


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def registry(calls) -> OpRegistry:
    registry = OpRegistry()

    def one(n: int) -> int:
        calls.append("one")
        return n

    def more(a: int) -> int:
        calls.append("more")
        return a + 1

    registry.register("here:one", one, version="1")
    registry.register("here:more", more, version="1")
    return registry


@pytest.fixture
def pool() -> Iterator[ThreadPool]:
    with ThreadPool(2) as made:
        yield made


def compiled(store, registry, output="two"):
    g = Graph()
    g.add("one", "here:one", n=4)
    g.add("two", "here:more", a=ref("one"))
    return compile(g, [output], store=store, registry=registry)


def spoil(store, graph, node: str) -> None:
    """Store bytes that are no value as what an op returned, with all hashes as they should be."""
    planned = bytes.fromhex(graph.digests[node])
    record, entry, *_ = store.lookup([planned])[planned]
    store.publish(
        Encoded(NO_VALUE, NO_VALUE, {}), record.manifest, kind="int", about=About(record.about.op),
        planned=planned, inputs=entry.inputs if entry else (),
    )  # fmt: skip
    assert store.exists(planned)


@pytest.fixture(params=["disk", "files", "chain"])
def store(request, tmp_path):
    places = {
        "disk": tmp_path / "s",
        "files": (tmp_path / "s").as_uri(),
        "chain": [tmp_path / "near", (tmp_path / "far").as_uri()],
    }
    return open_store(places[request.param])


@pytest.mark.parametrize("scheduler", ["sync", "threads", "dask", "client"])
def test_an_input_that_is_no_value_is_made_again(
    scheduler, store, registry, calls, request
) -> None:
    graph = compiled(store, registry)
    graph.run(scheduler="sync")
    spoil(store, graph, "one")
    store.invalidate("here:more")
    calls.clear()
    options = {"scheduler": scheduler}
    if scheduler == "dask":
        options = {"scheduler": "threads", "pool": request.getfixturevalue("pool")}
    elif scheduler == "client":
        options = {"scheduler": request.getfixturevalue("client")}
    run = compiled(store, registry).run(**options)
    assert run.values == {"two": 5}
    assert store.get(graph.digests["one"]) == 4
    if scheduler != "client":
        assert calls == ["one", "more"]


def test_an_output_that_is_no_value_is_made_again(store, registry, calls) -> None:
    graph = compiled(store, registry, "one")
    graph.run(scheduler="sync")
    spoil(store, graph, "one")
    calls.clear()
    assert compiled(store, registry, "one").compute(scheduler="sync") == 4
    assert calls == ["one"]
    assert store.get(graph.digests["one"]) == 4


def test_under_plain_dask_it_is_told_once_and_then_made_again(store, registry, calls) -> None:
    graph = compiled(store, registry, "one")
    graph.run(scheduler="sync")
    spoil(store, graph, "one")
    calls.clear()
    with pytest.raises(ArtifactLostError, match="no value"):
        dask.compute(graph, scheduler="sync")
    assert dask.compute(graph, scheduler="sync") == (4,)
    assert calls == ["one"]


def test_what_an_expression_reads_of_it_is_made_again(store, registry, calls) -> None:
    def graph(text: str):
        g = Graph()
        g.add("one", "here:one", n=4)
        g.add("two", "here:more", a=cel(text))
        return compile(g, ["two"], store=store, registry=registry)

    first = graph("one + 1")
    first.run(scheduler="sync")
    spoil(store, first, "one")
    calls.clear()
    assert graph("one + 2").compute(scheduler="sync") == 7
    assert calls == ["one", "more"]


@pytest.mark.parametrize("place", ["alone", "behind another"])
@pytest.mark.parametrize("output", ["one", "two"])
def test_damage_in_a_store_that_cannot_be_written_ends_no_run(place, output, tmp_path) -> None:
    registry = OpRegistry()
    registry.register("here:one", lambda n: bytes([n]) * 100_000, version="1")
    registry.register("here:more", lambda a: len(a), version="1")
    inner = DiskStore(tmp_path / "s")
    graph = compiled(inner, registry, output)
    expected = graph.compute(scheduler="sync")
    one = bytes.fromhex(graph.digests["one"])
    damage_blob(inner, *inner.lookup([one])[one].record.parts[0])
    inner.invalidate("here:more")
    store = ReadOnly(inner)
    if place == "behind another":
        store = ChainStore(DiskStore(tmp_path / "near"), store)
    assert compiled(store, registry, output).compute(scheduler="sync") == expected
    if place == "behind another":
        run = compiled(store, registry, output).run(scheduler="sync")
        assert (run.values[output], run.ran()) == (expected, [])


def test_where_it_cannot_be_set_aside_it_is_made_again_too(tmp_path, registry, calls) -> None:
    inner = DiskStore(tmp_path / "s")
    graph = compiled(inner, registry, "one")
    graph.run(scheduler="sync")
    spoil(inner, graph, "one")
    calls.clear()
    assert compiled(ReadOnly(inner), registry, "one").compute(scheduler="sync") == 4
    assert calls == ["one"]


def test_it_is_set_aside_also_when_asked_for_by_planned_digest(store, registry) -> None:
    graph = compiled(store, registry)
    graph.run(scheduler="sync")
    spoil(store, graph, "two")
    planned = bytes.fromhex(graph.digests["two"])
    record, entry, *_ = store.lookup([planned])[planned]
    assert entry is not None
    with pytest.raises(ArtifactNotFoundError, match="no value"):
        store.get(planned)
    assert not store.exists(record.resolved)
    assert not store.exists(planned)
