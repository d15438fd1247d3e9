"""Looking after a store in a folder: what is asked of its index and files for that.

A writer lists its blobs in the index before it looks whether their files are there, and its entry
is refused if they are listed no more, or listed by another writer who has yet to write them anew.
A file goes while the transaction that takes it off the list holds the write lock, and the entry is
written in such a transaction too, so no record ever names what is gone.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from invariant_dask.core.digest import BlobId
from invariant_dask.errors import StoreUnavailableError
from invariant_dask.store.blob_files import BlobFiles
from invariant_dask.store.index import Index, delete_entry
from invariant_dask.store.keeper import NOTE_LIMIT, Keeper, Note, SeenAside, SeenBlob, SeenEntry
from invariant_dask.store.naming import parse_aside
from invariant_dask.store.record import has_signature
from invariant_dask.store.sizes import DAY, HOUR

_CHUNK = 2000
_AT_A_TIME = 16
_ENTRIES = """
SELECT rowid, digest, size, op, target, created, used, substr(data, 33, 40) FROM entries
WHERE rowid > ? ORDER BY rowid LIMIT ?"""
# What a record that was replaced named, and the one that is there now does not.
_STALE = """
SELECT digest, blob FROM refs WHERE NOT EXISTS (
    SELECT 1 FROM entries e WHERE e.digest = refs.digest AND instr(e.data, refs.blob) > 0)"""


class DiskKeeper(Keeper):
    """Looks after a folder.

    Parameters
    ----------
    root
        The folder.
    index
        Its index.
    blobs
        Its files of blobs.
    flush
        Commits what this process has not committed yet.
    is_read_only
        Whether the folder cannot be written.
    is_full
        Whether that is because there is no room.
    clock
        Nanoseconds since 1970; everything in the folder was written by this machine's clock.
    """

    grace = HOUR
    blob_grace = 0
    notes_use = True

    def __init__(
        self,
        root: Path,
        index: Index,
        blobs: BlobFiles,
        flush: Callable[[], None],
        *,
        is_read_only: bool = False,
        is_full: bool = False,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._root = root
        self._blobs = blobs
        self._tmp = root / "tmp"
        self._index = index
        self._flush = flush
        self.is_read_only = is_read_only
        self.is_full = is_full
        self.clock = clock

    def now(self) -> int:
        return self.clock()

    def settle(self) -> None:
        self._flush()

    # --- entries and blobs ---

    def entries(self) -> Iterator[SeenEntry]:
        index = self._index
        stale = index.select(_STALE)
        if stale and not self.is_read_only:
            index.transact(lambda sql: _forget_references(sql, stale))
        named: defaultdict[bytes, list[BlobId]] = defaultdict(list)
        for digest, blob in index.select("SELECT digest, blob FROM refs"):
            named[digest].append(BlobId(blob))
        last = 0
        while rows := index.select(_ENTRIES, (last, _CHUNK)):
            for last, digest, size, op, target, created, used, head in rows:
                blobs = tuple(named.get(digest, ()))
                mark = last, used
                signed = has_signature(head, size)
                yield SeenEntry(
                    digest, size, op, target, created, used, blobs, mark=mark, signed=signed
                )

    def blobs(self) -> Iterator[SeenBlob]:
        listed = self._index.select("SELECT blob, size, written FROM blobs")
        with _reading(self._root):
            files = {blob: (size, written) for blob, size, written in self._blobs.listed()}
        for blob, size, written in listed:
            is_there = files.pop(blob, None) is not None
            yield SeenBlob(BlobId(blob), size if is_there else 0, written, "listed", is_there)
        for blob, (size, written) in files.items():
            yield SeenBlob(blob, size, written, "unlisted")

    def is_there(self, blob: BlobId) -> bool:
        with _reading(self._root):
            return self._blobs.is_there(blob)

    def claims_on(self, record: bytes, op: str) -> list[bytes]:  # noqa: ARG002
        sql = "SELECT digest FROM entries WHERE target = ? ORDER BY created DESC"
        return [digest for (digest,) in self._index.select(sql, (record,))]

    def size(self) -> int | None:
        return self._index.total_size()

    def renew(self, digests: Sequence[bytes]) -> None:
        self._index.mark_used(digests)

    def remove_entries(self, seen: Sequence[SeenEntry]) -> list[SeenEntry]:
        def remove(sql: sqlite3.Connection) -> list[SeenEntry]:
            gone = []
            for entry in seen:
                row = sql.execute(
                    "SELECT rowid, used FROM entries WHERE digest = ?", (entry.digest,)
                ).fetchone()
                if row == entry.mark:
                    delete_entry(sql, entry.digest)
                    gone.append(entry)
            return gone

        return self._index.transact(remove)

    def remove_blobs(self, seen: Sequence[SeenBlob]) -> list[SeenBlob]:
        def remove(sql: sqlite3.Connection) -> list[SeenBlob]:
            return [blob for blob in seen if self._take_off(sql, blob) and self._unlink(blob)]

        return self._index.transact(remove)

    def make_way(self, blobs: Sequence[BlobId]) -> list[BlobId]:
        gone: list[BlobId] = []
        with _reading(self._root):
            for path in _inside(self._root / "quarantine"):
                path.unlink(missing_ok=True)
            for at in range(0, len(blobs), _AT_A_TIME):
                if self._index.try_to_write():
                    break
                for blob in blobs[at : at + _AT_A_TIME]:
                    self._blobs.remove(blob)
                    gone.append(blob)
        if self._index.try_to_write():
            self.is_read_only = self.is_full = False
        return gone

    def _take_off(self, sql: sqlite3.Connection, seen: SeenBlob) -> bool:
        if seen.mark == "unlisted":
            return not sql.execute("SELECT 1 FROM blobs WHERE blob = ?", (seen.blob,)).fetchone()
        deleted = sql.execute(
            "DELETE FROM blobs WHERE blob = ?1 AND written = ?2 "
            "AND NOT EXISTS (SELECT 1 FROM refs WHERE blob = ?1)",
            (seen.blob, seen.written),
        )
        return deleted.rowcount > 0

    def _unlink(self, seen: SeenBlob) -> bool:
        with _reading(self._root):
            self._blobs.remove(seen.blob)
        return True

    def tidy(self, alive: Collection[bytes], before: int) -> None:  # noqa: ARG002
        limit = min(before, self.now() - DAY)
        with _reading(self._root):
            for folder in ("tmp", "leases"):
                for path in _inside(self._root / folder):
                    with contextlib.suppress(FileNotFoundError):
                        if path.stat().st_mtime_ns < limit:
                            path.unlink()

    def aside(self) -> list[SeenAside]:
        found = []
        with _reading(self._root):
            for path in _inside(self._root / "quarantine"):
                named = parse_aside(path.name)
                if named is not None:
                    since, digest, what = named
                    size = _size(path) + _size(_report_of(path))
                    found.append(SeenAside(digest, what, size, since, path))
        return found

    def remove_aside(self, seen: Sequence[SeenAside]) -> None:
        with _reading(self._root):
            for each in seen:
                assert isinstance(each.mark, Path), each
                each.mark.unlink(missing_ok=True)
                _report_of(each.mark).unlink(missing_ok=True)

    def path_of(self, blob: BlobId) -> Path:
        return self._blobs.find(blob)

    def length_of(self, seen: SeenBlob) -> int:
        return self._blobs.length_of(seen.blob) or seen.size

    # --- notes ---

    def notes(self, folder: str) -> list[Note]:
        with _reading(self._root):
            names = [path.name for path in _inside(self._root / folder)]
        found = (self.read_note(folder, name) for name in names)
        return [note for note in found if note is not None]

    def read_note(self, folder: str, name: str) -> Note | None:
        with _reading(self._root):
            try:
                with (self._root / folder / name).open("rb") as file:
                    found = os.fstat(file.fileno())
                    data = file.read(NOTE_LIMIT)
            except (FileNotFoundError, NotADirectoryError):
                return None
        return Note(name, data, found.st_mtime_ns, (found.st_ino, found.st_mtime_ns))

    def write_note(self, folder: str, name: str, data: bytes) -> None:
        self._put(folder, name, data, os.replace)

    def create_note(self, folder: str, name: str, data: bytes) -> bool:
        try:
            self._put(folder, name, data, _link)
        except FileExistsError:
            return False
        return True

    def _put(
        self, folder: str, name: str, data: bytes, publish: Callable[[str, str], object]
    ) -> None:
        partial = os.path.join(self._tmp, secrets.token_hex(16))  # noqa: PTH118  runs wait for it
        path = os.path.join(self._root, folder, name)  # noqa: PTH118
        now = self.now()
        with _reading(self._root):
            try:
                with open(partial, "xb") as file:  # noqa: PTH123
                    file.write(data)
                # The clock of the file system ticks more slowly than the one of the index.
                os.utime(partial, ns=(now, now))
                try:
                    publish(partial, path)
                except FileNotFoundError:
                    Path(path).parent.mkdir(exist_ok=True)
                    publish(partial, path)
            except BaseException:
                Path(partial).unlink(missing_ok=True)
                raise

    def drop_note(self, folder: str, name: str) -> None:
        with _reading(self._root), contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._root, folder, name))  # noqa: PTH108, PTH118

    def remove_note(self, folder: str, note: Note) -> bool:
        now = self.read_note(folder, note.name)
        if now is None or now.mark != note.mark:
            return False
        with _reading(self._root):
            (self._root / folder / note.name).unlink(missing_ok=True)
        return True


def _report_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _link(partial: str, path: str) -> None:
    os.link(partial, path)
    os.unlink(partial)  # noqa: PTH108


def _forget_references(sql: sqlite3.Connection, stale: Sequence[tuple[bytes, bytes]]) -> None:
    # The record may have been replaced once more: only what still does not name the blob.
    sql.executemany(
        "DELETE FROM refs WHERE digest = ?1 AND blob = ?2 AND NOT EXISTS ("
        "SELECT 1 FROM entries WHERE digest = ?1 AND instr(data, ?2) > 0)",
        stale,
    )


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


@contextlib.contextmanager
def _reading(root: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, StoreUnavailableError):
        raise
    except OSError as error:
        raise StoreUnavailableError(f"store {root} cannot be used: {error}") from error
