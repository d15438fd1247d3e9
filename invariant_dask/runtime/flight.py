"""Single-flight inside a process: of several threads that want the same result, one makes it."""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable


class Flights:
    """Places by key, each held by at most one thread at a time.

    Made once in a process. Re-entrant, because remaking a lost artifact may need one that the same
    thread is making.

    Notes
    -----
    Whoever takes a place brings a lock that is held until the work is done. The others wait for
    the lock: `with` lets go of it even if Ctrl-C comes at the worst moment, when a place can stay
    behind. The next one who comes by clears that away.
    """

    def __init__(self) -> None:
        self._held: dict[Hashable, tuple[int, threading.Lock]] = {}  # by which thread, until when
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        """Free what is held by threads that a forked child does not have."""
        me = threading.get_ident()
        self._held = {key: held for key, held in self._held.items() if held[0] == me}
        self._lock = threading.Lock()

    def take(self, key: Hashable, working: threading.Lock) -> bool:
        """Take the place of `key`, when whoever has it is done; False if this thread has it.

        Parameters
        ----------
        key
            What is to be made.
        working
            A new lock, which the caller holds until the place is given back.
        """
        me = threading.get_ident()
        mine = me, working
        # One step, also for other threads.
        while (held := self._held.setdefault(key, mine)) is not mine:
            if held[0] == me and held[1].locked():
                return False
            with held[1]:
                pass
            with self._lock:
                if self._held.get(key) is held:
                    del self._held[key]  # its holder was interrupted
        return True

    def give_back(self, key: Hashable) -> None:
        """Let the next one have the place; nobody else touches it while the lock is held."""
        del self._held[key]
