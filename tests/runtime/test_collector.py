"""The garbage collector is paused while graphs are made, and never left off."""

from __future__ import annotations

import gc
import os
import signal
import threading

import pytest

from invariant_dask.runtime import collector


def test_collection_is_off_inside_and_on_again_after_an_error() -> None:
    def fail() -> None:
        with collector.paused():
            assert not gc.isenabled()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert gc.isenabled()


def test_pauses_of_two_threads_end_with_the_last() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with collector.paused():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with collector.paused():
        thread.start()
        assert inside.wait(10)
    assert not gc.isenabled()
    leave.set()
    thread.join(10)
    assert gc.isenabled()


def test_collection_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with collector.paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def in_child(check) -> int:
    """Return the exit status of a forked child that runs `check`: 0 if that returns True."""
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(20)  # rather than outlive the test
            os._exit(0 if check() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def paused_once() -> bool:
    with collector.paused():
        off = not gc.isenabled()
    return off and gc.isenabled()


def test_forked_child_collects_though_another_thread_of_its_parent_paused() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with collector.paused():
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    try:
        assert in_child(gc.isenabled) == 0
        assert in_child(paused_once) == 0
    finally:
        leave.set()
        thread.join(10)


def test_child_forked_inside_a_pause_collects_when_the_pause_ends() -> None:
    with collector.paused():
        child = os.fork()
        if child == 0:
            try:
                assert not gc.isenabled()
            except BaseException:
                os._exit(1)
    if child == 0:
        os._exit(0 if gc.isenabled() and paused_once() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_forked_child_does_not_wait_for_a_thread_of_its_parent() -> None:
    with collector._lock:
        assert in_child(paused_once) == 0
