"""Make room in a disk store: the least recently used entries go, then blobs nobody refers to."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable

from invariant_dask.core.digest import BlobId
from invariant_dask.errors import SpecError
from invariant_dask.store.index import Index, delete_entry

GRACE = 60 * 10**9
"""Nanoseconds for which new entries are spared, if anything else can go."""

ORPHAN_GRACE = 3600 * 10**9
"""Nanoseconds for which blobs without an entry are spared: input files have none, and a blob is
written before its record."""

_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", re.IGNORECASE)
_BATCH = 256

Remove = Callable[[BlobId], None]


def parse_size(text: int | str | None, what: str = "size_limit") -> int | None:
    """Return a number of bytes given as such or as text, such as `10GB` or `512 MiB`.

    Raises
    ------
    SpecError
        If it is neither.
    """
    if text is None or (type(text) is int and text > 0):
        return text
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is not None:
        number, unit, binary = match.groups()
        factor = _UNITS[unit.upper()]
        if binary:
            factor = {1000: 2**10, 1000**2: 2**20, 1000**3: 2**30, 1000**4: 2**40}.get(factor, 1)
        whole, _, part = number.partition(".")
        size = int(whole) * factor + (int(part) * factor // 10 ** len(part) if part else 0)
        if size > 0:
            return size
    msg = f"{what}={text!r} is not a positive number of bytes, nor text such as '10GB'"
    raise SpecError(msg)


def evict(index: Index, limit: int, remove: Remove) -> int:
    """Bring a store that exceeds its limit down to nine tenths of it.

    Parameters
    ----------
    index
        The index of the store.
    limit
        The most bytes to keep.
    remove
        Unlinks the file of a blob. Readers that have it open keep it.

    Returns
    -------
    int
        How many entries went.

    Notes
    -----
    Files go while the transaction holds the write lock. A writer lists its blobs before it looks
    whether the files are there, so it either finds its blob listed as new, and it stays, or
    unlisted, and writes it again.
    """
    total = index.total_size()
    if total <= limit:
        return 0
    now = time.time_ns()

    def make_room(sql: sqlite3.Connection) -> int:
        eviction = _Eviction(sql, remove, total)
        goal = limit * 9 // 10
        eviction.sweep(older_than=now - ORPHAN_GRACE)
        eviction.run(goal, older_than=now - GRACE)
        # A writer faster than the grace must not fill the disk; but it may keep what fits.
        eviction.run(limit, older_than=now + GRACE)
        if eviction.total > limit:
            eviction.sweep(older_than=now - GRACE)
        return eviction.entries

    return index.transact(make_room)


class _Eviction:
    def __init__(self, sql: sqlite3.Connection, remove: Remove, total: int) -> None:
        self.sql = sql
        self.remove = remove
        self.total = total
        self.entries = 0

    def run(self, goal: int, older_than: int) -> None:
        """Delete entries, the least recently used first, until the goal is reached."""
        while self.total > goal:
            batch = self.sql.execute(
                "SELECT digest, size FROM entries WHERE used < ? ORDER BY used, rowid LIMIT ?",
                (older_than, _BATCH),
            ).fetchall()
            if not batch:
                return
            for digest, size in batch:
                if self.total <= goal:
                    return
                self._delete(digest, size)

    def _delete(self, digest: bytes, size: int) -> None:
        blobs = self.sql.execute("SELECT blob FROM refs WHERE digest = ?", (digest,)).fetchall()
        delete_entry(self.sql, digest)
        self.entries += 1
        self.total -= size
        for (blob,) in blobs:
            row = self.sql.execute(
                "SELECT size FROM blobs WHERE blob = ?1 "
                "AND NOT EXISTS (SELECT 1 FROM refs WHERE blob = ?1)",
                (blob,),
            ).fetchone()
            if row is not None:
                self._remove_blob(blob, row[0])

    def sweep(self, older_than: int) -> None:
        """Delete blobs that no entry refers to."""
        rows = self.sql.execute(
            "SELECT blob, size FROM blobs WHERE written < ? "
            "AND NOT EXISTS (SELECT 1 FROM refs WHERE refs.blob = blobs.blob)",
            (older_than,),
        ).fetchall()
        for blob, size in rows:
            self._remove_blob(blob, size)

    def _remove_blob(self, blob: bytes, size: int) -> None:
        self.sql.execute("DELETE FROM blobs WHERE blob = ?", (blob,))
        self.remove(BlobId(blob))
        self.total -= size
