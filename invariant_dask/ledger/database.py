"""The SQLite file of the run history: its tables, connections, transactions and errors.

Readers open it for each question, beside whoever writes; a writer keeps its connection.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from invariant_dask.errors import LedgerLayoutError, LedgerUnavailableError

SCHEMA = 1

# Runs have a number of their own, so that rows of nodes need not repeat their ids. Digests are
# blobs. The index of durations holds all that it is asked for.
_TABLES = """
CREATE TABLE flow_runs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    graph TEXT NOT NULL,
    document TEXT NOT NULL,
    outputs TEXT NOT NULL,      -- JSON, as are tags, context and counts
    tags TEXT NOT NULL,
    policy TEXT NOT NULL,
    context TEXT NOT NULL,
    writer TEXT NOT NULL,
    store TEXT NOT NULL,
    state TEXT NOT NULL,
    started INTEGER NOT NULL,   -- nanoseconds since 1970, as are all times here
    ended INTEGER NOT NULL,
    seconds REAL NOT NULL,
    counts TEXT NOT NULL,
    saved REAL NOT NULL,
    busy REAL NOT NULL,
    error TEXT NOT NULL
);
CREATE INDEX runs_by_time ON flow_runs (started);
CREATE INDEX runs_of_graph ON flow_runs (graph, started);
CREATE INDEX runs_in_state ON flow_runs (state, started);
CREATE TABLE run_tags (
    tag TEXT NOT NULL,
    run INTEGER NOT NULL,
    PRIMARY KEY (tag, run)
) WITHOUT ROWID;
CREATE TABLE node_runs (
    run INTEGER NOT NULL,
    node TEXT NOT NULL,
    digest BLOB NOT NULL,
    op TEXT NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    decision TEXT NOT NULL,
    why TEXT NOT NULL,
    resolved BLOB NOT NULL,
    artifact BLOB NOT NULL,
    type TEXT NOT NULL,
    size INTEGER NOT NULL,
    tier TEXT NOT NULL,
    by TEXT NOT NULL,
    kept INTEGER NOT NULL,
    nanoseconds INTEGER NOT NULL,
    saved INTEGER NOT NULL,
    worker TEXT NOT NULL,
    started INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    because TEXT NOT NULL,
    error TEXT NOT NULL,
    PRIMARY KEY (run, node)
) WITHOUT ROWID;
CREATE INDEX calls_of_op ON node_runs (op, ended, nanoseconds) WHERE state = 'ran';
CREATE INDEX runs_of_op ON node_runs (op, run);
CREATE INDEX runs_of_node ON node_runs (node, run);
CREATE INDEX runs_of_digest ON node_runs (digest, run);
CREATE TABLE events (
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    time INTEGER NOT NULL,
    kind TEXT NOT NULL,
    node TEXT NOT NULL,
    PRIMARY KEY (run, seq)
) WITHOUT ROWID;
"""
_BUSY_SECONDS = 60.0

T = TypeVar("T")

# A child process must not close what it inherits: SQLite could take the files of the parent away
# under it. So connections are kept from being collected until their own process closes them.
_open: dict[int, sqlite3.Connection] = {}


class Writer:
    """A connection that writes; the file and its tables are made if they are not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pid = os.getpid()
        with errors(path):
            self._connection = _connect(path)
            _open[id(self._connection)] = self._connection
            try:
                _prepare(self._connection, path)
            except BaseException:
                self.close()
                raise

    def transact(self, body: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function in a transaction, which is rolled back if it raises."""
        connection = self._connection
        with errors(self.path):
            try:
                # At once: one that starts by reading could not wait for a writer later.
                connection.execute("BEGIN IMMEDIATE")
                result = body(connection)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        return result

    def close(self) -> None:
        """Close the connection; in a child process of the one that opened it, do nothing."""
        if self._pid == os.getpid() and _open.pop(id(self._connection), None) is not None:
            self._connection.close()


def read(path: Path, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """Return the rows that a query gives; none if there is no such file."""
    with errors(path):
        try:
            connection = _connect_to_read(path)
        except sqlite3.OperationalError:
            if not path.exists():
                return []
            raise
        with closing(connection):
            if _version(connection, path) == 0:  # made just now, and yet without tables
                return []
            return connection.execute(sql, values).fetchall()


def _connect_to_read(path: Path) -> sqlite3.Connection:
    where = path.absolute().as_uri() + "?mode=ro"
    try:
        return _checked(_connect(where), path)
    except sqlite3.OperationalError:
        # SQLite would make files beside it, to agree with writers; where it cannot, as on a full
        # disk, others cannot either. What a writer left in its log must not be passed over.
        if not path.exists() or _size(Path(f"{path}-wal")):
            raise
        return _checked(_connect(where + "&immutable=1"), path)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _checked(connection: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    try:
        _version(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(where: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        where, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False,
        uri=isinstance(where, str),
    )  # fmt: skip
    try:
        # No sync per commit: a killed process loses nothing, a power cut perhaps the latest.
        connection.execute("PRAGMA synchronous=NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            if connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
                _refuse_file_system()
            connection.execute("PRAGMA wal_autocheckpoint=4000")
            if _version(connection, path) == 0:
                _make_tables(connection, path)
        except sqlite3.OperationalError as error:
            # Changing the journal mode does not wait for others, whatever the timeout says.
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _refuse_file_system() -> NoReturn:
    msg = "the file system does not support SQLite's WAL mode"
    raise sqlite3.OperationalError(msg)


def _make_tables(connection: sqlite3.Connection, path: Path) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
        if _version(connection, path) == 0:  # nobody was faster
            for statement in _TABLES.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={SCHEMA}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version not in {0, SCHEMA}:
        msg = (
            f"{path} has version {version}, and this invariant-dask knows version {SCHEMA}; use "
            "the version that made it, or another ledger (--ledger, INVARIANT_LEDGER)"
        )
        raise LedgerLayoutError(msg)
    return version


def _is_busy(error: sqlite3.Error) -> bool:
    return _code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _code(error: object) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors in this block into ours."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        damaged = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
        # SQLite quotes from a damaged file what need not be text; tables that lack are damage too.
        if isinstance(error, UnicodeDecodeError) or _code(error) in damaged:
            msg = (
                f"{path} is damaged ({error}); remove it together with its -wal and -shm files: "
                "the journals beside it still tell of each run (runs replay)"
            )
            raise LedgerLayoutError(msg) from error
        raise LedgerUnavailableError(f"{path} cannot be used: {error}") from error
