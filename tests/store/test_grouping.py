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
from invariant_dask.store import DiskStore, connections, grouping, index
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
    tmp_path, monkeypatch
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
    with pytest.warns(UserWarning, match="3 artifacts are not in"):
        assert compiled.compute(scheduler="sync") == {"sum": 3, "product": 35}
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


def test_what_is_published_while_the_last_group_closes_is_committed(tmp_path, monkeypatch) -> None:
    store, other = DiskStore(tmp_path / "s"), DiskStore(tmp_path / "s")
    asked, go = threading.Event(), threading.Event()
    add = grouping.GroupCommit.add

    def late(self, rows):
        asked.set()
        assert go.wait(10)
        return add(self, rows)

    monkeypatch.setattr(grouping.GroupCommit, "add", late)
    published = []
    writer = threading.Thread(
        target=lambda: published.append(store.put(sample_manifest(), 1).resolved)
    )
    with store.grouping():
        writer.start()
        assert asked.wait(10)
    go.set()
    writer.join()
    assert other.exists(published[0])


def test_group_ends_though_another_thread_commits_all_the_time(tmp_path) -> None:
    store = DiskStore(tmp_path / "s")
    ended = threading.Event()

    def write() -> None:
        for n in range(10**6):
            store.put(sample_manifest(n=n), n)
            if ended.is_set():
                return

    def open_and_close() -> None:
        for _ in range(200):
            with store.grouping():
                pass

    threads = [threading.Thread(target=each, daemon=True) for each in (write, open_and_close)]
    for thread in threads:
        thread.start()
    threads[1].join(30)
    ended.set()
    assert not threads[1].is_alive()
    threads[0].join()


def test_first_entry_after_a_pause_is_committed_at_once(tmp_path, monkeypatch) -> None:
    """What took long must not be lost with what comes next; the thread that watches is held up."""
    monkeypatch.setattr(grouping._Watcher, "run", lambda _self: None)
    store, other = DiskStore(tmp_path / "s"), DiskStore(tmp_path / "s")
    with store.grouping():
        for n in range(3):
            digest = store.put(sample_manifest(n=n), n).resolved
            assert other.exists(digest)
            paused = time.monotonic() + grouping.WINDOW
            assert until(lambda paused=paused: time.monotonic() > paused)


def test_group_that_was_interrupted_is_committed_by_whoever_comes_next(
    tmp_path, monkeypatch
) -> None:
    write, interrupts = index.Index.write, [KeyboardInterrupt]

    def interrupted(self, rows, **how):
        if interrupts:
            raise interrupts.pop()
        return write(self, rows, **how)

    store, other = DiskStore(tmp_path / "s"), DiskStore(tmp_path / "s")
    monkeypatch.setattr(index.Index, "write", interrupted)
    with pytest.raises(KeyboardInterrupt), store.grouping():
        store.put(sample_manifest(n=1), 1)
    digest = other.put(sample_manifest(n=1), 1).resolved
    assert store.exists(digest)
    store.put(sample_manifest(n=2), 2)
    assert other.exists(store.put(sample_manifest(n=1), 1).resolved)


def test_group_goes_on_after_an_error_that_nobody_foresaw(tmp_path, monkeypatch, caplog) -> None:
    write, errors = index.Index.write, []

    def fails(self, rows, **how):
        if how.get("beside_others") and not errors:
            errors.append(1)
            raise MemoryError
        return write(self, rows, **how)

    monkeypatch.setattr(index.Index, "write", fails)
    monkeypatch.setattr(grouping, "_RETRY", 0.001)
    store, other = DiskStore(tmp_path / "s"), DiskStore(tmp_path / "s")
    with store.grouping():
        digests = [store.put(sample_manifest(n=n), n).resolved for n in range(2)]
        assert until(lambda: other.lookup(digests).keys() == set(digests))
    assert errors
    assert "trying again" in caplog.text


def test_without_another_thread_everything_is_committed_at_once(tmp_path, monkeypatch) -> None:
    def refuse(self):
        msg = "can't start new thread"
        raise RuntimeError(msg)

    store, other = DiskStore(tmp_path / "s"), DiskStore(tmp_path / "s")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with store.grouping():
            for n in range(3):
                assert other.exists(store.put(sample_manifest(n=n), n).resolved)
    with store.grouping():
        digest = store.put(sample_manifest(n=9), 9).resolved
        assert until(lambda: other.exists(digest))


CRASHES = """
import os, signal, sys, time
from invariant_dask import Graph, OpRegistry, compile, ref
registry = OpRegistry()
def costly(n):
    print("costly", flush=True)
    end = time.monotonic() + 0.05
    while time.monotonic() < end:
        pass
    return n
registry.register("x:costly", costly, version="1")
registry.register("x:crash", lambda x: os.kill(os.getpid(), signal.SIGKILL), version="1")
g = Graph()
g.add("a", "x:costly", n=1)
g.add("b", "x:crash", x=ref("a"))
compile(g, store=sys.argv[1], registry=registry).compute(scheduler=sys.argv[2])
"""


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_what_took_long_is_not_lost_to_a_crash_right_after_it(tmp_path, scheduler) -> None:
    command = [sys.executable, "-c", CRASHES, str(tmp_path / "s"), scheduler]
    runs = [subprocess.run(command, capture_output=True, text=True, check=False) for _ in range(2)]
    assert [(run.returncode, run.stdout) for run in runs] == [(-9, "costly\n"), (-9, "")]
