"""Input files: what they hold, remembered while they stay as they are, and how ops see them.

A remembered hash is keyed by device, inode, size and both change times. Files that changed within
the last two seconds are never remembered: a second change could leave all of these as they are.
"""

from __future__ import annotations

import io
import mmap
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from invariant_dask.core.digest import (
    LEAF_SIZE,
    BlobId,
    blob_id,
    blob_id_of_leaves,
    hash_leaves,
)
from invariant_dask.core.files import File, FileContent
from invariant_dask.errors import FileInputError

if TYPE_CHECKING:
    from typing_extensions import Buffer

SETTLED_NS = 2_000_000_000
"""How old a change must be, in nanoseconds, before a hash is remembered."""

_CHUNK = 64 * LEAF_SIZE
_ATTEMPTS = 3

FetchBlob = Callable[[BlobId, int], "Buffer | None"]
Stamp = tuple[int, int, int, int, int]


class FileHasher:
    """Hashes input files, and remembers.

    Parameters
    ----------
    memory : path, optional
        An SQLite file to remember hashes in; without it they last as long as the process.
    """

    def __init__(self, memory: str | os.PathLike[str] | None = None) -> None:
        self._path = None if memory is None else os.fspath(memory)
        self._known: dict[Stamp, tuple[int, bytes]] = {}
        self._lock = threading.Lock()

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
        if "://" in location and not location.startswith("file://"):
            length, blob = _hash_remote(location)
        else:
            location = str(Path(location.removeprefix("file://")).expanduser().absolute())
            length, blob = self.local(location)
        return FileContent(length, blob, file.visible_suffix, location)

    def local(self, path: str) -> tuple[int, BlobId]:
        """Return length and tree hash of a local file."""
        for _ in range(_ATTEMPTS):
            before = _stamp(path)
            found = self._recall(before)
            if found is not None:
                return found
            length, blob = _hash_local(path)
            after = _stamp(path)
            if before == after and length == before[2]:
                self._remember(before, length, blob)
                return length, blob
        msg = f"input file {path!r} keeps changing while it is read; wait until it is complete"
        raise FileInputError(msg)

    def _recall(self, stamp: Stamp) -> tuple[int, BlobId] | None:
        if not _settled(stamp):
            return None
        found = self._known.get(stamp)
        if found is None and self._path is not None:
            with self._lock, closing(self._connect()) as memory:
                found = memory.execute(
                    "SELECT length, blob FROM files WHERE device = ? AND inode = ? AND size = ?"
                    " AND modified = ? AND changed = ?",
                    stamp,
                ).fetchone()
        return None if found is None else (found[0], BlobId(bytes(found[1])))

    def _remember(self, stamp: Stamp, length: int, blob: BlobId) -> None:
        if not _settled(stamp):
            return
        self._known[stamp] = (length, blob)
        if self._path is not None:
            with self._lock, closing(self._connect()) as memory, memory:
                memory.execute(
                    "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (*stamp, length, blob),
                )

    def _connect(self) -> sqlite3.Connection:
        assert self._path is not None
        memory = sqlite3.connect(self._path, timeout=60)
        memory.execute(
            "CREATE TABLE IF NOT EXISTS files (device, inode, size, modified, changed, length,"
            " blob, PRIMARY KEY (device, inode, size, modified, changed)) WITHOUT ROWID"
        )
        return memory


def _settled(stamp: Stamp) -> bool:
    return time.time_ns() - max(stamp[3], stamp[4]) > SETTLED_NS


def _stamp(path: str) -> Stamp:
    try:
        seen = os.stat(path)  # noqa: PTH116
    except OSError as error:
        _fail(path, error)
    if not os.path.isfile(path):  # noqa: PTH113
        msg = f"input file {path!r} is not a regular file"
        raise FileInputError(msg)
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def _fail(path: str, error: OSError) -> NoReturn:
    msg = f"input file {path!r} cannot be read: {error.strerror or error}"
    raise FileInputError(msg) from error


def _hash_local(path: str) -> tuple[int, BlobId]:
    try:
        with Path(path).open("rb") as file:
            return _hash_stream(file)
    except OSError as error:
        _fail(path, error)


def _hash_remote(location: str) -> tuple[int, BlobId]:
    import fsspec

    try:
        with fsspec.open(location, "rb") as file:
            return _hash_stream(file)
    except (OSError, ValueError, ImportError) as error:
        msg = f"input file {location!r} cannot be read: {error}"
        raise FileInputError(msg) from error


def _hash_stream(file: BinaryIO) -> tuple[int, BlobId]:
    length, leaves = 0, []
    while chunk := file.read(_CHUNK):
        while len(chunk) % LEAF_SIZE and (more := file.read(LEAF_SIZE - len(chunk) % LEAF_SIZE)):
            chunk += more  # leaves must not depend on how a stream delivers
        length += len(chunk)
        leaves += hash_leaves(memoryview(chunk))
    return length, blob_id_of_leaves(length, leaves)


class FileHandle:
    """An input file as an op sees it: bytes that were verified, and no name or date."""

    def __init__(self, content: FileContent, hasher: FileHasher, fetch: FetchBlob) -> None:
        self._content = content
        self._hasher = hasher
        self._fetch = fetch
        self._data: Buffer | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._content.length

    @property
    def suffix(self) -> str | None:
        """The suffix of the name, if the graph says `suffix=True`."""
        return self._content.suffix

    def __repr__(self) -> str:
        return f"<FileHandle of {self.size} bytes>"

    def __reduce__(self) -> NoReturn:
        msg = "an input file cannot leave its op; return its bytes, or what you made of them"
        raise TypeError(msg)

    def read_bytes(self) -> bytes:
        """Return the whole content."""
        data = self._verified()
        return data if type(data) is bytes else bytes(data)

    def open(self) -> BinaryIO:
        """Return a seekable binary file object for reading."""
        return io.BytesIO(self.read_bytes())

    def as_path(self) -> str:
        """Return a path for programs that need one; it is private and does not tell the name."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="invariant-")
            target = Path(self._folder.name, f"input{self.suffix or ''}")
            target.write_bytes(self._verified())
        return str(Path(self._folder.name, f"input{self.suffix or ''}"))

    def _verified(self) -> Buffer:
        """Return bytes that have the expected hash: the file's own, else the store's copy."""
        if self._data is None:
            content = self._content
            found = _read(content.location)
            if found is not None and (len(found), blob_id(found)) == (content.length, content.blob):
                self._data = found
            else:
                self._data = self._fetch(content.blob, content.length)
            if self._data is None:
                seen = "no file" if found is None else f"hash {blob_id(found).hex()[:12]}"
                msg = (
                    f"input file {content.location!r} is not what it was when the graph was "
                    f"compiled: expected hash {content.blob.hex()[:12]}, there is {seen}; compile "
                    "the graph again, or make the file visible to the workers"
                )
                raise FileInputError(msg)
        return self._data


def _read(location: str) -> memoryview | None:
    if "://" in location:
        import fsspec

        try:
            with fsspec.open(location, "rb") as remote:
                return memoryview(remote.read())
        except OSError:
            return None  # the store may have a copy; if not, the caller says what was expected
    try:
        with Path(location).open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError:
        return None


def open_file(content: FileContent, hasher: FileHasher, fetch: FetchBlob) -> FileHandle:
    """Return what an op gets for an input file."""
    return FileHandle(content, hasher, fetch)
