"""Libraries that memoize a function: joblib and diskcache, each called in a plain Python loop.

They name a result by the values of the arguments, so that whoever asks for the last node asks for
all of them. Timed are opening the folder, decorating and the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.peers.peer import Clock, Measured, Peer
from benchmarks.peers.shapes import FUNCTIONS, Nodes


def _loop(functions: Sequence[Callable[..., int]], nodes: Nodes) -> list[int]:
    values: list[int] = []
    for number, inputs in nodes:
        values.append(functions[len(inputs)](number, *[values[i] for i in inputs]))
    return values


def run_joblib(nodes: Nodes, state: Path, every: bool) -> Measured:
    """Memoize with `joblib.Memory` as it is by default, but silent."""
    import joblib

    clock = Clock()
    memory = joblib.Memory(state / "joblib", verbose=0)
    values = _loop([memory.cache(function) for function in FUNCTIONS], nodes)
    clock.lap("run")
    return Measured(values if every else values[-1:], clock.parts)


def run_diskcache(nodes: Nodes, state: Path, every: bool) -> Measured:
    """Memoize with `diskcache.Cache.memoize` as it is by default."""
    import diskcache

    clock = Clock()
    cache = diskcache.Cache(state / "diskcache")
    values = _loop([cache.memoize()(function) for function in FUNCTIONS], nodes)
    clock.lap("run")
    cache.close()
    clock.lap("close")
    return Measured(values if every else values[-1:], clock.parts, ("close",))


PEERS = (
    Peer("diskcache.memoize", run_diskcache, "diskcache", "diskcache"),
    Peer("joblib.Memory", run_joblib, "joblib", "joblib"),
)
