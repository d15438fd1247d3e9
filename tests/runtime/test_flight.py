"""Of several who want the same result, one makes it; and nobody waits for a thread that is gone."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import sample_ops

from invariant_dask import Graph, MemoryStore, OpRegistry, compile
from invariant_dask.runtime import flight
from invariant_dask.runtime.produce import produce

# A child is forked while another thread of the parent is in the middle of everything.
FORK = """
import os, signal, sys, threading
import dask
import sample_ops
from invariant_dask import DiskStore, MemoryStore, Node, compile, op
from invariant_dask.runtime import code, sharing
from invariant_dask.store import disk_opening

started, done = threading.Event(), threading.Event()
parent = os.getpid()

@op("t:wait", version="1")
def wait(value):
    if os.getpid() == parent:
        started.set()
        done.wait()
    return value

def busy():
    with code._lock, disk_opening._opened_lock, sharing._lock:
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


def interrupted(moment: int, work: Callable[[], object]) -> bool:
    """Do work; Ctrl-C comes when the n-th function around a flight begins or ends."""
    moments = iter(range(moment + 1))

    def trace(frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        if code is not produce.__code__ and code.co_filename != flight.__file__:
            return None
        if event in {"call", "return"} and next(moments, None) == moment:
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_ctrl_c_at_any_moment_lets_the_next_one_have_the_place() -> None:
    registry, store = OpRegistry(), MemoryStore()
    registry.register("here:one", lambda n: n, version="1")
    g = Graph()
    g.add("one", "here:one", n=1)
    compiled = compile(g, store=store, registry=registry)
    results: list[int] = []

    def other() -> None:
        results.append(compiled.compute(scheduler="sync"))

    moment = 0
    while interrupted(moment, lambda: compiled.compute(scheduler="sync")):
        store.invalidate("here:one")
        thread = threading.Thread(target=other, daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive(), moment
        store.invalidate("here:one")
        moment += 1
    assert moment >= 6
    assert results == [1] * moment


def test_place_that_an_interrupt_left_behind_is_free_for_its_own_thread_too() -> None:
    flights, left, mine = flight.Flights(), threading.Lock(), threading.Lock()
    with left:
        flights.take("key", left)
    with mine:
        flights.take("key", mine)
        waiting = threading.Thread(target=taken, args=(flights,), daemon=True)
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        flights.give_back("key")
    waiting.join(20)
    assert not waiting.is_alive()


def taken(flights: flight.Flights) -> None:
    working = threading.Lock()
    with working:
        flights.take("key", working)
        flights.give_back("key")
