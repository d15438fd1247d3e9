"""Leave out what fails, for a while: so that its time limits are paid once, not for each question.

After a failure nobody asks until the pause is over; then one does. If that fails too the pause
doubles, up to a limit; if not, all is as before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0

Clock = Callable[[], float]


class Breaker:
    """Whether to ask something that may fail.

    Parameters
    ----------
    clock
        Seconds, never going back.
    first, longest
        The pause after the first failure, and the most that it may grow to.
    """

    def __init__(
        self,
        clock: Clock = time.monotonic,
        first: float = FIRST_PAUSE,
        longest: float = LONGEST_PAUSE,
    ) -> None:
        self._clock = clock
        self._first = first
        self._longest = longest
        self._pause = 0.0
        self._again_at: float | None = None
        self.reason = ""
        """What went wrong last."""
        self.after_fork()

    def after_fork(self) -> None:
        """Forget that a thread of the parent process may hold the lock."""
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether the last attempt failed."""
        return self._again_at is not None

    @property
    def pause(self) -> float:
        """Seconds from the last failure to the next attempt."""
        return self._pause

    @property
    def is_paused(self) -> bool:
        """Whether nobody may ask just now."""
        return self._again_at is not None and self._clock() < self._again_at

    def admits(self) -> bool:
        """Return whether to ask now. Of those who ask after a pause, one may."""
        if self._again_at is None:
            return True
        with self._lock:
            now = self._clock()
            if self.is_paused:
                return False
            # The others wait for the outcome; should it never come, one of them is next.
            if self.is_open:
                self._again_at = now + self._pause
            return True

    def try_now(self) -> None:
        """Let the next one ask, however long the pause still is."""
        with self._lock:
            if self._again_at is not None:
                self._again_at = self._clock()

    def fail(self, reason: str) -> bool:
        """Take note of a failure; return whether it is the first of a row."""
        with self._lock:
            first = self._again_at is None
            self._pause = self._first if first else min(2 * self._pause, self._longest)
            self._again_at = self._clock() + self._pause
            self.reason = reason
            return first

    def succeed(self) -> bool:
        """Take note of a success; return whether it ended a row of failures."""
        if self._again_at is None:
            return False
        with self._lock:
            ended = self._again_at is not None
            self._again_at, self._pause = None, 0.0
            return ended
