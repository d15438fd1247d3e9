"""How numpy, joblib and diskcache keep an array; none of them verifies what it loads."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np

from benchmarks.array_floors import Work

PEERS = ("joblib", "diskcache")


def absent() -> list[str]:
    """Return the peers that are not installed."""
    return [name for name in PEERS if find_spec(name) is None]


@contextmanager
def numpy_save(work: Work) -> Iterator[Callable[[], object]]:
    path = work.path(".npy")
    yield lambda: np.save(path, work.array)
    path.unlink()


@contextmanager
def numpy_load(work: Work) -> Iterator[Callable[[], object]]:
    path = work.path(".npy")
    np.save(path, work.array)
    yield lambda: np.load(path)
    path.unlink()


@contextmanager
def numpy_map(work: Work) -> Iterator[Callable[[], object]]:
    path = work.path(".npy")
    np.save(path, work.array)
    yield lambda: np.load(path, mmap_mode="r")
    path.unlink()


@contextmanager
def joblib_dump(work: Work) -> Iterator[Callable[[], object]]:
    import joblib

    path = work.path(".joblib")
    yield lambda: joblib.dump(work.array, path)
    path.unlink()


@contextmanager
def joblib_load(work: Work) -> Iterator[Callable[[], object]]:
    import joblib

    path = work.path(".joblib")
    joblib.dump(work.array, path)
    yield lambda: joblib.load(path)
    path.unlink()


@contextmanager
def joblib_memory_store(work: Work) -> Iterator[Callable[[], object]]:
    import joblib

    folder = work.path()
    keep = joblib.Memory(folder, verbose=0).cache(lambda number: work.array)  # noqa: ARG005
    yield lambda: keep(1)
    shutil.rmtree(folder)


@contextmanager
def joblib_memory_load(work: Work) -> Iterator[Callable[[], object]]:
    import joblib

    folder = work.path()
    keep = joblib.Memory(folder, verbose=0).cache(lambda number: work.array)  # noqa: ARG005
    keep(1)
    yield lambda: keep(1)
    shutil.rmtree(folder)


@contextmanager
def diskcache_set(work: Work) -> Iterator[Callable[[], object]]:
    import diskcache

    folder = work.path()
    with diskcache.Cache(folder, size_limit=1 << 40) as cache:
        yield lambda: cache.set("array", work.array)
    shutil.rmtree(folder)


@contextmanager
def diskcache_get(work: Work) -> Iterator[Callable[[], object]]:
    import diskcache

    folder = work.path()
    with diskcache.Cache(folder, size_limit=1 << 40) as cache:
        cache.set("array", work.array)
        yield lambda: cache.get("array")
    shutil.rmtree(folder)
