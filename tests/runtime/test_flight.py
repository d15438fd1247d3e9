"""Of several who want the same result, one makes it; and nobody waits for a thread that is gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import sample_ops

# A child is forked while another thread of the parent is in the middle of everything.
FORK = """
import os, signal, sys, threading
import dask
import sample_ops
from invariant_dask import DiskStore, MemoryStore, Node, compile, op
from invariant_dask.runtime import code, sharing
from invariant_dask.store import disk

started, done = threading.Event(), threading.Event()
parent = os.getpid()

@op("t:wait", version="1")
def wait(value):
    if os.getpid() == parent:
        started.set()
        done.wait()
    return value

def busy():
    with code._lock, disk._opened_lock, sharing._lock:
        memory.compute(scheduler="sync")

memory = compile({"x": Node("t:wait", {"value": 1})}, store=MemoryStore())
ondisk = compile({"x": Node("t:double", {"value": 1})}, store=DiskStore(sys.argv[1]))
info = ondisk.info("")
thread = threading.Thread(target=busy)
thread.start()
started.wait()
child = os.fork()
if child == 0:
    signal.alarm(50)  # rather than outlive the test
    assert memory.compute(scheduler="sync") == 1
    assert info.store.open().lookup([b"x" * 32]) == {}
    assert dask.compute(ondisk, scheduler="sync") == (2,)
    with sharing._lock:
        os._exit(0)
done.set()
thread.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_forked_child_does_not_wait_for_threads_of_its_parent(tmp_path) -> None:
    environment = {"PYTHONPATH": str(Path(sample_ops.__file__).parent)}
    subprocess.run(
        [sys.executable, "-c", FORK, tmp_path / "s"], check=True, timeout=60, env=environment
    )
