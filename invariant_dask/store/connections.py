"""The SQLite connections of a disk store's index: opening, locks, transactions, errors."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NoReturn, TypeVar

from invariant_dask.errors import StoreLayoutError, StoreUnavailableError

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
_BUSY_SECONDS = 60.0

T = TypeVar("T")


class Connections:
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

    def to_read(self) -> tuple[threading.Lock, sqlite3.Connection]:
        """Return a connection to read with, and its lock: the writing one if it seems to be free.

        It knows what it wrote, while each commit makes the other one forget what it had read.
        """
        if self.write_lock.locked():
            return self.read_lock, self.reader
        return self.write_lock, self.writer

    def transact(self, body: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function in a write transaction, which is rolled back if it raises.

        An interrupt may come between any two steps. The `with` of a lock is a single one, and a
        transaction that was left open is rolled back by whoever comes next.
        """
        with self.write_lock:
            writer = self.writer
            roll_back(writer)
            try:
                # At once: a transaction that starts by reading could not wait for a writer later.
                writer.execute("BEGIN IMMEDIATE")
                result = body(writer)
                writer.execute("COMMIT")
            finally:
                roll_back(writer)
            return result

    def close(self) -> None:
        # A child process must not touch connections of its parent, not even to close them.
        if self.pid == os.getpid():
            with self.read_lock:
                self.reader.close()
            with self.write_lock:
                self.writer.close()


def roll_back(connection: sqlite3.Connection) -> None:
    """Undo a transaction that was left open."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


# Connections that came along through a fork. Closing them could take the files of the parent
# away under it, so they are kept from being collected.
inherited: list[Connections] = []


def _connect_to_read(path: Path) -> sqlite3.Connection:
    where = path.as_uri() + "?mode=ro"
    try:
        return _connect(where)
    except sqlite3.OperationalError:
        # SQLite would make files beside it, to agree with writers; where it cannot, nobody must
        # write while we read. Those who do leave a log with something in it.
        with contextlib.suppress(FileNotFoundError):
            if Path(f"{path}-wal").stat().st_size:
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
            roll_back(connection)
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


class Errors:
    """Turns SQLite's errors into ours.

    Parameters
    ----------
    path
        The database.
    why
        Why it cannot be written, if it cannot.
    """

    __slots__ = ("path", "why")

    def __init__(self, path: Path, why: str = "") -> None:
        self.path = path
        self.why = why

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
        reason = self.why if self.why and code == sqlite3.SQLITE_READONLY else error
        msg = f"{self.path} cannot be used: {reason}"
        raise StoreUnavailableError(msg) from error
