"""Stores to look after, and a clock of theirs that tests can put forward."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path

from invariant_dask import DiskStore, open_store
from invariant_dask.core.digest import PlannedDigest
from invariant_dask.core.encode import encode
from invariant_dask.store import Store
from invariant_dask.store.record import About, Record
from invariant_dask.store.sizes import SECOND
from invariant_dask.testing import sample_manifest, sample_planned

PLACES: dict[str, Callable[[Path], Store]] = {
    "disk": lambda root: DiskStore(root / "store"),
    "memory": lambda root: open_store(f"memory://{uuid.uuid4().hex}"),
    "files": lambda root: open_store((root / "store").as_uri()),
}


def put_forward(store: Store, seconds: float) -> None:
    """Let the clock of a store's keeper go ahead of what wrote its contents."""
    keeper = store.keeper()
    keeper.clock = lambda: time.time_ns() + int(seconds * SECOND)


def large(n: int, size: int = 40_000) -> bytes:
    """Return bytes that are kept as a blob."""
    return n.to_bytes(4, "big") * (size // 4)


def put(
    store: Store, n: int, value: object = None, op: str = "sample:op", claim: str = ""
) -> Record:
    """Publish an artifact, under a planned digest too if it has a name."""
    encoded = store.encode(large(n) if value is None else value)
    planned: PlannedDigest | None = sample_planned(claim) if claim else None
    manifest = sample_manifest(op, n=n)
    return store.publish(encoded, manifest, kind="bytes", about=About(op), planned=planned)


def same(value: object) -> int:
    """Return how many bytes the blobs of a value have."""
    return sum(len(memoryview(blob)) for blob in (encode(value).blobs or {}).values())
