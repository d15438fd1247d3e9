"""Pause the garbage collector while many objects are made that all stay.

Each pass over them would find nothing; for large graphs passes are half of the time.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_pauses = 0
_was_enabled = True


@contextmanager
def paused() -> Iterator[None]:
    """Pause automatic collection for a block; blocks in several threads may overlap."""
    global _pauses, _was_enabled  # noqa: PLW0603  the collector is one per process
    with _lock:
        if not _pauses:
            _was_enabled = gc.isenabled()
            gc.disable()
        _pauses += 1
    try:
        yield
    finally:
        with _lock:
            _pauses -= 1
            if not _pauses and _was_enabled:
                gc.enable()
