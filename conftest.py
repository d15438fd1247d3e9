"""Fixtures shared by all tests: a log of op calls that works across processes, and clusters."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

LOG = "INVARIANT_TEST_LOG"

# Tests of the ledger say where it is; others leave nothing in the working folder.
os.environ["INVARIANT_LEDGER"] = "off"


class Calls:
    """Which ops were called, in this and all worker processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def clear(self) -> None:
        self.path.write_text("")

    @property
    def names(self) -> list[str]:
        return self.path.read_text().split()

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.names)

    def __len__(self) -> int:
        return len(self.names)


@pytest.fixture(scope="session")
def _call_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("calls") / "log"
    path.write_text("")
    os.environ[LOG] = str(path)
    yield path
    del os.environ[LOG]


@pytest.fixture
def calls(_call_log: Path) -> Calls:
    """A fresh log of op calls; sample ops write to it, in whatever process they run."""
    log = Calls(_call_log)
    log.clear()
    return log


@pytest.fixture(scope="session")
def cluster(_call_log: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Two worker processes whose folder is not the client's."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        local_directory=str(tmp_path_factory.mktemp("workers")),
    ) as running:
        yield running


@pytest.fixture
def client(cluster: object) -> Iterator[object]:
    """A client of the session's cluster; not Dask's default one."""
    from distributed import Client

    with Client(cluster, set_as_default=False) as connected:
        connected.run_on_scheduler(_forget_store)
        yield connected


def _forget_store(dask_scheduler: object) -> None:
    # Each test has a store of its own, and is a trust domain of its own.
    dask_scheduler.task_metadata.pop("invariant-dask", None)  # type: ignore[attr-defined]


@pytest.fixture
def local_client(_call_log: Path) -> Iterator[object]:
    """A client whose scheduler and worker are threads of this process."""
    from distributed import Client

    with Client(
        processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0",
        set_as_default=False,
    ) as connected:  # fmt: skip
        yield connected
