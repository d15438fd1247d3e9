"""Hash input files, and remember the hashes while the files stay as they are.

A remembered hash is keyed by device, inode, size and both change times; that of a URL by the
version that its server gives. Files that changed less than two seconds before they were hashed are
never remembered: a second change could leave all of these as they are.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import threading
import time
from collections import OrderedDict
from contextlib import closing
from pathlib import Path
from typing import Any

from invariant_dask.core.digest import BlobId, blob_id_of_leaves, sha256
from invariant_dask.core.files import File, FileContent
from invariant_dask.store.file_sources import (
    chunks_at,
    chunks_of,
    hash_chunks,
    is_remote,
    local_path,
    opened,
    stamp_of,
    stamp_of_path,
    unreadable,
    version_of,
)

logger = logging.getLogger(__name__)

SETTLED_NS = 2_000_000_000
"""How old a change must be, in nanoseconds, before a hash is remembered."""

_ATTEMPTS = 3
_UNSTEADY = "it keeps changing while it is read; wait until it is complete"
_LEAVES_KEPT = 1024


class FileHasher:
    """Hashes input files, and remembers.

    Parameters
    ----------
    memory : path, optional
        An SQLite file to remember hashes in; without it they last as long as the process.

    Notes
    -----
    Memory is bounded, whatever the size of files. Safe to use from several threads and processes.
    Where the SQLite file cannot be used, files are hashed again; a warning is logged once.
    """

    def __init__(self, memory: str | os.PathLike[str] | None = None) -> None:
        self._path = None if memory is None else str(Path(memory).absolute())
        self._known: dict[bytes, tuple[int, BlobId]] = {}
        self._leaves: OrderedDict[BlobId, list[bytes]] = OrderedDict()
        self._lock = threading.Lock()
        self._warned = False

    def __reduce__(self) -> tuple[Any, ...]:
        return FileHasher, (self._path,)

    def __call__(self, file: File) -> FileContent:
        """Return what a file holds.

        Raises
        ------
        FileInputError
            If it is absent, no regular file, unreadable, or changes while it is read.
        """
        location = file.location
        try:
            location.encode()
        except UnicodeEncodeError:
            raise unreadable(location, "its name is not valid UTF-8; rename it") from None
        if is_remote(location):
            length, blob = self.remote(location)
        else:
            location = str(Path(os.path.expanduser(local_path(location))).absolute())  # noqa: PTH111
            length, blob = self.local(location)
        return FileContent(length, blob, file.visible_suffix, location)

    def local(self, path: str) -> tuple[int, BlobId]:
        """Return length and tree hash of a local file."""
        found = self._recall(_key(*stamp_of_path(path)))
        if found is not None:
            return found
        for _ in range(_ATTEMPTS):
            with opened(path) as file:
                # The clock before the stamp, both before the first byte: whatever changes the
                # file from here on gets a time that a settled stamp does not have.
                now = time.time_ns()
                before = stamp_of(os.fstat(file.fileno()))
                length, leaves = hash_chunks(chunks_of(file))
                after = stamp_of(os.fstat(file.fileno()))
            if before == after and length == before[2]:
                blob = blob_id_of_leaves(length, leaves)
                if now - max(before[3:]) > SETTLED_NS:
                    self._remember(_key(*before), length, blob)
                return length, blob
        raise unreadable(path, _UNSTEADY)

    def remote(self, url: str) -> tuple[int, BlobId]:
        """Return length and tree hash of what is behind a URL."""
        for _ in range(_ATTEMPTS):
            before = version_of(url)
            found = None if before is None else self._recall(_key(url, before))
            if found is not None:
                return found
            length, leaves = hash_chunks(chunks_at(url))
            blob = blob_id_of_leaves(length, leaves)
            if before is None:
                return length, blob
            if version_of(url) == before:
                self._remember(_key(url, before), length, blob)
                return length, blob
        raise unreadable(url, _UNSTEADY)

    def leaves(self, content: FileContent) -> list[bytes] | None:
        """Return the leaf hashes of a file, or None if it does not hold that content."""
        # Kept under the id that they hash to, so no file has to be trusted for them.
        with self._lock:
            if content.blob in self._leaves:
                self._leaves.move_to_end(content.blob)
                return self._leaves[content.blob]
        length, leaves = hash_chunks(chunks_at(content.location))
        if blob_id_of_leaves(length, leaves) != content.blob:
            return None
        with self._lock:
            self._leaves[content.blob] = leaves
            while len(self._leaves) > _LEAVES_KEPT:
                self._leaves.popitem(last=False)
        return leaves

    def _recall(self, key: bytes) -> tuple[int, BlobId] | None:
        found = self._known.get(key)
        if found is None and self._path is not None:
            row = self._query("SELECT length, blob, proof FROM hashes WHERE key = ?", key)
            if row is not None and row[2] == _proof(key, row[0], row[1]):
                found = self._known[key] = (row[0], BlobId(row[1]))
        return found

    def _remember(self, key: bytes, length: int, blob: BlobId) -> None:
        self._known[key] = (length, blob)
        if self._path is not None:
            insert = "INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?)"
            self._query(insert, key, length, blob, _proof(key, length, blob))

    def _query(self, statement: str, *values: bytes | int) -> tuple[Any, ...] | None:
        assert self._path is not None
        try:
            # A connection for each use: none to carry over a fork, into a pickle or a thread.
            with self._lock, closing(sqlite3.connect(self._path, timeout=10)) as memory, memory:
                # Rows prove themselves: a power cut may cost them, so no commit waits for a disk.
                memory.execute("PRAGMA synchronous = OFF")
                memory.execute(
                    "CREATE TABLE IF NOT EXISTS hashes"
                    " (key PRIMARY KEY, length, blob, proof) WITHOUT ROWID"
                )
                row: tuple[Any, ...] | None = memory.execute(statement, values).fetchone()
                return row
        except sqlite3.Error as error:
            if not self._warned:
                self._warned = True
                text = "%s: hashes of input files are not remembered (%s)"
                logger.warning(text, self._path, error)
            return None


def _key(*parts: int | str) -> bytes:
    # Hashed: inodes may not fit an SQLite integer, and URLs may hold secrets.
    return sha256(repr(parts).encode()).digest()


def _proof(key: object, length: object, blob: object) -> bytes:
    return hashlib.blake2b(repr((key, length, blob)).encode(), digest_size=16).digest()
