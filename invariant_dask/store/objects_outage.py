"""A server that may be down: who asks it, how long it is left alone, what is said of it meanwhile.

All but one request fail at once; that one makes a single short attempt to find out whether the
server is back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from invariant_dask.errors import StoreUnavailableError

PATIENCE = 2.0
"""Seconds for a server to begin to listen; one that does not is not merely slow."""

PROBE = 1.5
"""Seconds in which a server that is back answers."""

_REFUSED, _UNKNOWN = "connection refused", "no such host"
_DEAF = {
    "Connection refused": _REFUSED,
    "ConnectionRefused": _REFUSED,
    "Connect call failed": _REFUSED,
    "Cannot connect to host": "no connection",
    "Could not connect to the endpoint": "no connection",
    "dns error": _UNKNOWN,
    "Name or service not known": _UNKNOWN,
}


class Outage:
    """Whether a server is down, as far as the requests of this process tell.

    Parameters
    ----------
    name
        What to call the place in messages.
    budget
        Seconds that a request may take with all its attempts.
    """

    def __init__(self, name: str, budget: float) -> None:
        self._name = name
        self._budget = budget
        self._until = 0.0
        self._pause = 0.0
        self._trouble = ""

    @property
    def is_on(self) -> bool:
        """Whether nobody but who finds out about it asks now."""
        return time.monotonic() < self._until

    def admit(self) -> bool:
        """Return whether the next request has to find out whether the server is back.

        Raises
        ------
        StoreUnavailableError
            If the server is left alone.
        """
        if self.is_on:
            left = self._until - time.monotonic()
            msg = f"store {self._name} is left alone for {left:.0f} s more: {self._trouble}"
            raise StoreUnavailableError(msg)
        if self._pause:
            # Meanwhile the others need not wait.
            self._until = time.monotonic() + self._budget
        return bool(self._pause)

    def end(self) -> None:
        """Take note that the server answered."""
        self._until = self._pause = 0.0

    def try_now(self) -> None:
        """Let the next request find out, however long the pause still is."""
        self._until = 0.0

    def begin(self, what: str, attempts: int, seconds: float, cause: str) -> StoreUnavailableError:
        """Take note of a request without success, and return what to raise."""
        tries = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        self._trouble = f"{what}: no success in {tries} and {seconds:.1f} s, the last: {cause}"
        if not self.is_on or not self._pause:
            self._pause = min(max(2 * self._pause, self._budget / 3), 8 * self._budget)
        self._until = time.monotonic() + self._pause
        return StoreUnavailableError(f"store {self._name} cannot be used: {self._trouble}")


class FirstCheck:
    """What has to be asked before the first request to a place, once an answer comes."""

    def __init__(self) -> None:
        self._check: Callable[[], None] | None = None
        self.after_fork()

    def after_fork(self) -> None:
        """Forget that a thread of the parent process may be at it."""
        self._lock = threading.RLock()
        self._is_at_it = False

    def put_off(self, check: Callable[[], None]) -> None:
        """Have this asked before the first request, and again while it raises."""
        self._check = check

    def make(self) -> None:
        """Ask now, if it is still to be asked; what the check asks itself comes before it."""
        with self._lock:
            if self._check is None or self._is_at_it:
                return
            self._is_at_it = True
            try:
                self._check()
                self._check = None
            finally:
                self._is_at_it = False


def deafness(error: BaseException) -> str:
    """Return how libraries say that nobody listens at all; nothing if it is something else."""
    text = f"{type(error).__name__}: {error}"
    return next((words for sign, words in _DEAF.items() if sign in text), "")
