"""Pause the garbage collector while many objects are made that all stay.

Each pass over them would find nothing; for large graphs passes are half of the time.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_pausing: list[int] = []
"""The threads that are in a block, once for each."""
_was_enabled = True


def _after_fork() -> None:
    """Forget the blocks of threads that a forked child does not have."""
    global _lock, _pausing  # noqa: PLW0603  the collector is one per process
    _lock = threading.Lock()
    paused_before, me = bool(_pausing), threading.get_ident()
    _pausing = [thread for thread in _pausing if thread == me]
    if paused_before and not _pausing and _was_enabled:
        gc.enable()


os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def paused() -> Iterator[None]:
    """Pause automatic collection for a block; blocks in several threads may overlap."""
    global _was_enabled  # noqa: PLW0603  the collector is one per process
    me = threading.get_ident()
    with _lock:
        if not _pausing:
            _was_enabled = gc.isenabled()
            gc.disable()
        _pausing.append(me)
    try:
        yield
    finally:
        with _lock:
            _pausing.remove(me)
            if not _pausing and _was_enabled:
                gc.enable()
