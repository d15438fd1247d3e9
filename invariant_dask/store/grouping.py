"""Group commit: entries wait a few milliseconds, so that many share one transaction.

Only what comes in a burst waits: the first entry after a pause is committed at once, so that what
took long is safe when it is there. Of a burst, whoever adds entries commits them once the oldest
has waited for `WINDOW` seconds; a thread of its own does so while everybody is busy with something
else. Entries that wait are seen by this process only. If they cannot be written, that is said and
they are dropped: what they describe is still in memory, and losing the work as well would help
nobody.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from weakref import WeakMethod

from invariant_dask.errors import StoreError
from invariant_dask.store.record import EntryRow

WINDOW = 0.008
"""How long, in seconds, an entry waits for others."""

_RETRY = 1.0
_SOME, _END = "some", "end"

logger = logging.getLogger("invariant_dask.store")


class GroupCommit:
    """Entries on their way into a store.

    Parameters
    ----------
    write
        The method of a store that writes entries in one transaction; told whether that is beside
        other threads' work. It is not kept alive: the store has this object, and goes when nobody
        else needs it.
    lose
        The method that is told the ops of entries which could not be written, and why.
    name
        What to call the store in messages.
    """

    def __init__(
        self,
        write: Callable[[Sequence[EntryRow], bool], object],
        lose: Callable[[Sequence[str], str], object],
        name: str,
    ) -> None:
        self._write = WeakMethod(write)
        self._lose = WeakMethod(lose)
        self._name = name
        self.after_fork()

    def after_fork(self) -> None:
        """Forget what belongs to the parent process: it commits its own entries."""
        self._users: set[object] = set()
        self._watcher: _Watcher | None = None
        self._lock = threading.Lock()
        self._writing_lock = threading.Lock()
        self._waiting: dict[bytes, EntryRow] = {}
        self._writing: dict[bytes, EntryRow] = {}
        self._since = self._added = 0.0

    @contextmanager
    def open(self) -> Iterator[None]:
        """Let entries wait for the length of a block; at its end all are committed."""
        user = object()
        with self._lock:
            if self._watcher is None and (watcher := _Watcher(self._commit_due)).begin():
                self._watcher = watcher
            if self._watcher is not None:
                self._users.add(user)
        try:
            yield
        finally:
            with self._lock:
                self._users.discard(user)
            try:
                self.flush()
            finally:
                self._stop()

    def add(self, rows: Iterable[EntryRow]) -> bool:
        """Take entries in, and commit what has waited long enough; False if none may wait now."""
        now = time.monotonic()
        with self._lock:
            if not self._users or self._watcher is None:
                return False
            if not self._waiting:
                self._since = now
                self._watcher.inbox.put(_SOME)
            for row in rows:
                self._waiting[row.digest] = row
            due = now - min(self._since, self._added) >= WINDOW
            self._added = now
        if due:
            self.flush()
        return True

    def read(self, digests: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the entries that are on their way."""
        if not (self._waiting or self._writing):
            return {}
        with self._lock:
            on_their_way = {**self._writing, **self._waiting} if self._writing else self._waiting
            return {d: on_their_way[d].data for d in digests if d in on_their_way}

    def flush(self, beside_others: bool = False) -> None:
        """Commit what waits."""
        with self._writing_lock:
            with self._lock:
                self._writing, self._waiting = self._waiting, {}
            if not self._writing:
                return
            try:
                write = self._write()
                if write is not None:
                    write(list(self._writing.values()), beside_others)
            except StoreError as error:
                logger.info("%s: results are not persisted: %s", self._name, error)
                lose = self._lose()
                if lose is not None:
                    lose(
                        [row.op for row in self._writing.values() if row.target is None], str(error)
                    )
            except BaseException:
                # An interrupt, say: whether they were committed is not known, and twice is as good.
                with self._lock:
                    self._waiting = {**self._writing, **self._waiting}
                    if self._watcher is not None:
                        self._watcher.inbox.put(_SOME)
                raise
            finally:
                with self._lock:
                    self._writing = {}

    def _commit_due(self) -> float | None:
        """Commit what has waited long enough; return when to come again, None if nothing waits."""
        if not self._waiting:
            return None
        left = self._since + WINDOW - time.monotonic()
        if left > 0:
            return left
        try:
            self.flush(beside_others=True)
        except Exception:
            logger.exception("%s: entries could not be committed; trying again", self._name)
            return _RETRY
        return WINDOW if self._waiting else None

    def _stop(self) -> None:
        with self._lock:
            if self._users or self._watcher is None:
                return
            watcher, self._watcher = self._watcher, None
        watcher.end()


class _Watcher(threading.Thread):
    """Commits what waits while nobody adds anything.

    It is told by a queue: an interrupt in an Event may leave that locked for ever.
    """

    def __init__(self, commit_due: Callable[[], float | None]) -> None:
        super().__init__(name="invariant-dask-commit", daemon=True)
        self.inbox: SimpleQueue[str] = SimpleQueue()
        self._commit_due = commit_due

    def run(self) -> None:
        pause: float | None = None
        while True:
            try:
                message = self.inbox.get(timeout=pause)
            except Empty:
                message = ""
            if message == _END:
                return
            pause = self._commit_due()

    def begin(self) -> bool:
        """Start; False if there can be no more threads, as when the interpreter is about to end."""
        try:
            self.start()
        except RuntimeError as error:
            logger.debug("entries are committed one by one: %s", error)
            return False
        except BaseException:
            self.inbox.put(_END)
            raise
        return True

    def end(self) -> None:
        """Make it end, and wait until it has."""
        self.inbox.put(_END)
        self.join()
