"""Single-flight inside a process: of several threads that want the same result, one makes it."""

from __future__ import annotations

import threading
from collections.abc import Hashable


class Flights:
    """Locks by key that exist while somebody holds or awaits them.

    Re-entrant, because remaking a lost artifact may need one that the same thread is making.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[Hashable, tuple[threading.RLock, int]] = {}

    def take(self, key: Hashable) -> None:
        """Take the only place of `key`, when whoever has it gives it back."""
        with self._guard:
            place = self._locks.get(key)
            lock, users = (threading.RLock(), 0) if place is None else place
            self._locks[key] = (lock, users + 1)
        try:
            lock.acquire()
        except BaseException:
            self._leave(key)
            raise

    def give_back(self, key: Hashable) -> None:
        """Let the next one have the place."""
        # Whoever takes a place of the same name from here on finds what was published.
        self._leave(key).release()

    def _leave(self, key: Hashable) -> threading.RLock:
        with self._guard:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)
        return lock
