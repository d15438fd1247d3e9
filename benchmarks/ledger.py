"""Measure what it costs to tell of a run: events, journal, history, and the dashboard's page.

    python -m benchmarks.ledger [--nodes N] [--repeat R] [--on cluster,threads]
        [--what cold,changed] [--op-ms MS]

Each round runs a graph of N nodes twice on an empty store, once with everything on (`run`: events
from workers, an observer, journal and history, the page of the scheduler) and once with the ledger
off (`compute(ledger=False)`), in turns that begin with the one or the other. `changed` runs it once
more with one number changed, after the same graph has run, so that every node is explained. The
figure is the median of the ratios of R rounds; a first round is not counted.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from invariant_dask import Compiled, Graph, OpRegistry, compile

WIDTH = 100
"""How many chains the nodes are in."""


def step(value: int, ms: int) -> int:
    """Add one, after so many milliseconds."""
    if ms:
        time.sleep(ms / 1000)
    return value + 1


def graph(nodes: int, seed: int, ms: int) -> Graph:
    """Return chains of equal length, and a node that takes their ends."""
    made = Graph("ledger")
    ends = []
    for chain in range(WIDTH):
        value: Any = seed * 1_000_000 + chain
        for at in range(nodes // WIDTH):
            value = made.add(f"c{chain}-{at}", "bench:step", value=value, ms=ms)
        ends.append(value)
    made.add("all", "bench:all", values=ends)
    return made


def registry() -> OpRegistry:
    """Return the ops."""
    ops = OpRegistry()
    ops.register("bench:step", step, version="1")
    ops.register("bench:all", total, version="1")
    return ops


def total(values: list[int]) -> int:
    """Return the sum."""
    return sum(values)


@contextmanager
def scheduler(name: str) -> Iterator[Any]:
    """Yield what `scheduler=` takes."""
    if name != "cluster":
        yield name
        return
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def timed(compiled: Compiled, chosen: Any, folder: Path, *, on: bool) -> float:
    """Return the seconds that a run takes."""
    heard: list[object] = []
    gc.collect()
    start = time.perf_counter()
    if on:
        compiled.run(scheduler=chosen, ledger=folder / "ledger", observe=heard.append)
    else:
        compiled.compute(scheduler=chosen, ledger=False)
    return time.perf_counter() - start


def one_round(
    options: argparse.Namespace, chosen: Any, number: int, what: str
) -> tuple[float, float]:
    """Return the seconds with everything on, and with the ledger off."""
    seconds = {}
    turns = (True, False) if number % 2 else (False, True)
    for turn, on in enumerate(turns):
        # Other numbers each time: a scheduler remembers what it was asked for.
        seed = 4 * number + 2 * turn
        with tempfile.TemporaryDirectory() as folder:
            path, ops = Path(folder), registry()
            if what == "changed":
                before = compile(graph(options.nodes, seed, 0), store=path / "s", registry=ops)
                before.compute(scheduler="sync")
            after = graph(options.nodes, seed + (what == "changed"), options.op_ms)
            compiled = compile(after, store=path / "s", registry=ops)
            seconds[on] = timed(compiled, chosen, path, on=on)
    return seconds[True], seconds[False]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--on", default="cluster,threads")
    parser.add_argument("--what", default="cold,changed")
    parser.add_argument("--op-ms", type=int, default=0)
    options = parser.parse_args(arguments)
    # Each run has a store of its own, so none shares keys with an earlier one.
    warnings.filterwarnings("ignore", message="this scheduler works with the store")
    print(f"{'on':8} {'what':8} {'everything':>11} {'off':>8} {'ratio':>6}  {'us/node':>8}")
    for name in options.on.split(","):
        for what in options.what.split(","):
            with scheduler(name) if name == "cluster" else nullcontext(name) as chosen:
                rounds = [
                    one_round(options, chosen, number, what) for number in range(options.repeat + 1)
                ][1:]
            ratio = statistics.median(on / off for on, off in rounds)
            on, off = (statistics.median(each) for each in zip(*rounds, strict=True))
            more = (on - off) / options.nodes * 1e6
            print(f"{name:8} {what:8} {on:10.2f}s {off:7.2f}s {ratio:6.2f}  {more:8.1f}")


if __name__ == "__main__":
    main()
