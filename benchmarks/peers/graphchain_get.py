"""graphchain, which needs an older Dask and so an interpreter of its own.

By default it stores nothing that takes less time to compute than it guesses for loading; that
guess is set to nothing, so that every node is stored. Timed is `graphchain.get`.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.peer import Clock, Measured, Peer
from benchmarks.peers.shapes import FUNCTIONS, Nodes


def run(nodes: Nodes, state: Path, every: bool) -> Measured:
    """Run under the synchronous scheduler."""
    import dask
    import graphchain

    clock = Clock()
    keys = [f"combine-{i}" for i in range(len(nodes))]
    graph = {
        key: (FUNCTIONS[len(inputs)], number, *[keys[i] for i in inputs])
        for key, (number, inputs) in zip(keys, nodes)  # noqa: B905  strict is new in 3.10
    }
    clock.lap("describe")
    with dask.config.set(cache_latency=0, cache_throughput=1e18):
        wanted = keys if every else keys[-1:]
        values = list(graphchain.get(graph, wanted, location=str(state / "graphchain")))
    clock.lap("run")
    return Measured(values, clock.parts, ("describe",))


PEERS = (
    Peer(
        "graphchain", run, "graphchain", "graphchain", outside=True,
        limits={"*": (10_000, "some milliseconds and five files a node")},
    ),
)  # fmt: skip
