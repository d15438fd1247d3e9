"""invariant-core: its serial `Executor`, with its store on disk and the one in memory.

Timed are opening the store and `execute`; making the nodes is not. The store in memory keeps 1000
artifacts by default; here it keeps them all.
"""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Clock, Measured, Peer
from benchmarks.peers.shapes import FUNCTIONS, NAMES, Nodes


@cache
def _memory_store(_state: Path) -> Any:
    from invariant.store.memory import MemoryStore

    return MemoryStore(cache="unbounded")


def _disk_store(state: Path) -> Any:
    from invariant.store.disk import DiskStore

    return DiskStore(state / "invariant-core")


def run(nodes: Nodes, state: Path, every: bool, keeps: str) -> Measured:
    """Run with a store in memory or on disk."""
    from invariant import Executor, Node, OpRegistry, ref
    from invariant.store.disk import DiskStore
    from invariant.store.memory import MemoryStore

    del DiskStore, MemoryStore  # imported before the clock starts
    registry = OpRegistry()
    for arity, function in enumerate(FUNCTIONS):
        if not registry.has(f"combine_{arity}"):
            registry.register(f"combine_{arity}", function)
    clock = Clock()
    graph = {}
    for i, (number, inputs) in enumerate(nodes):
        params = {NAMES[slot]: ref(f"n{source}") for slot, source in enumerate(inputs)}
        graph[f"n{i}"] = Node(
            op_name=f"combine_{len(inputs)}",
            params={"number": number, **params},
            deps=[f"n{source}" for source in inputs],
        )
    clock.lap("describe")
    store = (_disk_store if keeps == "disk" else _memory_store)(state)
    wanted = list(graph) if every else [f"n{len(nodes) - 1}"]
    results = Executor(registry=registry, store=store).execute(graph, wanted)
    clock.lap("run")
    return Measured([results[name] for name in wanted], clock.parts, ("describe",))


PEERS = (
    Peer("invariant-core/disk", partial(run, keeps="disk"), "invariant-core", "invariant"),
    Peer(
        "invariant-core/memory", partial(run, keeps="memory"), "invariant-core", "invariant",
        keeps="memory",
    ),
)  # fmt: skip
