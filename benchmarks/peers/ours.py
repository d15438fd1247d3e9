"""invariant-dask: the schedulers with a `DiskStore`, and a `MemoryStore`.

Timed are opening the store, `compile` and `.compute()`; writing the graph down with `Graph.add`
and closing the store are not. Every node is persisted.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any

from benchmarks.peers.cluster import cluster
from benchmarks.peers.peer import Clock, Measured, Peer
from benchmarks.peers.shapes import FUNCTIONS, NAMES, Nodes


@cache
def ops() -> list[str]:
    """Register the functions, and return the names of their ops by number of inputs."""
    from invariant_dask import op

    names = [f"benchmark:combine_{arity}" for arity in range(len(FUNCTIONS))]
    for name, function in zip(names, FUNCTIONS, strict=True):
        op(name)(function)
    return names


def graph_of(nodes: Nodes) -> Any:
    """Return a graph whose nodes are `n0`, `n1`, ..."""
    from invariant_dask import Graph

    names = ops()
    graph = Graph("benchmark")
    refs: list[Any] = []
    for i, (number, inputs) in enumerate(nodes):
        params = {NAMES[slot]: refs[source] for slot, source in enumerate(inputs)}
        refs.append(graph.add(f"n{i}", names[len(inputs)], number=number, **params))
    return graph


@cache
def memory_store(_state: Path) -> Any:
    """Return the store of this process that goes with a folder."""
    from invariant_dask import MemoryStore

    return MemoryStore(max_size=10**7)


def disk_store(state: Path) -> Any:
    """Return the store in a folder."""
    from invariant_dask import DiskStore

    return DiskStore(state / "store")


def run(nodes: Nodes, state: Path, every: bool, scheduler: str, keeps: str) -> Measured:
    """Run under a scheduler, with a store in memory or on disk."""
    import distributed  # Dask imports it when it chooses a scheduler

    from benchmarks.peers import internals
    from invariant_dask import compile

    del distributed
    ops()
    with cluster(state) if scheduler == "cluster" else nullcontext(scheduler) as chosen:
        clock = Clock()
        graph = graph_of(nodes)
        clock.lap("describe")
        store = (disk_store if keeps == "disk" else memory_store)(state)
        store.reset_stats()
        with internals.measured(store) as inside:
            clock.lap("open")
            compiled = compile(graph, list(graph) if every else [f"n{len(nodes) - 1}"], store=store)
            clock.lap("compile")
            result = compiled.compute(scheduler=chosen)
            clock.lap("compute")
        values = [result[name] for name in graph] if every and len(nodes) > 1 else [result]
        stats = store.stats
        clock.lap("-")
        store.close()
        clock.lap("close")
    counts = {"digests asked": stats.hits + stats.misses, "artifacts put": stats.puts}
    return Measured(values, clock.parts, ("describe", "-", "close"), dict(inside), counts)


def _peer(name: str, scheduler: str, keeps: str = "disk", **more: Any) -> Peer:
    runner = partial(run, scheduler=scheduler, keeps=keeps)
    return Peer(name, runner, "invariant-dask", "invariant_dask", keeps, **more)


PEERS = (
    _peer("ours/disk", "sync", huge=True),
    _peer("ours/memory", "sync", "memory", huge=True),
    _peer("ours/threads", "threads", huge=True),
    _peer(
        "ours/cluster", "cluster",
        limits={"*": (10_000, "one to two milliseconds a task")},
    ),
)  # fmt: skip
