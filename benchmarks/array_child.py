"""What has to be measured in a process of its own: warm loads and peak memory.

    python -m benchmarks.array_child WHAT FOLDER ITEMS

prints JSON. Memory is in bytes above what the process had when the array was made (`put`)
or before there was any (`compute`, `load`).
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.array_ours import graph_of
from invariant_dask import DiskStore
from invariant_dask.core import manifest as manifests
from invariant_dask.testing import sample_manifest

STATUS = Path("/proc/self/status")
KIB = 1024


def memory() -> dict[str, int]:
    """Return resident memory: all of it, its peak, and its anonymous part where that is told."""
    if not STATUS.exists():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak *= 1 if sys.platform == "darwin" else KIB
        return {"VmRSS": peak, "VmHWM": peak, "RssAnon": peak}
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return {name: int(lines[name].split()[0]) * KIB for name in ("VmRSS", "VmHWM", "RssAnon")}


def forget_peak() -> None:
    """Let the kernel count the peak from now on, where it can."""
    if STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")


@contextmanager
def watched(result: dict[str, float]) -> Iterator[None]:
    """Measure the memory of a block, above what there was."""
    peak = [0]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.0005):
            peak[0] = max(peak[0], memory()["RssAnon"])

    forget_peak()
    before = memory()
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        after = memory()
        result["peak"] = after["VmHWM"] - before["VmRSS"]
        result["peak_anonymous"] = max(peak[0], after["RssAnon"]) - before["RssAnon"]
        result["held_anonymous"] = after["RssAnon"] - before["RssAnon"]


def numbers(items: int) -> np.ndarray:
    """Return the array that `put` stores."""
    return np.random.default_rng(1).random(items)


def put(store: DiskStore, items: int, result: dict[str, float]) -> None:
    array = numbers(items)
    with watched(result):
        store.put(sample_manifest("arrays:child"), array)


def load(store: DiskStore, items: int, result: dict[str, float]) -> None:
    digest = manifests.digest(sample_manifest("arrays:child"))
    with watched(result):
        value = store.get(digest)
    check(value, numbers(items))


def compute(store: DiskStore, items: int, result: dict[str, float]) -> None:
    with watched(result):
        value = graph_of(items, store).compute()
    check(value, np.arange(items))


def warm(store: DiskStore, items: int, result: dict[str, float]) -> None:
    start, cpu = time.perf_counter(), time.process_time()
    value = graph_of(items, store).compute()
    result["wall"] = time.perf_counter() - start
    result["cpu"] = time.process_time() - cpu
    check(value, np.arange(items))


def check(value: object, expected: np.ndarray) -> None:
    """Make sure that an artifact is right."""
    if not np.array_equal(value, expected):
        raise SystemExit("wrong artifact")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.array_child")
    parser.add_argument("what", choices=["put", "compute", "load", "warm"])
    parser.add_argument("folder")
    parser.add_argument("items", type=int)
    options = parser.parse_args(arguments)
    result: dict[str, float] = {}
    store = DiskStore(options.folder)
    graph_of(1, store).compute()  # what is imported and opened on first use
    do = {"put": put, "load": load, "compute": compute, "warm": warm}[options.what]
    do(store, options.items, result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
