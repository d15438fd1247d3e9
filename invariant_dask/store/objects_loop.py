"""The event loop of all object stores of a process, in a thread of its own.

Calls come from any other thread and wait for it. It runs as long as the process does: clients of
fsspec close their sessions in it when the interpreter ends, after everybody else.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_TASKS = Path("/proc/self/task")
_LOOK_EVERY = 0.002
_PATIENCE = 1.0

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
            _loop.set_default_executor(_Threads(thread_name_prefix="invariant-dask-files"))
            run = _loop.run_forever
            threading.Thread(target=run, name="invariant-dask-objects", daemon=True).start()
        return _loop


class _Threads(ThreadPoolExecutor):
    """Threads for what blocks the loop; once the interpreter ends, it has to.

    It starts none then, and what is still on its way to a store is written all the same.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        try:
            return super().submit(fn, *args, **kwargs)
        except RuntimeError:
            done: Future[T] = Future()
            try:
                done.set_result(fn(*args, **kwargs))
            except Exception as error:  # noqa: BLE001  whoever asks for the result gets it
                done.set_exception(error)
            return done


def _come_to_rest() -> None:
    """Let obstore's threads end what they have to do with Python before the interpreter does.

    They are not Python's: one that still has to drop an object then would abort the process.
    """
    loop = _loop
    if loop is None:
        return
    with contextlib.suppress(TimeoutError):
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(_PATIENCE)
    until = time.monotonic() + _PATIENCE
    quiet = 0
    while quiet < 2 and time.monotonic() < until:
        time.sleep(_LOOK_EVERY)  # whoever waits for the interpreter gets it now
        quiet = quiet + 1 if _natives_rest() else 0


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _natives_rest() -> bool:
    """Return whether all threads of obstore sleep, as far as the system tells."""
    for thread in _TASKS.glob("*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            name, _, rest = (thread / "stat").read_text().partition("(")[2].rpartition(")")
            if name.startswith("tokio") and rest.split()[0] != "S":
                return False
    return True


def _after_fork() -> None:
    global _loop, _lock  # noqa: PLW0603  its thread is the parent's
    _lock = threading.Lock()
    _loop = None


os.register_at_fork(after_in_child=_after_fork)
# Registered before whoever uses the loop registers what it still has to do in it, so called after.
atexit.register(_come_to_rest)
