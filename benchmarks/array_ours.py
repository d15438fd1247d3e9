"""Keeping an array in a `DiskStore`: by put and get, and as the artifact of a node."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.array_floors import Cost, Work
from invariant_dask import DiskStore, Graph, compile, op
from invariant_dask.testing import sample_manifest

if TYPE_CHECKING:
    from invariant_dask import Compiled

ROOT = Path(__file__).parent.parent


@op("arrays:counted")
def counted(items):
    import numpy as np

    return np.arange(items, dtype="<f8")


def graph_of(items: int, store: DiskStore) -> Compiled:
    """Return a compiled graph of one node that makes an array of this many numbers."""
    graph = Graph("arrays")
    graph.add("array", counted, items=items)
    return compile(graph, store=store)


@contextmanager
def open_new(work: Work) -> Iterator[DiskStore]:
    """Yield a store in a folder of its own, with its tables made."""
    folder = work.path()
    store = DiskStore(folder)
    store.put(sample_manifest("arrays:first"), 0)
    yield store
    store.close()
    shutil.rmtree(folder)


@contextmanager
def put(work: Work) -> Iterator[Callable[[], object]]:
    with open_new(work) as store:
        yield lambda: store.put(sample_manifest("arrays:put"), work.array)


@contextmanager
def put_again(work: Work) -> Iterator[Callable[[], object]]:
    with open_new(work) as store:
        store.put(sample_manifest("arrays:put"), work.array)
        yield lambda: store.put(sample_manifest("arrays:put"), work.array)


@contextmanager
def get(work: Work) -> Iterator[Callable[[], object]]:
    with open_new(work) as store:
        record = store.put(sample_manifest("arrays:put"), work.array)
        yield lambda: store.get(record.resolved)


@contextmanager
def op_alone(work: Work) -> Iterator[Callable[[], object]]:
    import numpy as np

    yield lambda: np.arange(work.array.size, dtype="<f8")


@contextmanager
def compute(work: Work) -> Iterator[Callable[[], object]]:
    with open_new(work) as store:
        yield lambda: graph_of(work.array.size, store).compute()


@contextmanager
def compute_warm(work: Work) -> Iterator[Callable[[], object]]:
    with open_new(work) as store:
        graph_of(work.array.size, store).compute()
        yield lambda: graph_of(work.array.size, store).compute()


@contextmanager
def compute_fresh(work: Work) -> Iterator[Callable[[], object]]:
    with open_new(work) as store:
        graph_of(work.array.size, store).compute()
        yield lambda: Cost(**child("warm", store.url, work.array.size))


def child(what: str, folder: str | Path, items: int) -> dict[str, float]:
    """Do something in a fresh process, and return what it measured."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.array_child", what, str(folder), str(items)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{what}: {done.stderr}")
    return json.loads(done.stdout)
