"""The event loop of all object stores of a process, in a thread of its own.

Calls come from any other thread and wait for it. It runs as long as the process does: clients of
fsspec close their sessions in it when the interpreter ends, after everybody else.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_loop: asyncio.AbstractEventLoop | None = None
_lock = threading.Lock()


def start(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Begin a coroutine in the loop and return its future."""
    try:
        return asyncio.run_coroutine_threadsafe(work, _the_loop())
    except BaseException:
        work.close()
        raise


def wait(work: Coroutine[Any, Any, T]) -> T:
    """Wait for a coroutine that runs in the loop; an interrupt cancels it."""
    future = start(work)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _the_loop() -> asyncio.AbstractEventLoop:
    global _loop  # noqa: PLW0603  one for the process
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            run = _loop.run_forever
            threading.Thread(target=run, name="invariant-dask-objects", daemon=True).start()
        return _loop


def _after_fork() -> None:
    global _loop, _lock  # noqa: PLW0603  its thread is the parent's
    _lock = threading.Lock()
    _loop = None


os.register_at_fork(after_in_child=_after_fork)
