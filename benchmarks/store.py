"""Small artifacts in a disk store, beside bare SQLite with the same bytes, in the same run.

    python -m benchmarks.store [--rows N] [--repeat R] [--json FILE]

Bare SQLite inserts the very rows that our store wrote, into the same tables and indexes, with the
same pragmas and the same number of rows in a transaction; it reads them back with `SELECT ... IN`.
Ours also encodes, hashes and verifies what it writes and reads. Cases take turns; figures are
medians, in microseconds of wall time for each artifact: a record and its planned entry.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from invariant_dask import DiskStore
from invariant_dask.core.digest import PlannedDigest, sha256
from invariant_dask.core.encode import encode
from invariant_dask.store import connections
from invariant_dask.store.record import About
from invariant_dask.testing import sample_manifest

INSERT = "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)"
ABOUT = About("sample:op", "node", "run", "writer", 1234, 1)
SELECT_CHUNK = 500
GROUP_SECONDS = 0.008

Rows = list[tuple[Any, ...]]


class Item(NamedTuple):
    """An artifact about to be put."""

    value: Any
    manifest: bytes
    planned: PlannedDigest


def items(rows: int, start: int = 0) -> list[Item]:
    """Return small artifacts, all different."""
    return [
        Item(number, sample_manifest(n=number), PlannedDigest(sha256(b"%d" % number).digest()))
        for number in range(start, start + rows)
    ]


def put_all(store: DiskStore, work: Iterable[Item]) -> None:
    """Put artifacts as a worker does."""
    for item in work:
        store.publish(
            encode(item.value), item.manifest, kind="int", about=ABOUT, planned=item.planned
        )


def rows_of(store: DiskStore) -> Rows:
    """Return what a store wrote, in the order in which it did."""
    with sqlite3.connect(Path(store.url) / "index.sqlite") as database:
        return database.execute("SELECT * FROM entries ORDER BY rowid").fetchall()


def bare(path: Path) -> sqlite3.Connection:
    """Return an empty database with the tables, indexes and pragmas of ours."""
    database = connections._connect(path)
    connections._prepare(database)
    return database


def insert_all(database: sqlite3.Connection, rows: Rows, at_once: int) -> None:
    """Insert rows with so many in a transaction."""
    for start in range(0, len(rows), at_once):
        database.execute("BEGIN IMMEDIATE")
        database.executemany(INSERT, rows[start : start + at_once])
        database.execute("COMMIT")


def insert_in_groups(database: sqlite3.Connection, rows: Rows) -> None:
    """Insert rows in pairs, as they come, in transactions of as long as ours wait."""
    at = 0
    while at < len(rows):
        database.execute("BEGIN IMMEDIATE")
        until = time.monotonic() + GROUP_SECONDS
        while at < len(rows) and time.monotonic() < until:
            database.executemany(INSERT, rows[at : at + 2])
            at += 2
        database.execute("COMMIT")


def select_all(database: sqlite3.Connection, digests: list[bytes]) -> int:
    """Read rows by their digests."""
    found = 0
    for start in range(0, len(digests), SELECT_CHUNK):
        chunk = digests[start : start + SELECT_CHUNK]
        marks = ",".join("?" * len(chunk))
        query = f"SELECT digest, data FROM entries WHERE digest IN ({marks})"
        found += len(database.execute(query, chunk).fetchall())
    return found


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that something takes, without the garbage collector, as `timeit` does."""
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    finally:
        gc.enable()


class Bench:
    """Cases over the same artifacts, each in folders of its own."""

    def __init__(self, folder: Path, rows: int) -> None:
        self.folder = folder
        self.names = count()
        self.items = items(rows)
        self.stored = DiskStore(self.fresh())
        with self.stored.grouping():
            put_all(self.stored, self.items)
        self.rows = rows_of(self.stored)
        assert len(self.rows) == 2 * rows
        self.resolved = [row[0] for row in self.rows if row[1] is None]
        self.planned = [row[0] for row in self.rows if row[1] is not None]
        self.database = bare(self.fresh())
        insert_all(self.database, self.rows, 1000)

    def fresh(self) -> Path:
        """Return a path where nothing is."""
        return self.folder / str(next(self.names))

    def ours_one_by_one(self) -> float:
        store = DiskStore(self.fresh())
        return timed(lambda: put_all(store, self.items))

    def bare_one_by_one(self) -> float:
        database = bare(self.fresh())
        return timed(lambda: insert_all(database, self.rows, 2))

    def ours_in_a_group(self) -> float:
        store = DiskStore(self.fresh())

        def work() -> None:
            with store.grouping():
                put_all(store, self.items)

        return timed(work)

    def bare_in_groups(self) -> float:
        database = bare(self.fresh())
        return timed(lambda: insert_in_groups(database, self.rows))

    def making(self) -> float:
        """What is no matter of SQLite: encode, build and hash the entries."""

        class Nowhere(DiskStore):
            def _write_entries(self, rows: Any) -> bool:
                return bool(rows)

        store = Nowhere(self.fresh())
        return timed(lambda: put_all(store, self.items))

    def ours_lookup(self) -> float:
        seconds = timed(lambda: self.stored.lookup(self.resolved))
        assert len(self.stored.lookup(self.resolved[:10])) == 10
        return seconds

    def bare_lookup(self) -> float:
        return timed(lambda: select_all(self.database, self.resolved))

    def ours_lookup_planned(self) -> float:
        return timed(lambda: self.stored.lookup(self.planned))

    def bare_lookup_planned(self) -> float:
        def work() -> None:
            assert select_all(self.database, self.planned) == len(self.planned)
            assert select_all(self.database, self.resolved) == len(self.resolved)

        return timed(work)

    def ours_two_writers(self) -> float:
        return two_writers(_ours_writer, self.fresh(), len(self.items))

    def bare_two_writers(self) -> float:
        return two_writers(_bare_writer, self.fresh(), len(self.items))


def two_writers(work: Callable[..., None], path: Path, rows: int) -> float:
    """Return the seconds in which two processes write half of the rows each, at once."""
    context = multiprocessing.get_context("spawn")
    ready, go = context.Barrier(3), context.Barrier(3)
    halves = [(path, rows // 2, half * (rows // 2), ready, go) for half in range(2)]
    processes = [context.Process(target=work, args=half) for half in halves]
    for process in processes:
        process.start()
    ready.wait()
    start = time.perf_counter()
    go.wait()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return time.perf_counter() - start


def _ours_writer(path: Path, rows: int, start: int, ready: Any, go: Any) -> None:
    store, work = DiskStore(path), items(rows, start)
    ready.wait()
    go.wait()
    put_all(store, work)


def _bare_writer(path: Path, rows: int, start: int, ready: Any, go: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = DiskStore(folder)
        with store.grouping():
            put_all(store, items(rows, start))
        data = rows_of(store)
    database = bare(path)
    ready.wait()
    go.wait()
    insert_all(database, data, 2)


PAIRS = [
    ("put, each on its own", "ours_one_by_one", "bare_one_by_one"),
    ("put, in a group", "ours_in_a_group", "bare_in_groups"),
    ("put by two processes, each on its own", "ours_two_writers", "bare_two_writers"),
    ("look-up by resolved digest", "ours_lookup", "bare_lookup"),
    ("look-up by planned digest, with its record", "ours_lookup_planned", "bare_lookup_planned"),
]


def measure(rows: int, repeat: int) -> dict[str, float]:
    """Return microseconds for each artifact, by case."""
    names = ["making", *(name for _, *both in PAIRS for name in both)]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), rows)
        for _ in range(repeat):
            for name in names:
                seconds[name].append(getattr(bench, name)())
    return {name: statistics.median(taken) / rows * 1e6 for name, taken in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options.rows, options.repeat)
    table = Table("case", "ours, us", "bare SQLite, us", "ratio", "without making, ratio")
    for title, ours, other in PAIRS:
        a, b = figures[ours], figures[other]
        rest = f"{(a - figures['making']) / b:.2f}" if title.startswith("put") else ""
        table.add_row(title, f"{a:.1f}", f"{b:.1f}", f"{a / b:.2f}", rest)
    console = Console()
    console.print(table)
    console.print(f"encode, build and hash an entry pair: {figures['making']:.1f} us")
    for who in ("ours", "bare"):
        alone, both = figures[f"{who}_one_by_one"], figures[f"{who}_two_writers"]
        console.print(f"two writers against one, {who}: {both / alone:.2f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
