"""What the processes of `test_upkeep_races` do; each is started by its name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from store.places import large, put

from invariant_dask import open_store
from invariant_dask.store import Store, upkeep

VALUES = 12
SIZE = 1_200_000  # in a bucket, what is smaller is always sent again


def write(store: Store, number: int, rounds: int) -> None:
    """Write records that share blobs, replace them, and read back what was just written."""
    for n in range(rounds):
        value = large((number + n) % VALUES, SIZE)
        record = put(store, 1000 * number + n % 5, value)
        if store.get(record.resolved) != value:
            raise AssertionError("another value came back")
        if n % 7 == 3:
            store.invalidate(record.resolved)


def collect(store: Store, until: Path) -> None:
    """Collect without any grace, until a file is there."""
    removed = 0
    while not until.exists():
        removed += upkeep.collect(store, grace=0).count("blob")
    sys.stdout.write(f"{removed}\n")


def fill_and_collect(store: Store, rounds: int) -> None:
    """Write, forget and collect; somebody kills this process."""
    for n in range(rounds):
        put(store, n, large(n), claim=f"claim {n}")
        put(store, n, large(n + 1))
        upkeep.collect(store, max_size=200_000, grace=0)
        sys.stdout.write(f"{n}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _, what, url, *given = sys.argv
    opened = open_store(url)
    if what == "write":
        write(opened, int(given[0]), int(given[1]))
    elif what == "collect":
        collect(opened, Path(given[0]))
    else:
        fill_and_collect(opened, int(given[0]))
    opened.close()
    sys.stdout.flush()
    os._exit(0)
