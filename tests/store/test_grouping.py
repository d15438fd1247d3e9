"""Group commit: what is published together is seen at once here, and soon by everybody."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from invariant_dask import Graph, compile
from invariant_dask.store import DiskStore, connections, index
from invariant_dask.testing import sample_manifest


def until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.001)
    return True


def test_entries_are_seen_here_at_once_and_by_others_at_the_end_of_the_block(tmp_path) -> None:
    store, other = DiskStore(tmp_path / "s"), DiskStore(tmp_path / "s")
    with store.grouping():
        digests = [store.put(sample_manifest(n=n), n).resolved for n in range(20)]
        assert store.lookup(digests).keys() == set(digests)
        assert store.get(digests[3]) == 3
    assert other.lookup(digests).keys() == set(digests)


def test_entries_are_committed_while_nobody_adds_any(tmp_path) -> None:
    store, other = DiskStore(tmp_path / "s"), DiskStore(tmp_path / "s")
    with store.grouping():
        digest = store.put(sample_manifest(), 1).resolved
        assert until(lambda: other.exists(digest))


def test_many_entries_share_transactions(tmp_path, monkeypatch) -> None:
    store = DiskStore(tmp_path / "s")
    commits = []
    write = index.Index.write
    monkeypatch.setattr(
        index.Index, "write", lambda *args, **how: commits.append(1) or write(*args, **how)
    )
    with store.grouping():
        digests = [store.put(sample_manifest(n=n), n).resolved for n in range(500)]
    assert len(store.lookup(digests)) == 500
    assert len(commits) < 250


def test_what_is_deleted_or_listed_counts_what_waits(tmp_path) -> None:
    store = DiskStore(tmp_path / "s")
    with store.grouping():
        first = store.put(sample_manifest(n=1), 1).resolved
        store.put(sample_manifest(n=2), 2)
        assert len(store.recent("sample:op")) == 2
        third = store.put(sample_manifest(n=3), 3).resolved
        assert store.invalidate(first) == 1
        assert not store.exists(first)
        assert store.invalidate("sample:op") == 2
        assert not store.exists(third)


def test_artifacts_with_blobs_keep_the_order(tmp_path) -> None:
    store, other = DiskStore(tmp_path / "s"), DiskStore(tmp_path / "s")
    with store.grouping():
        small = store.put(sample_manifest(n=1), 1).resolved
        large = store.put(sample_manifest(n=2), b"x" * 100_000).resolved
        assert other.lookup([small, large]).keys() == {small, large}


KILLED = """
import sys, time
from invariant_dask.store import DiskStore
from invariant_dask.testing import sample_manifest
store = DiskStore(sys.argv[1])
with store.grouping():
    for n in range(10**6):
        digest = store.put(sample_manifest(n=n), n).resolved
        print(digest.hex(), time.time(), flush=True)
"""


def test_a_killed_process_loses_nothing_that_had_its_time(tmp_path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "s")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(2000)]
        killed = time.time()
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.read().splitlines()
    published = [line.split() for line in lines if len(line.split()) == 2]
    store = DiskStore(tmp_path / "s")
    # The promise is 10 ms; a busy machine may leave a thread waiting for longer than that.
    due = [bytes.fromhex(hexed) for hexed, at in published if float(at) < killed - 0.5]
    found = store.lookup(bytes.fromhex(hexed) for hexed, _ in published)
    assert set(due) <= found.keys()
    assert [store.get(digest) for digest in list(found)[:50]]


def test_a_store_that_cannot_be_written_costs_the_entries_and_not_the_run(
    tmp_path, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(connections, "_BUSY_SECONDS", 0.05)
    store = DiskStore(tmp_path / "s")
    g = Graph()
    g.add("sum", "stdlib:add", a=1, b=2)
    g.add("product", "stdlib:multiply", a=g.add("inner", "stdlib:add", a=3, b=4), b=5)
    blocker = sqlite3.connect(Path(store.url, "index.sqlite"), isolation_level=None)
    compiled = compile(g, store=store)
    store.ref()
    blocker.execute("BEGIN IMMEDIATE")
    assert compiled.compute(scheduler="sync") == {"sum": 3, "product": 35}
    assert "not persisted" in caplog.text
    blocker.execute("ROLLBACK")
    blocker.close()
    assert compiled.run(scheduler="sync").counts()["ran"] > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_commits_for_itself(tmp_path) -> None:
    store, other = DiskStore(tmp_path / "s"), DiskStore(tmp_path / "s")
    manifest = sample_manifest(child=1)
    with store.grouping():
        mine = store.put(sample_manifest(child=0), 0).resolved
        child = os.fork()
        if child == 0:
            store.put(manifest, 1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    assert other.exists(mine)
    assert other.get(store.put(manifest, 1).resolved) == 1
    assert len(other.recent("sample:op")) == 2
