"""Group commit: entries wait a few milliseconds, so that many share one transaction.

Whoever adds entries commits them once the oldest has waited for `WINDOW` seconds; a thread of its
own does so while everybody is busy with something else. Entries that wait are seen by this process
only. If they cannot be written, that is said and they are dropped: what they describe is still in
memory, and losing the work as well would help nobody.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from weakref import WeakMethod

from invariant_dask.errors import StoreUnavailableError
from invariant_dask.store.record import EntryRow

WINDOW = 0.008
"""How long, in seconds, an entry waits for others."""

logger = logging.getLogger("invariant_dask.store")


class GroupCommit:
    """Entries on their way into a store.

    Parameters
    ----------
    write
        The method of a store that writes entries in one transaction; told whether that is beside
        other threads' work. It is not kept alive: the store has this object, and goes when nobody
        else needs it.
    name
        What to call the store in messages.
    """

    def __init__(self, write: Callable[[Sequence[EntryRow], bool], object], name: str) -> None:
        self._write = WeakMethod(write)
        self._name = name
        self.after_fork()

    def after_fork(self) -> None:
        """Forget what belongs to the parent process: it commits its own entries."""
        self._users: set[object] = set()
        self._watcher: threading.Thread | None = None
        self._lost = 0
        self._lock = threading.Lock()
        self._writing_lock = threading.Lock()
        self._some = threading.Event()
        self._waiting: dict[bytes, EntryRow] = {}
        self._writing: dict[bytes, EntryRow] = {}
        self._since = 0.0

    @property
    def active(self) -> bool:
        """Whether entries may wait now."""
        return bool(self._users)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Let entries wait for the length of a block; at its end all are committed."""
        user = object()
        with self._lock:
            self._users.add(user)
            if self._watcher is None:
                self._start()
        try:
            yield
        finally:
            with self._lock:
                self._users.discard(user)
            self.flush()
            self._stop()

    def add(self, rows: Iterable[EntryRow]) -> None:
        """Take entries in; commit if the oldest has waited long enough."""
        now = time.monotonic()
        with self._lock:
            if not self._waiting:
                self._since = now
                self._some.set()
            for row in rows:
                self._waiting[row.digest] = row
            due = now - self._since >= WINDOW
        if due:
            self.flush()

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
                self._some.clear()
            if not self._writing:
                return
            try:
                write = self._write()
                if write is not None:
                    write(list(self._writing.values()), beside_others)
            except StoreUnavailableError as error:
                if not self._lost:
                    logger.warning("%s: results are not persisted: %s", self._name, error)
                self._lost += len(self._writing)
            finally:
                with self._lock:
                    self._writing = {}

    def _start(self) -> None:
        self._ended = threading.Event()
        arguments = (self._ended, self._some)
        self._watcher = threading.Thread(
            target=self._watch, args=arguments, name="invariant-dask-commit", daemon=True
        )
        self._watcher.start()

    def _stop(self) -> None:
        with self._lock:
            if self._users or self._watcher is None:
                return
            watcher, self._watcher = self._watcher, None
            lost, self._lost = self._lost, 0
            self._ended.set()
            self._some.set()
        watcher.join()
        if lost:
            logger.warning("%s: %d entries could not be written", self._name, lost)

    def _watch(self, ended: threading.Event, some: threading.Event) -> None:
        pause = WINDOW
        while some.wait() and not ended.wait(pause):
            pause = self._since + WINDOW - time.monotonic()
            if pause <= 0:
                if self._waiting:
                    self.flush(beside_others=True)
                pause = WINDOW
