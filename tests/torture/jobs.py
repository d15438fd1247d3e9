"""What the processes do that are killed in the middle of it; see `torture.nursery`."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from invariant_dask import Graph, compile, op, ref
from invariant_dask.store import About, Store, objects_loop, open_store
from invariant_dask.testing import sample_manifest, sample_planned

NODES = 1000
CHAIN = 20
OP = "torture:make"


def is_large(n: int) -> bool:
    """Whether an artifact is so large that no store lets it wait for others."""
    return n % 100 == 50


def value_of(n: int) -> Any:
    """Small ones, some with a blob, a few with a large one."""
    if is_large(n):
        return [n, np.full(150_000, n)]
    return [n, np.full(6_000, n)] if n % 25 == 0 else n


@op(OP)
def make(n, after, log):
    with Path(log).open("a") as file:
        file.write(f"{n}\n")
    beats = os.environ.get("TORTURE_BEATS")
    if beats is not None:
        os.write(int(beats), b".")
    return value_of(n)


def graph(log: str) -> tuple[Graph, list[str]]:
    """Return a graph of chains, and their ends."""
    made = Graph()
    for n in range(NODES):
        after = ref(f"n{n - 1}") if n % CHAIN else None
        made.add(f"n{n}", make, n=n, after=after, log=log)
    return made, [f"n{n}" for n in range(CHAIN - 1, NODES, CHAIN)]


def run(store: Store, log: str) -> dict[str, Any]:
    """Make what is not there yet, one after the other."""
    whole, ends = graph(log)
    return dict(compile(whole, outputs=ends, store=store).compute(scheduler="sync"))


def write_run(url: str, options: dict[str, Any], log: str) -> None:
    run(open_store(url, **options), log)


def put_one(url: str, value: str) -> None:
    """Make a store and put one artifact, with a claim."""
    if url.startswith("file:"):
        # In one thread, so that its calls can be counted.
        loop = objects_loop._the_loop()
        loop.call_soon_threadsafe(loop.set_default_executor, ThreadPoolExecutor(1))
    put(open_store(url), value)


PUTS: dict[str, Any] = {
    "inline": [1, "two"],
    "blobs": [np.arange(6_000), b"x" * 40_000],
    "large": np.arange(400_000),
}


def put(store: Store, value: str) -> bytes:
    """Put one of `PUTS` with its claim and return the planned digest."""
    planned = sample_planned(value)
    store.publish(
        store.encode(PUTS[value]), sample_manifest(value=value), kind="any",
        about=About("sample:op"), planned=planned,
    )  # fmt: skip
    return planned
