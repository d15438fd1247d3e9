"""The cluster that all who use one are measured on: two processes of one thread each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def cluster(state: Path) -> Iterator[Any]:
    """Yield a client; starting and stopping the cluster is for the caller not to time."""
    from distributed import Client, LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0",
        local_directory=str(state / "workers"), silence_logs=40,
    ) as running, Client(running) as client:  # fmt: skip
        client.wait_for_workers(2)
        yield client
