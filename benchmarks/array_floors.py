"""What the machine allows: hashing, writing and mapping an array, without any store."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np

LEAF = 1 << 20
DOMAIN = b"invariant-dask/v1/blob\0"

Case = Callable[["Work"], AbstractContextManager[Callable[[], object]]]
"""Prepares a measurement, yields what is measured, and cleans up."""


class Cost(NamedTuple):
    """What a case took."""

    wall: float
    """Seconds that went by."""
    cpu: float
    """Seconds of processor time, of all threads."""


@dataclass
class Work:
    """One array and a folder to work in."""

    array: np.ndarray
    folder: Path
    names: Iterator[int] = field(default_factory=count)

    @property
    def view(self) -> memoryview:
        """The bytes of the array."""
        return memoryview(self.array).cast("B")

    @property
    def stored(self) -> Path:
        """A file that holds the array, for loading."""
        return self.folder / "array.raw"

    def path(self, suffix: str = "") -> Path:
        """Return a path that was never used."""
        return self.folder / f"{next(self.names)}{suffix}"


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def plain_write(path: Path, view: memoryview) -> None:
    """Write a new file in pieces of a leaf, without fsync; space is reserved, which is faster."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, len(view))
        for at in range(0, len(view), LEAF):
            os.write(fd, view[at : at + LEAF])
    finally:
        os.close(fd)


def tree(view: memoryview, threads: int) -> bytes:
    """Return the tree hash of FORMAT.md, with this many threads that share the leaves."""
    leaves = [b""] * -(-len(view) // LEAF)
    todo = deque(range(len(leaves)))

    def work() -> None:
        with suppress(IndexError):
            while True:
                leaf = todo.popleft()
                data = view[leaf * LEAF : (leaf + 1) * LEAF]
                leaves[leaf] = hashlib.sha256(data).digest()

    with ThreadPoolExecutor(threads) as pool:
        others = [pool.submit(work) for _ in range(threads - 1)]
        work()
        for other in others:
            other.result()
    return hashlib.sha256(DOMAIN + len(view).to_bytes(8, "big") + b"".join(leaves)).digest()


def mapped(path: Path) -> memoryview:
    """Return a read-only map of a file."""
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


# --- the cases ------------------------------------------------------------------------------------


@contextmanager
def copy(work: Work) -> Iterator[Callable[[], object]]:
    target = np.empty_like(work.array)
    yield lambda: np.copyto(target, work.array)


@contextmanager
def write(work: Work) -> Iterator[Callable[[], object]]:
    path = work.path()
    yield lambda: plain_write(path, work.view)
    path.unlink()


@contextmanager
def sha_one(work: Work) -> Iterator[Callable[[], object]]:
    def run() -> None:
        hashlib.sha256(work.view)

    yield run


@contextmanager
def sha_tree(work: Work) -> Iterator[Callable[[], object]]:
    yield lambda: tree(work.view, cores())


@contextmanager
def store_one(work: Work) -> Iterator[Callable[[], object]]:
    with _overlapped(work, 1) as run:
        yield run


@contextmanager
def store_tree(work: Work) -> Iterator[Callable[[], object]]:
    with _overlapped(work, cores()) as run:
        yield run


@contextmanager
def _overlapped(work: Work, threads: int) -> Iterator[Callable[[], object]]:
    path = work.path()

    def run() -> bytes:
        with ThreadPoolExecutor(1) as pool:
            written = pool.submit(plain_write, path, work.view)
            digest = tree(work.view, threads)
            written.result()
        return digest

    yield run
    path.unlink()


@contextmanager
def load_one(work: Work) -> Iterator[Callable[[], object]]:
    yield lambda: tree(mapped(work.stored), 1)


@contextmanager
def load_tree(work: Work) -> Iterator[Callable[[], object]]:
    yield lambda: tree(mapped(work.stored), cores())
