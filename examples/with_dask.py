"""A compiled graph is a Dask collection: mix it with `dask.delayed` and `dask.compute`.

    python examples/with_dask.py [STORE]

Dask runs what the store does not have; functions of your own that are not ops run every time.
"""

from __future__ import annotations

import sys

import dask
import numpy as np

from invariant_dask import DiskStore, Graph, compile, op


@op("terrain:heights")
def heights(size, seed):
    steps = np.random.default_rng(seed).integers(-1, 2, (size, size))
    return steps.cumsum(0).cumsum(1)


@op("terrain:water")
def water(land, level):
    return int((land < level).sum())


def graph(level):
    g = Graph("terrain")
    land = g.add("land", heights, size=300, seed=11)
    g.add("water", water, land=land, level=level)
    return g


@dask.delayed
def share(cells, total):
    return f"{100 * cells // total} % under water"


def main(store=".invariant"):
    opened = DiskStore(store)
    low, high = (compile(graph(level), store=opened) for level in (0, 40))
    print("to do:", low.plan().summary(), "and", high.plan().summary())
    # One graph for Dask: both compiled graphs share the task that makes the land.
    print(dask.compute(share(low, 90_000), share(high, 90_000), scheduler="threads"))
    print("now:", low.plan().summary(), "and", high.plan().summary())


if __name__ == "__main__":
    main(*sys.argv[1:])
