"""A store in a folder: a SQLite index with small artifacts in it, and a file for each blob.

`store.folder` says what is where. A killed process loses nothing that it had finished and leaves no
half entry: SQLite's log brings back what was committed, a blob is renamed into place whole, and a
record is only written after its blobs. A power cut may cost the latest entries; what it damages is
found when it is read. The folder must be on a file system with working locks, which most network
file systems lack.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from invariant_dask.core.digest import BlobId
from invariant_dask.core.encode import Encoded, encode_keeping
from invariant_dask.errors import StoreLayoutError, StoreUnavailableError
from invariant_dask.store.base import Store, StoreRef
from invariant_dask.store.blob_files import MAP_FROM, BlobFiles
from invariant_dask.store.budget import read_budget
from invariant_dask.store.collecting import make_room
from invariant_dask.store.compression import check_available
from invariant_dask.store.disk_keeper import DiskKeeper
from invariant_dask.store.folder import (
    DAY,
    check_layout,
    replace_text,
    want_of_room,
    writing,
)
from invariant_dask.store.grouping import GroupCommit
from invariant_dask.store.index import Index
from invariant_dask.store.naming import aside_name
from invariant_dask.store.record import EntryRow
from invariant_dask.store.sizes import parse_size
from invariant_dask.store.spool import Spool
from invariant_dask.store.trust import DEFAULT_TERMS, Terms, check_namespace

if TYPE_CHECKING:
    from typing_extensions import Buffer

logger = logging.getLogger("invariant_dask.store")

_HOUR = 3600
_MINUTE = 60
_MARK_EVERY = 60.0
_USED_BATCH = 512
_QUARANTINE_LIMIT = 100


_living: WeakSet[DiskStore] = WeakSet()


class DiskStore(Store):
    """Keeps artifacts in a folder that many processes may use at once.

    A store in a folder that cannot be written is read, and results are not persisted.

    Parameters
    ----------
    path
        The folder; it is made if it is not there.
    size_limit
        The most bytes to keep, as a number or as text such as `"10GB"`. What was used least
        recently makes room. Without it, and without a budget that was set for the store, nothing is
        ever removed.
    leases
        Whether runs take turns with those of other clusters at making the same artifact.
    namespace
        A part of the folder that shares nothing with the rest. It is a folder too, so that its
        rights can be given to a group of people.
    terms
        Whose entries are taken, and how large artifacts may be.
    compression
        `"zstd"` compresses blobs of up to 256 MiB where that saves a tenth. Who has the library
        reads them without this option too. Arrays that are compressed are not memory-mapped.

    Raises
    ------
    SpecError
        If an option makes no sense, or the library for it is missing.
    StoreLayoutError
        If the path holds something else, or a store of another layout version.
    StoreUnavailableError
        If the folder cannot be made or read.
    """

    kind = "disk"
    has_generation = True

    def __init__(
        self,
        path: str | os.PathLike[str] = ".invariant",
        *,
        size_limit: int | str | None = None,
        leases: bool = False,
        namespace: str = "",
        terms: Terms = DEFAULT_TERMS,
        compression: str | None = None,
    ) -> None:
        super().__init__(terms)
        check_available(compression)
        self.compression = compression
        self.leases = leases
        # Absolute from the start: the working folder may change, here and in workers.
        self._root = Path(path).expanduser().absolute()
        if namespace:
            check_namespace(namespace)
            check_layout(self._root)
            self._root = self._root / "namespaces" / namespace
        self._own_limit = parse_size(size_limit)
        self._tmp = self._root / "tmp"
        self._group = GroupCommit(self._write_now, self.note_unkept, str(self._root))
        self._open()
        self._limit = self._agreed_limit()
        _living.add(self)
        self._lock = threading.Lock()
        # Where something must make room here, use is noted more finely.
        self._mark_after = (_HOUR if self._limit is None else _MINUTE) * 10**9
        self._to_mark: dict[bytes, None] = {}
        self._marked_at = time.monotonic()
        # Unknown at first: the first put looks.
        self._unaccounted: int = self._limit or 0

    def _open(self) -> None:
        writable = check_layout(self._root)
        self._spool = Spool(self._tmp)
        self._blobs = BlobFiles(self._root, self._spool, self.compression)
        self._index, full = self._open_index(writable)
        writable = writable and not full
        self._file = self._file_now() if writable else None
        self._keeper = DiskKeeper(
            self._root, self._index, self._blobs, self._group.flush,
            is_read_only=not writable, is_full=full,
        )  # fmt: skip
        self._own_token = secrets.token_hex(16)
        self._token_shown = 0.0

    def _open_index(self, writable: bool) -> tuple[Index, bool]:
        """Return the index, and whether it can only be read for want of room."""
        path = self._root / "index.sqlite"
        try:
            return Index(path, read_only=not writable), False
        except StoreUnavailableError:
            full = want_of_room(self._root) if writable and path.exists() else ""
            if not full:
                raise
            logger.warning("store %s cannot be written: %s; what it holds is used", path, full)
            return Index(path, read_only=True, why=full), True

    def settle_in(self) -> None:
        """Make the folder anew if it was removed, or replaced by another, since it was opened."""
        if self._file is None or self.is_in_place:
            return
        with self._lock:
            if not self.is_in_place:
                logger.warning("store %s was removed or replaced; it is opened again", self._root)
                # Whoever is in the middle of something ends it where nobody looks any more.
                self._open()

    @property
    def url(self) -> str:
        """The absolute path of the folder."""
        return str(self._root)

    @property
    def local_folder(self) -> Path | None:
        """The folder, if it can be written."""
        return None if self._file is None else self._root

    @property
    def size_limit(self) -> int | None:
        """The most bytes to keep."""
        return self._limit

    @property
    def is_in_place(self) -> bool:
        """Whether the folder is still as it was opened, not removed or made anew, and writable."""
        return self._file is not None and self._file_now() == self._file

    def _file_now(self) -> tuple[int, int] | None:
        try:
            found = (self._root / "index.sqlite").stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def close(self) -> None:
        self._group.flush()
        with self._lock:
            self._flush_used()
        self._index.close()

    def _after_fork(self) -> None:
        super()._after_fork()
        self._lock = threading.Lock()
        self._group.after_fork()
        self._index.after_fork()

    def _token(self) -> str:
        self.settle_in()
        return self._own_token

    def ref(self) -> StoreRef:
        return replace(super().ref(), options={"compression": self.compression})

    def _show_token(self) -> None:
        with self._lock, writing(self._root):
            # Others remove tokens that look abandoned: one in use is renewed.
            if time.time() - self._token_shown > DAY:
                limit = json.dumps({"size_limit": self._own_limit})
                replace_text(self._root / "tokens" / self._own_token, limit, self._tmp)
                self._token_shown = time.time()

    # --- entries ---

    def grouping(self) -> AbstractContextManager[None]:
        return self._group.open()

    def _read_entries(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        entries = self._group.read(digests)
        if entries:
            digests = [digest for digest in digests if digest not in entries]
            if not digests:
                return entries
        stored, stale = self._index.read(digests, time.time_ns() - self._mark_after)
        if stale:
            self._note_use(stale)
        return {**stored, **entries} if entries else stored

    def _write_entries(self, rows: Sequence[EntryRow]) -> bool:
        if not any(row.blobs for row in rows) and self._group.add(rows):
            return True
        # In the order in which they came.
        self._group.flush()
        return self._write_now(rows)

    def _write_now(self, rows: Sequence[EntryRow], beside_others: bool = False) -> bool:
        if not self._index.write(rows, is_there=self._blobs.is_there, beside_others=beside_others):
            return False
        if self._limit is not None:
            self._make_room(sum(len(row.data) for row in rows))
        return True

    def _delete_entries(self, digests: Sequence[bytes]) -> int:
        self._group.flush()
        return self._index.delete(digests)

    def _delete_op(self, op: str) -> int:
        self._group.flush()
        return self._index.delete_op(op)

    def generation(self) -> int | None:
        return self._index.generation()

    def _recent(self, op: str, limit: int) -> list[tuple[bytes, bytes]]:
        self._group.flush()
        return self._index.recent(op, limit)

    def _note_use(self, digests: Sequence[bytes]) -> None:
        with self._lock:
            self._to_mark.update(dict.fromkeys(digests))
            if (
                len(self._to_mark) >= _USED_BATCH
                or time.monotonic() - self._marked_at > _MARK_EVERY
            ):
                self._flush_used()

    def _flush_used(self) -> None:
        pending, self._to_mark = self._to_mark, {}
        self._marked_at = time.monotonic()
        if pending:
            try:
                self._index.mark_used(pending)
            except StoreUnavailableError as error:
                # A full disk must not keep anybody from reading.
                logger.info("%s: cannot note what was used: %s", self._root, error)

    def _make_room(self, written: int) -> None:
        assert self._limit is not None
        with self._lock:
            # Counting is a scan, and other processes write too: once per 1/32 of the limit.
            self._unaccounted += written
            if self._unaccounted < self._limit // 32:
                return
            self._unaccounted = 0
            self._flush_used()
        make_room(self, self._keeper, self._limit)

    def _agreed_limit(self) -> int | None:
        """Return the smaller one of our own limit and the one that was set for the store."""
        try:
            budget = read_budget(self._keeper).max_size
        except StoreLayoutError as error:
            # Who sets it anew has to open the store.
            logger.warning("%s: its budget is not kept: %s", self._root, error)
            budget = None
        limits = self._own_limit, budget
        return min((limit for limit in limits if limit is not None), default=None)

    def keeper(self) -> DiskKeeper:
        return self._keeper

    # --- blobs ---

    def encode(self, value: object) -> Encoded:
        # Large arrays are written while they are hashed. Nobody sees them until the artifact is
        # published, and they go if it is not.
        return encode_keeping(value, self._keep)

    def _keep(self, view: memoryview) -> tuple[BlobId, memoryview] | None:
        return self._spool.add(view) if len(view) >= MAP_FROM else None

    def _read_blob(self, blob: BlobId, length: int) -> Buffer | None:
        return self._blobs.read(blob, length)

    def _write_blobs(self, blobs: Mapping[BlobId, Buffer]) -> None:
        views = {blob: memoryview(data).cast("B") for blob, data in blobs.items()}
        # Listed before anyone looks whether the file is there: see `disk_keeper`.
        self._index.list_blobs((blob, len(view)) for blob, view in views.items())
        written = 0
        other_sizes = []
        for blob, view in views.items():
            size = self._blobs.same(blob, view)
            if size is None:
                size = self._blobs.write(blob, view)
                written += size
            if size != len(view):
                other_sizes.append((blob, size))
        if other_sizes:
            self._index.correct_sizes(other_sizes)
        with self._lock:
            self._unaccounted += written

    def _has_blobs(self, blobs: Collection[tuple[BlobId, int]]) -> set[BlobId]:
        return {blob for blob, length in blobs if self._blobs.has(blob, length)}

    def _why_unread(self, blob: BlobId) -> str:
        return self._blobs.why_unread(blob)

    def _length_of_blob(self, blob: BlobId) -> int | None:
        return self._blobs.length_of(blob)

    # --- damage ---

    def _quarantine_entry(self, digest: bytes, data: bytes) -> None:
        self._group.flush()
        if self._index.delete_same(digest, data):
            try:
                self._aside(digest, "entry").write_bytes(data)
            except OSError as error:
                logger.info("%s: cannot keep a damaged entry: %s", self._root, error)

    def _quarantine_blob(self, blob: BlobId) -> None:
        with writing(self._root), contextlib.suppress(FileNotFoundError):
            path = self._blobs.find(blob)
            path.replace(self._aside(blob, f"blob{path.suffix}"))

    def _keep_report(self, name: bytes, what: str, report: Mapping[str, str]) -> None:
        with writing(self._root):
            found = (self._root / "quarantine").glob(f"*-{name.hex()}.{what}*")
            kept = sorted(path for path in found if path.suffix != ".json")
            if kept:  # else it was replaced by a good one meanwhile
                text = json.dumps(report, indent=1)
                kept[-1].with_name(f"{kept[-1].name}.json").write_text(text)

    def _aside(self, name: bytes, what: str) -> Path:
        folder = self._root / "quarantine"
        folder.mkdir(exist_ok=True)
        kept = sorted(path for path in folder.iterdir() if path.suffix != ".json")
        for path in kept[: max(0, len(kept) - _QUARANTINE_LIMIT + 1)]:
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}.json").unlink(missing_ok=True)
        return folder / aside_name(name, what, time.time_ns())


def _commit_all() -> None:
    # An interrupt may have kept a group from being committed at its end.
    for store in list(_living):
        store._group.flush()  # noqa: SLF001


atexit.register(_commit_all)
