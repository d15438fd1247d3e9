"""The SQLite index of a disk store: what is asked of its tables.

Owns all SQL. Entries are rows with their payload; blobs are known here by id and size only, so
that room can be made without looking at the folder.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from invariant_dask.core.digest import BlobId
from invariant_dask.store.connections import Connections, Errors, inherited, roll_back
from invariant_dask.store.record import ENTRY_LIMIT, EntryRow

Payloads = dict[bytes, bytes]
T = TypeVar("T")

_ROW = "(?, ?, ?, ?, ?, ?, ?)"
_INSERT = "INSERT OR REPLACE INTO entries VALUES "
_CHUNK = 500
_ROWS_AT_ONCE = (64, 16, 4, 1)
# The length of a payload is known without reading it. One that is too long is read as an empty one,
# which is damaged all the same.
_READ = """
SELECT e.digest, CASE WHEN length(e.data) <= _LIMIT_ THEN e.data ELSE x'' END, e.used,
    t.digest, CASE WHEN length(t.data) <= _LIMIT_ THEN t.data ELSE x'' END, t.used
FROM entries e LEFT JOIN entries t ON t.digest = e.target WHERE e.digest IN""".replace(
    "_LIMIT_", str(ENTRY_LIMIT)
)


class Index:
    """Entries, blobs and who refers to whom, for several threads and processes at once."""

    def __init__(self, path: Path, *, read_only: bool = False, why: str = "") -> None:
        self._path = path
        self._read_only = read_only
        self._errors = Errors(path, why)
        self._opening = threading.Lock()
        self._connections: Connections | None = None
        self._open()

    def _open(self) -> Connections:
        connections = self._connections
        if connections is not None and connections.pid == os.getpid():
            return connections
        if connections is not None:
            inherited.append(connections)
            self._connections = None
        with self._opening:
            if self._connections is None:
                with self._errors:
                    fresh = Connections(self._path, self._read_only)
                weakref.finalize(self, fresh.close)
                self._connections = fresh
            return self._connections

    def try_to_write(self) -> bool:
        """Write from now on, if that has become possible; return whether it is."""
        if self._read_only:
            try:
                fresh = Connections(self._path, read_only=False)
            except sqlite3.Error:
                return False
            self.close()
            weakref.finalize(self, fresh.close)
            self._connections, self._read_only = fresh, False
        return True

    def after_fork(self) -> None:
        """Forget what threads of the parent process may have held."""
        self._opening = threading.Lock()

    def close(self) -> None:
        """Close the connections of this process."""
        connections, self._connections = self._connections, None
        if connections is not None:
            connections.close()

    # --- reading ---

    def _select(self, sql: str, values: Sequence[bytes]) -> list[tuple[Any, ...]]:
        """Run a query that ends in `IN`, for any number of values."""
        rows = []
        lock, connection = self._open().to_read()
        with self._errors, lock:
            roll_back(connection)
            for start in range(0, len(values), _CHUNK):
                chunk = values[start : start + _CHUNK]
                marks = ",".join("?" * len(chunk))
                rows += connection.execute(f"{sql} ({marks})", chunk).fetchall()
        return rows

    def read(self, digests: Sequence[bytes], used_before: int) -> tuple[Payloads, list[bytes]]:
        """Return the payloads of entries and of what they point to, and which were not used since.

        Parameters
        ----------
        digests
            What to read.
        used_before
            Nanoseconds since 1970.
        """
        payloads: Payloads = {}
        stale: list[bytes] = []
        for digest, data, used, target, target_data, target_used in self._select(_READ, digests):
            payloads[digest] = data
            if used < used_before:
                stale.append(digest)
            if target is not None:
                payloads[target] = target_data
                if target_used < used_before:
                    stale.append(target)
        return payloads, stale

    def recent(self, op: str, limit: int) -> list[tuple[bytes, bytes]]:
        """Return digest and payload of the latest records of an op."""
        sql = (
            "SELECT digest, data FROM entries "
            "WHERE op = ? AND target IS NULL AND length(data) <= ? "
            "ORDER BY created DESC, rowid DESC LIMIT ?"
        )
        connections = self._open()
        with self._errors, connections.read_lock:
            return connections.reader.execute(sql, (op, ENTRY_LIMIT, limit)).fetchall()

    def generation(self) -> int:
        """Return a number that changes when another process commits."""
        connections = self._open()
        with self._errors, connections.write_lock:
            return int(connections.writer.execute("PRAGMA data_version").fetchone()[0])

    def select(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a query beside whoever writes."""
        connections = self._open()
        with self._errors, connections.read_lock:
            return connections.reader.execute(sql, values).fetchall()

    def total_size(self) -> int:
        """Return the bytes of all entries and blobs."""
        sql = "SELECT (SELECT total(size) FROM entries) + (SELECT total(size) FROM blobs)"
        connections = self._open()
        with self._errors, connections.read_lock:
            return int(connections.reader.execute(sql).fetchone()[0])

    # --- writing ---

    def transact(self, body: Callable[[sqlite3.Connection], T]) -> T:
        """Run several statements as one, while other writers wait."""
        connections = self._open()
        with self._errors:
            return connections.transact(body)

    def write(
        self,
        rows: Sequence[EntryRow],
        *,
        is_there: Callable[[BlobId], bool],
        beside_others: bool = False,
    ) -> bool:
        """Write entries; False, and nothing is written, if a blob that they name went meanwhile.

        Parameters
        ----------
        rows
            The entries.
        is_there
            Whether the file of a blob is there: it may be listed by another writer who has yet to
            write it anew.
        beside_others
            Whether this thread has to fight others for the interpreter's lock. SQLite gives it up
            and takes it again for each statement, so there are few statements then, at a price.
        """
        now = time.time_ns()
        values = [
            (row.digest, row.target, row.op, row.created, now, len(row.data), row.data)
            for row in rows
        ]
        refs = [(row.digest, blob) for row in rows for blob in row.blobs]

        def insert(sql: sqlite3.Connection) -> bool:
            for _, blob in refs:
                listed = sql.execute("SELECT 1 FROM blobs WHERE blob = ?", (blob,)).fetchone()
                if not listed or not is_there(blob):
                    return False
            if refs:
                # What a record named that is replaced is named no more.
                replaced = {(digest,) for digest, _ in refs}
                sql.executemany("DELETE FROM refs WHERE digest = ?", list(replaced))
                sql.executemany("INSERT OR IGNORE INTO refs VALUES (?, ?)", refs)
            if beside_others:
                _insert_many_at_once(sql, values)
            else:
                sql.executemany(_INSERT + _ROW, values)
            return True

        return self.transact(insert)

    def list_blobs(self, blobs: Iterable[tuple[BlobId, int]]) -> None:
        """List blobs that are about to be written, or are written once more."""
        now = time.time_ns()
        rows = [(blob, size, now) for blob, size in blobs]
        self.transact(
            lambda sql: sql.executemany(
                "INSERT INTO blobs VALUES (?, ?, ?) "
                "ON CONFLICT (blob) DO UPDATE SET size = excluded.size, written = excluded.written",
                rows,
            )
        )

    def correct_sizes(self, sizes: Sequence[tuple[BlobId, int]]) -> None:
        """Say how large the files of blobs are, of those that are listed still."""
        rows = [(size, blob) for blob, size in sizes]
        self.transact(lambda sql: sql.executemany("UPDATE blobs SET size = ? WHERE blob = ?", rows))

    def delete(self, digests: Collection[bytes]) -> int:
        """Delete entries and return how many there were."""
        return self.transact(lambda sql: sum(delete_entry(sql, digest) for digest in digests))

    def delete_op(self, op: str) -> int:
        """Delete all entries of an op and return how many there were."""

        def delete(sql: sqlite3.Connection) -> int:
            rows = sql.execute("SELECT digest FROM entries WHERE op = ?", (op,)).fetchall()
            return sum(delete_entry(sql, digest) for (digest,) in rows)

        return self.transact(delete)

    def delete_same(self, digest: bytes, data: bytes) -> bool:
        """Delete an entry if its payload is still this one."""

        def delete(sql: sqlite3.Connection) -> bool:
            row = sql.execute("SELECT data FROM entries WHERE digest = ?", (digest,)).fetchone()
            return row is not None and row[0] == data and bool(delete_entry(sql, digest))

        return self.transact(delete)

    def mark_used(self, digests: Collection[bytes]) -> None:
        """Note that entries were used now."""
        now = time.time_ns()
        used = [(now, digest) for digest in digests]
        self.transact(
            lambda sql: sql.executemany("UPDATE entries SET used = ? WHERE digest = ?", used)
        )


def _insert_many_at_once(sql: sqlite3.Connection, rows: Sequence[tuple[object, ...]]) -> None:
    start = 0
    for size in _ROWS_AT_ONCE:
        statement = _INSERT + ", ".join([_ROW] * size)
        while len(rows) - start >= size:
            sql.execute(statement, list(chain.from_iterable(rows[start : start + size])))
            start += size


def delete_entry(sql: sqlite3.Connection, digest: bytes) -> int:
    """Delete an entry within a transaction and return whether it was there."""
    sql.execute("DELETE FROM refs WHERE digest = ?", (digest,))
    return sql.execute("DELETE FROM entries WHERE digest = ?", (digest,)).rowcount
