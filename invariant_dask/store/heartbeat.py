"""One thread of a process that says again and again, for whoever asked, that it is alive."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

from invariant_dask.errors import StoreError

logger = logging.getLogger("invariant_dask.store")

EVERY = 30.0
"""Seconds between two beats."""


class Heart:
    """Calls functions at regular times, until they are taken out.

    Parameters
    ----------
    every
        Seconds between two calls of each.
    """

    def __init__(self, every: float = EVERY) -> None:
        self._every = every
        self.after_fork()

    def after_fork(self) -> None:
        """Forget what belongs to the parent process."""
        self._lock = threading.Lock()
        self._beats: dict[int, Callable[[], None]] = {}
        self._number = 0
        self._runs = False

    def add(self, beat: Callable[[], None]) -> int:
        """Call a function from now on; returns what `remove` takes."""
        with self._lock:
            self._number += 1
            self._beats[self._number] = beat
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._run, name="invariant-dask-heart", daemon=True).start()
            return self._number

    def remove(self, number: int) -> None:
        """Call a function no more; a call that has begun may still end."""
        with self._lock:
            self._beats.pop(number, None)

    def beat(self) -> None:
        """Call all functions now."""
        with self._lock:
            beats = list(self._beats.values())
        for beat in beats:
            try:
                beat()
            except StoreError as error:
                # Others may believe that we are gone. That costs time, and no more.
                logger.info("a heartbeat did not get through: %s", error)

    def _run(self) -> None:
        while True:
            time.sleep(self._every)
            with self._lock:
                # Kept for a while: who runs often must not start a thread as often.
                if not self._beats:
                    self._runs = False
                    return
            self.beat()


HEART = Heart()
os.register_at_fork(after_in_child=HEART.after_fork)
