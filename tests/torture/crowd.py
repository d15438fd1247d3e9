"""One of several processes that write the same and different things at once.

    python -m torture.crowd URL OPTIONS NUMBER SECONDS

Says `ready` and begins at the next line of its input. Prints how many things of its own it wrote,
and what its store warned of.
"""

from __future__ import annotations

import json
import logging
import random
import sys
import time

import numpy as np

from invariant_dask.core.encode import encode
from invariant_dask.store import About, Store, open_store
from invariant_dask.testing import sample_manifest, sample_planned

SHARED = 40


def shared_value(n: int) -> object:
    """What all write, in different order: small ones, blobs, and equal blobs of several."""
    return [n, np.full(6_000 + n % 3, n % 3)] if n % 2 else n


def own_value(number: int, n: int) -> object:
    return [number, n, np.full(6_000, n)] if n % 10 == 0 else [number, n]


def publish(store: Store, name: str, value: object) -> bytes:
    planned = sample_planned(name)
    store.publish(
        encode(value), sample_manifest(name=name), kind="any", about=About("sample:op"),
        planned=planned,
    )  # fmt: skip
    return planned


class Notes(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def main() -> None:
    url, options, number, seconds = sys.argv[1:]
    notes = Notes()
    logging.getLogger("invariant_dask").addHandler(notes)
    rng = random.Random(number)
    print("ready", flush=True)
    sys.stdin.readline()
    store = open_store(url, **json.loads(options))
    until = time.monotonic() + float(seconds)
    own = 0
    while time.monotonic() < until:
        n = rng.randrange(SHARED)
        planned = publish(store, f"shared {n}", shared_value(n))
        assert encode(store.get(planned)) == encode(shared_value(n))
        with store.grouping():
            for _ in range(rng.randrange(5)):
                publish(store, f"own {number} {own}", own_value(int(number), own))
                own += 1
        store.lookup([sample_planned(f"shared {n}") for n in range(SHARED)])
    store.close()
    print(json.dumps({"own": own, "warned": notes.texts, "quarantined": store.stats.quarantined}))


if __name__ == "__main__":
    main()
