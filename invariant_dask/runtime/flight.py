"""Single-flight inside a process: of several threads that want the same result, one makes it."""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable


class Flights:
    """Places by key, each held by at most one thread at a time.

    Made once in a process. Re-entrant, because remaking a lost artifact may need one that the same
    thread is making.
    """

    def __init__(self) -> None:
        self._held: dict[Hashable, tuple[int, int]] = {}  # by which thread, how often
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        """Free what is held by threads that a forked child does not have."""
        me = threading.get_ident()
        self._held = {key: held for key, held in self._held.items() if held[0] == me}
        self._lock = threading.Lock()
        self._freed = threading.Condition(self._lock)
        self._waiting = 0

    def take(self, key: Hashable) -> None:
        """Take the place of `key`, when whoever has it gives it back."""
        me = threading.get_ident()
        mine = me, 1
        if self._held.setdefault(key, mine) is mine:  # one step, also for other threads
            return
        with self._lock:
            # Counted before looking again: whoever gives the place back looks at the count after.
            self._waiting += 1
            try:
                while (held := self._held.setdefault(key, mine)) is not mine:
                    if held[0] == me:
                        self._held[key] = (me, held[1] + 1)
                        return
                    self._freed.wait()
            finally:
                self._waiting -= 1

    def give_back(self, key: Hashable) -> None:
        """Let the next one have the place."""
        me, count = self._held[key]  # nobody else touches the place of its holder
        if count > 1:
            self._held[key] = (me, count - 1)
            return
        del self._held[key]
        if self._waiting:
            with self._lock:
                self._freed.notify_all()
