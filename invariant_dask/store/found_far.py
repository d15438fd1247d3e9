"""Entries of large artifacts that were found far away, until the artifacts are fetched."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

from invariant_dask.store.record import EntryRow

LIMIT = 16 * 2**20
"""The most bytes of entries that are kept; the oldest go."""


class FoundFar:
    """Entries by the resolved digest that they are about, bounded."""

    def __init__(self) -> None:
        self._rows: OrderedDict[bytes, dict[bytes, EntryRow]] = OrderedDict()
        self._bytes = 0
        self.after_fork()

    def after_fork(self) -> None:
        """Forget that a thread of the parent process may hold the lock."""
        self._lock = threading.Lock()

    def add(self, resolved: bytes, rows: Iterable[EntryRow]) -> None:
        """Keep the record of an artifact, and what claims it, in this order."""
        with self._lock:
            known = self._pop(resolved)
            known.update((row.digest, row) for row in rows)
            self._rows[resolved] = known
            self._bytes += _size(known)
            while self._bytes > LIMIT:
                self._pop(next(iter(self._rows)))

    def take(self, resolved: bytes) -> list[EntryRow]:
        """Return what is kept about an artifact, and let go of it."""
        with self._lock:
            return list(self._pop(resolved).values())

    def clear(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._rows.clear()
            self._bytes = 0

    def _pop(self, resolved: bytes) -> dict[bytes, EntryRow]:
        rows = self._rows.pop(resolved, {})
        self._bytes -= _size(rows)
        return rows


def _size(rows: dict[bytes, EntryRow]) -> int:
    return sum(len(row.data) for row in rows.values())
