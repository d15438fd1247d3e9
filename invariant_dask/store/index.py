"""The SQLite index of a disk store: connections, transactions and the tables.

Owns all SQL. Entries are rows with their payload; blobs are known here by id and size only, so
that room can be made without looking at the folder.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from invariant_dask.core.digest import BlobId
from invariant_dask.errors import StoreLayoutError, StoreUnavailableError
from invariant_dask.store.record import EntryRow

Payloads = dict[bytes, bytes]

# Payloads come last: a scan for sizes or dates then never follows overflow pages.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    digest BLOB PRIMARY KEY,
    target BLOB,                -- of a planned entry: the resolved digest; NULL for a record
    op TEXT NOT NULL,
    created INTEGER NOT NULL,   -- nanoseconds since 1970, as are all times here
    used INTEGER NOT NULL,
    size INTEGER NOT NULL,
    data BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS entries_of_op ON entries (op, created) WHERE target IS NULL;
CREATE TABLE IF NOT EXISTS blobs (
    blob BLOB PRIMARY KEY,
    size INTEGER NOT NULL,
    written INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS refs (
    digest BLOB NOT NULL,
    blob BLOB NOT NULL,
    PRIMARY KEY (digest, blob)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS refs_of_blob ON refs (blob);
"""
_ROW = "(?, ?, ?, ?, ?, ?, ?)"
_INSERT = "INSERT OR REPLACE INTO entries VALUES "
_BUSY_SECONDS = 60.0
_CHUNK = 500
_ROWS_AT_ONCE = (64, 16, 4, 1)
_READ = """
SELECT e.digest, e.data, e.used, t.digest, t.data, t.used
FROM entries e LEFT JOIN entries t ON t.digest = e.target WHERE e.digest IN"""


class _Connections:
    """The two connections of one process; each is used under its lock."""

    def __init__(self, path: Path, read_only: bool) -> None:
        self.pid = os.getpid()
        self.write_lock = threading.Lock()
        self.read_lock = threading.Lock()
        if read_only:
            # Both refuse to write, with an error of SQLite's.
            self.writer = _connect_to_read(path)
            self.reader = _connect_to_read(path)
            return
        self.writer = _connect(path)
        try:
            _prepare(self.writer)
            self.reader = _connect(path)
        except BaseException:
            self.writer.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection to read with: the writing one if it is free.

        It knows what it wrote, while each commit makes the other one forget what it had read.
        """
        if self.write_lock.acquire(blocking=False):
            lock, connection = self.write_lock, self.writer
        else:
            lock, connection = self.read_lock, self.reader
            lock.acquire()
        try:
            yield connection
        finally:
            lock.release()

    def close(self) -> None:
        # A child process must not touch connections of its parent, not even to close them.
        if self.pid == os.getpid():
            with self.read_lock:
                self.reader.close()
            with self.write_lock:
                self.writer.close()


# Connections that came along through a fork. Closing them could take the files of the parent
# away under it, so they are kept from being collected.
_inherited: list[_Connections] = []


def _connect_to_read(path: Path) -> sqlite3.Connection:
    where = path.as_uri() + "?mode=ro"
    try:
        return _connect(where)
    except sqlite3.OperationalError:
        # SQLite would make files beside it, to agree with writers; where it cannot, nobody must
        # write while we read. Those who do leave a log.
        if Path(f"{path}-wal").exists():
            raise
        return _connect(where + "&immutable=1")


def _connect(path: Path | str) -> sqlite3.Connection:
    # Autocommit: transactions are begun by hand, and only where there are several statements.
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False,
        uri=isinstance(path, str),
    )  # fmt: skip
    try:
        # No sync per commit: a killed process loses nothing, a power cut perhaps the latest.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA cache_size=-32000")
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            if connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
                _refuse_file_system()
            connection.execute("PRAGMA wal_autocheckpoint=16000")
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                connection.executescript(
                    f"BEGIN IMMEDIATE; {_SCHEMA}; PRAGMA user_version=1; COMMIT;"
                )
        except sqlite3.OperationalError as error:
            # Changing the journal mode does not wait for others, whatever the timeout says.
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            time.sleep(0.01)
        else:
            return


def _refuse_file_system() -> NoReturn:
    msg = "the file system does not support SQLite's WAL mode"
    raise sqlite3.OperationalError(msg)


def _is_busy(error: sqlite3.Error) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    }


class _Errors:
    """Turns SQLite's errors into ours."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if not isinstance(error, sqlite3.Error | UnicodeDecodeError):
            return
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        # SQLite quotes from a damaged file what need not be text.
        unreadable = isinstance(error, UnicodeDecodeError)
        if unreadable or code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            msg = (
                f"{self.path} is damaged ({error}); remove it together with its -wal and -shm "
                "files and what it listed is computed again"
            )
            raise StoreLayoutError(msg) from error
        msg = f"{self.path} cannot be used: {error}"
        raise StoreUnavailableError(msg) from error


class Index:
    """Entries, blobs and who refers to whom, for several threads and processes at once."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        self._read_only = read_only
        self._errors = _Errors(path)
        self._opening = threading.Lock()
        self._connections: _Connections | None = None
        self._open()

    def _open(self) -> _Connections:
        connections = self._connections
        if connections is not None and connections.pid == os.getpid():
            return connections
        if connections is not None:
            _inherited.append(connections)
            self._connections = None
        with self._opening:
            if self._connections is None:
                with self._errors:
                    fresh = _Connections(self._path, self._read_only)
                weakref.finalize(self, fresh.close)
                self._connections = fresh
            return self._connections

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
        with self._errors, self._open().reading() as connection:
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
            "SELECT digest, data FROM entries WHERE op = ? AND target IS NULL "
            "ORDER BY created DESC, rowid DESC LIMIT ?"
        )
        connections = self._open()
        with self._errors, connections.read_lock:
            return connections.reader.execute(sql, (op, limit)).fetchall()

    def generation(self) -> int:
        """Return a number that changes when another process commits."""
        connections = self._open()
        with self._errors, connections.write_lock:
            return int(connections.writer.execute("PRAGMA data_version").fetchone()[0])

    def total_size(self) -> int:
        """Return the bytes of all entries and blobs."""
        sql = "SELECT (SELECT total(size) FROM entries) + (SELECT total(size) FROM blobs)"
        connections = self._open()
        with self._errors, connections.read_lock:
            return int(connections.reader.execute(sql).fetchone()[0])

    # --- writing ---

    def transaction(self) -> Transaction:
        """Return a context in which several statements are one, and other writers wait."""
        return Transaction(self._open(), self._errors)

    def write(self, rows: Sequence[EntryRow], *, beside_others: bool = False) -> bool:
        """Write entries; False, and nothing is written, if a blob that they name is not listed.

        Parameters
        ----------
        rows
            The entries.
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
        if len(rows) == 1 and not refs:
            connections = self._open()
            with self._errors, connections.write_lock:
                connections.writer.execute(_INSERT + _ROW, values[0])
            return True
        with self.transaction() as sql:
            for _, blob in refs:
                if not sql.execute("SELECT 1 FROM blobs WHERE blob = ?", (blob,)).fetchone():
                    return False
            sql.executemany("INSERT OR IGNORE INTO refs VALUES (?, ?)", refs)
            if beside_others:
                _insert_many_at_once(sql, values)
            else:
                sql.executemany(_INSERT + _ROW, values)
        return True

    def list_blobs(self, blobs: Iterable[tuple[BlobId, int]]) -> None:
        """List blobs that are about to be written, or are written once more."""
        now = time.time_ns()
        with self.transaction() as sql:
            sql.executemany(
                "INSERT INTO blobs VALUES (?, ?, ?) "
                "ON CONFLICT (blob) DO UPDATE SET size = excluded.size, written = excluded.written",
                [(blob, size, now) for blob, size in blobs],
            )

    def delete(self, digests: Collection[bytes]) -> int:
        """Delete entries and return how many there were."""
        with self.transaction() as sql:
            return sum(delete_entry(sql, digest) for digest in digests)

    def delete_op(self, op: str) -> int:
        """Delete all entries of an op and return how many there were."""
        with self.transaction() as sql:
            rows = sql.execute("SELECT digest FROM entries WHERE op = ?", (op,)).fetchall()
            return sum(delete_entry(sql, digest) for (digest,) in rows)

    def delete_same(self, digest: bytes, data: bytes) -> bool:
        """Delete an entry if its payload is still this one."""
        with self.transaction() as sql:
            row = sql.execute("SELECT data FROM entries WHERE digest = ?", (digest,)).fetchone()
            return row is not None and row[0] == data and bool(delete_entry(sql, digest))

    def mark_used(self, digests: Collection[bytes]) -> None:
        """Note that entries were used now."""
        now = time.time_ns()
        with self.transaction() as sql:
            sql.executemany(
                "UPDATE entries SET used = ? WHERE digest = ?",
                [(now, digest) for digest in digests],
            )


def _insert_many_at_once(sql: sqlite3.Connection, rows: Sequence[tuple[object, ...]]) -> None:
    start = 0
    for size in _ROWS_AT_ONCE:
        statement = _INSERT + ", ".join([_ROW] * size)
        while len(rows) - start >= size:
            sql.execute(statement, list(chain.from_iterable(rows[start : start + size])))
            start += size


class Transaction:
    """A write transaction; it is rolled back if its body raises."""

    __slots__ = ("_connections", "_errors")

    def __init__(self, connections: _Connections, errors: _Errors) -> None:
        self._connections = connections
        self._errors = errors

    def __enter__(self) -> sqlite3.Connection:
        self._connections.write_lock.acquire()
        try:
            with self._errors:
                # At once: a transaction that starts by reading could not wait for a writer later.
                self._connections.writer.execute("BEGIN IMMEDIATE")
        except BaseException:
            self._connections.write_lock.release()
            raise
        return self._connections.writer

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        writer = self._connections.writer
        try:
            with self._errors:
                if error is None:
                    writer.execute("COMMIT")
                elif isinstance(error, sqlite3.Error | UnicodeDecodeError):
                    raise error
        finally:
            try:
                if writer.in_transaction:
                    writer.execute("ROLLBACK")
            finally:
                self._connections.write_lock.release()


def delete_entry(sql: sqlite3.Connection, digest: bytes) -> int:
    """Delete an entry within a transaction and return whether it was there."""
    sql.execute("DELETE FROM refs WHERE digest = ?", (digest,))
    return sql.execute("DELETE FROM entries WHERE digest = ?", (digest,)).rowcount
