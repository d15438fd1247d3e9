"""Measure what no peer has, in a process of its own: `python -m benchmarks.peers.probe JOB`.

`submit` times compiling and making the Dask graph, and stops before anything runs. `memory` is
what compiling takes beyond the user's graph. `cutoff` runs a chain whose first node has a label
that does not change its artifact.
"""

from __future__ import annotations

import gc
import json
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from benchmarks.peers import internals, ours
from benchmarks.peers.cluster import cluster
from benchmarks.peers.peer import Clock
from benchmarks.peers.shapes import evaluate, shape_of
from invariant_dask import DiskStore, Graph, MemoryStore, NullStore, compile, op


class EnoughError(Exception):
    """The graph has come as far as it should."""


def submit(job: dict[str, Any]) -> dict[str, Any]:
    """Return seconds of each stretch until a scheduler gets a graph, and how large that is."""
    import distributed  # Dask imports it when it chooses a scheduler

    del distributed
    got: list[int] = []

    def get(graph: Any, _keys: Any, **_options: Any) -> Any:
        got.append(len(graph))
        clock.lap("submit")
        raise EnoughError

    ours.ops()
    nodes = shape_of(job["shape"], job["nodes"])
    store = NullStore()
    output = [f"n{len(nodes) - 1}"]
    clock = Clock()
    graph = ours.graph_of(nodes)
    clock.lap("describe")
    compiled = compile(graph, output, store=store)
    clock.lap("compile")
    with internals.measured(store) as inside, suppress(EnoughError):
        compiled.compute(scheduler=get)
    clock.lap("-")
    complete = len(compiled.dask)
    clock.lap("complete")
    return {**clock.parts, **inside, "size": got[0], "complete size": complete}


def memory(job: dict[str, Any]) -> dict[str, Any]:
    """Return bytes of the user's graph, of compiling it, and at the peak beyond the graph."""
    nodes = shape_of(job["shape"], job["nodes"])
    output = [f"n{len(nodes) - 1}"]
    before = _resident()
    graph = ours.graph_of(nodes)
    gc.collect()
    described = _resident()
    clock = Clock()
    compiled = compile(graph, output, store=MemoryStore())
    clock.lap("compile")
    peak = _resident("VmHWM")
    gc.collect()
    kept = _resident()
    assert len(compiled.program.steps) == len(nodes)
    return {
        "graph": described - before, "kept": kept - described, "peak": peak - described,
        "compile": clock.parts["compile"], "size": len(nodes),
    }  # fmt: skip


def _resident(which: str = "VmRSS") -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(which + ":"):
            return int(line.split()[1]) * 1024
    raise OSError("this needs Linux")


@op("benchmark:source")
def source(number, label):
    del label
    return number * 1_000_003 + 1


def cutoff(job: dict[str, Any]) -> dict[str, Any]:
    """Return seconds of compiling and running, and how many artifacts were put here."""
    import distributed

    del distributed
    nodes = shape_of("chain", job["nodes"])
    chain = ours.graph_of(nodes)
    graph = Graph("cutoff")
    graph.add("n0", source, number=nodes[0][0], label=job["label"])
    for name in list(chain)[1:]:
        graph[name] = chain[name]
    state = Path(job["state"])
    store = DiskStore(state / "store")
    chosen = cluster(state) if job["scheduler"] == "cluster" else nullcontext(job["scheduler"])
    with chosen as scheduler:
        clock = Clock()
        run = compile(graph, [f"n{len(nodes) - 1}"], store=store)
        clock.lap("compile")
        result = run.compute(scheduler=scheduler)
        clock.lap("compute")
    if result != evaluate(nodes)[-1]:
        return {"problem": "WRONG"}
    return {**clock.parts, "puts": store.stats.puts, "size": len(nodes)}


PROBES = {"submit": submit, "memory": memory, "cutoff": cutoff}

if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    print(json.dumps(PROBES[asked["probe"]](asked)))
