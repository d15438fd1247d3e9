"""Bare Dask, which stores nothing: the same work in every mode.

Raw graphs are made of `Task` and `TaskRef`; what is timed is `get` on a graph that is there. Keys
begin with the name of the function, as those of `dask.delayed` do: distributed groups tasks by that
name, and by its groups decides which of them to hold back until a worker is free.
`dask.delayed` is timed with the making of the graph, because there each call does work.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers.cluster import cluster
from benchmarks.peers.peer import Clock, Measured, Peer
from benchmarks.peers.shapes import FUNCTIONS, Nodes


def raw_graph(nodes: Nodes) -> tuple[dict[str, Any], list[str]]:
    """Return a Dask graph and the key of each node."""
    from dask._task_spec import Task, TaskRef

    keys = [f"combine_{len(inputs)}-{i}" for i, (_, inputs) in enumerate(nodes)]
    graph = {
        key: Task(key, FUNCTIONS[len(inputs)], number, *[TaskRef(keys[i]) for i in inputs])
        for key, (number, inputs) in zip(keys, nodes)  # noqa: B905  strict is new in 3.10
    }
    return graph, keys


def _get(nodes: Nodes, every: bool, get: Callable[..., Any]) -> Measured:
    clock = Clock()
    graph, keys = raw_graph(nodes)
    clock.lap("describe")
    values = list(get(graph, keys if every else keys[-1:]))
    clock.lap("run")
    return Measured(values, clock.parts, ("describe",))


def run_sync(nodes: Nodes, _state: Path, every: bool) -> Measured:
    """Run under the synchronous scheduler."""
    import dask

    return _get(nodes, every, dask.get)


def run_threads(nodes: Nodes, _state: Path, every: bool) -> Measured:
    """Run under the threaded scheduler."""
    import dask.threaded

    return _get(nodes, every, dask.threaded.get)


def run_cluster(nodes: Nodes, state: Path, every: bool) -> Measured:
    """Run on a cluster."""
    from dask._expr import LLGExpr

    with cluster(state) as client:

        def get(graph: dict[str, Any], keys: list[str]) -> Any:
            # The token spares Dask from hashing every task.
            futures = client.get(LLGExpr(graph, _determ_token="bare"), keys, sync=False)
            return client.gather(futures)

        return _get(nodes, every, get)


def run_delayed(nodes: Nodes, _state: Path, every: bool) -> Measured:
    """Run what `dask.delayed` makes under the synchronous scheduler."""
    import dask
    import distributed  # Dask imports it when it chooses a scheduler
    from dask import delayed

    del distributed
    functions = [delayed(function, pure=False) for function in FUNCTIONS]
    clock = Clock()
    made: list[Any] = []
    for number, inputs in nodes:
        made.append(functions[len(inputs)](number, *[made[i] for i in inputs]))
    clock.lap("build")
    values = list(dask.compute(*(made if every else made[-1:]), scheduler="sync"))
    clock.lap("run")
    return Measured(values, clock.parts)


_DEEP = (2_000, "every call merges all graphs behind it, so time is quadratic in depth")

PEERS = (
    Peer("dask.get", run_sync, "dask", "dask", keeps="nothing", huge=True),
    Peer("dask.threaded.get", run_threads, "dask", "dask", keeps="nothing", huge=True),
    Peer(
        "dask.delayed", run_delayed, "dask", "dask", keeps="nothing",
        limits={"chain": _DEEP, "diamond": (10_000, _DEEP[1]), "*": (10_000, "by choice")},
    ),
    Peer(
        "dask/cluster", run_cluster, "distributed", "distributed", keeps="nothing",
        limits={"*": (10_000, "one to two milliseconds a task")},
    ),
)  # fmt: skip
