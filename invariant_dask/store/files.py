"""Input files: what they hold, remembered while they stay as they are, and how ops see them.

A remembered hash is keyed by device, inode, size and both change times; that of a URL by the
version that its server gives. Files that changed less than two seconds before they were hashed are
never remembered: a second change could leave all of these as they are. Ops never depend on any of
this, nor on a map of a file that somebody else may truncate: what they read is hashed first.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import shutil
import sqlite3
import stat
import tempfile
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from invariant_dask.core.digest import (
    LEAF_SIZE,
    BlobId,
    blob_id,
    blob_id_of_leaves,
    hash_leaves,
    sha256,
)
from invariant_dask.core.files import File, FileContent
from invariant_dask.errors import FileInputError

if TYPE_CHECKING:
    from typing_extensions import Buffer

logger = logging.getLogger(__name__)

SETTLED_NS = 2_000_000_000
"""How old a change must be, in nanoseconds, before a hash is remembered."""

WHOLE = 16 * LEAF_SIZE
"""Longest file, in bytes, that is read as a whole to be verified."""

_CHUNK = 64 * LEAF_SIZE
_ATTEMPTS = 3
_UNSTEADY = "it keeps changing while it is read; wait until it is complete"
_LEAVES_KEPT = 1024
_HTTP_SETTLED_S = 60

FetchBlob = Callable[[BlobId, int], "Buffer | None"]
Stamp = tuple[int, int, int, int, int]
"""Device, inode, size, time of modification, time of change."""


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
            raise _unreadable(location, "its name is not valid UTF-8; rename it") from None
        if _is_remote(location):
            length, blob = self.remote(location)
        else:
            location = str(Path(os.path.expanduser(_local_path(location))).absolute())  # noqa: PTH111
            length, blob = self.local(location)
        return FileContent(length, blob, file.visible_suffix, location)

    def local(self, path: str) -> tuple[int, BlobId]:
        """Return length and tree hash of a local file."""
        found = self._recall(_key(*_stamp_of_path(path)))
        if found is not None:
            return found
        for _ in range(_ATTEMPTS):
            with _opened(path) as file:
                # The clock before the stamp, both before the first byte: whatever changes the
                # file from here on gets a time that a settled stamp does not have.
                now = time.time_ns()
                before = _stamp(os.fstat(file.fileno()))
                length, leaves = _hash(_chunks_of(file))
                after = _stamp(os.fstat(file.fileno()))
            if before == after and length == before[2]:
                blob = blob_id_of_leaves(length, leaves)
                if now - max(before[3:]) > SETTLED_NS:
                    self._remember(_key(*before), length, blob)
                return length, blob
        raise _unreadable(path, _UNSTEADY)

    def remote(self, url: str) -> tuple[int, BlobId]:
        """Return length and tree hash of what is behind a URL."""
        for _ in range(_ATTEMPTS):
            before = _version(url)
            found = None if before is None else self._recall(_key(url, before))
            if found is not None:
                return found
            length, leaves = _hash(_chunks(url))
            blob = blob_id_of_leaves(length, leaves)
            if before is None:
                return length, blob
            if _version(url) == before:
                self._remember(_key(url, before), length, blob)
                return length, blob
        raise _unreadable(url, _UNSTEADY)

    def leaves(self, content: FileContent) -> list[bytes] | None:
        """Return the leaf hashes of a file, or None if it does not hold that content."""
        # Kept under the id that they hash to, so no file has to be trusted for them.
        with self._lock:
            if content.blob in self._leaves:
                self._leaves.move_to_end(content.blob)
                return self._leaves[content.blob]
        length, leaves = _hash(_chunks(content.location))
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


def _unreadable(location: str, reason: object) -> FileInputError:
    reason = getattr(reason, "strerror", None) or reason
    return FileInputError(f"input file {location!r} cannot be read: {reason}")


def _is_remote(location: str) -> bool:
    return "://" in location and not location.startswith(("file://", "local://"))


def _local_path(location: str) -> str:
    return location.removeprefix("file://").removeprefix("local://")


def _stamp(seen: os.stat_result) -> Stamp:
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def _stamp_of_path(path: str) -> Stamp:
    try:
        seen = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if stat.S_ISDIR(seen.st_mode):
        raise _unreadable(path, "it is a directory; pass a list of its files")
    if not stat.S_ISREG(seen.st_mode):
        raise _unreadable(path, "it is not a regular file")
    return _stamp(seen)


@contextmanager
def _opened(location: str) -> Iterator[BinaryIO]:
    """Open a path or URL for reading; whatever goes wrong with it is a `FileInputError`."""
    try:
        if _is_remote(location):
            import fsspec

            with fsspec.open(location, "rb") as file:
                yield file
        else:
            _stamp_of_path(location)  # opening a pipe would wait for its other end
            with Path(location).open("rb") as file:
                yield file
    except FileInputError:
        raise
    except Exception as error:  # clients of object stores raise errors of many families
        raise _unreadable(location, error) from error


def _version(url: str) -> str | None:
    """Return what changes whenever the bytes behind a URL do, if its server tells."""
    import fsspec

    try:
        files, path = fsspec.core.url_to_fs(url)
        files.invalidate_cache()  # a listing may be as old as the process
        found: Mapping[str, Any] = files.info(path)
    except Exception as error:
        raise _unreadable(url, error) from error
    tag = next((str(found[k]) for k in ("generation", "ETag", "etag") if found.get(k)), None)
    if tag is None or tag.startswith("W/"):  # a weak tag promises the meaning, not the bytes
        return None
    if url.startswith(("http://", "https://")) and not _http_settled(found):
        return None
    return repr((tag, found.get("size")))


def _http_settled(found: Mapping[str, Any]) -> bool:
    # Web servers make tags of size and whole seconds.
    from email.utils import parsedate_to_datetime

    modified = found.get("Last-Modified")
    if modified is None:
        return True
    try:
        return time.time() - parsedate_to_datetime(modified).timestamp() > _HTTP_SETTLED_S
    except (TypeError, ValueError):
        return False


def _chunks_of(file: BinaryIO) -> Iterator[bytes]:
    """Cut what is left of a stream into whole leaves, however it delivers."""
    while chunk := file.read(_CHUNK):
        while len(chunk) % LEAF_SIZE and (more := file.read(LEAF_SIZE - len(chunk) % LEAF_SIZE)):
            chunk += more
        yield chunk


def _chunks(location: str) -> Iterator[bytes]:
    # A generator, so that what its consumer raises is not taken for an error of the file.
    with _opened(location) as file:
        yield from _chunks_of(file)


def _hash(chunks: Iterable[bytes]) -> tuple[int, list[bytes]]:
    """Return length and leaf hashes."""
    length, leaves = 0, []
    for chunk in chunks:
        length += len(chunk)
        leaves += hash_leaves(memoryview(chunk))
    return length, leaves


def _read(file: BinaryIO | io.FileIO, size: int) -> bytes:
    """Read up to `size` bytes; fewer only at the end."""
    data = file.read(size) or b""
    while data and len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


class FileHandle:
    """An input file as an op sees it: bytes that were verified, and no name or date.

    Whatever happens to the file meanwhile, an op reads the content that was hashed when the graph
    was compiled, from the file or else from the store, or it gets a `FileInputError`.
    """

    def __init__(self, content: FileContent, hasher: FileHasher, fetch: FetchBlob) -> None:
        self._content = content
        self._hasher = hasher
        self._fetch = fetch
        self._data: bytes | None = None
        self._path: str | None = None

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
        if self._data is not None:
            return self._data
        data = self._own_bytes()
        if data is None:
            data = self._published()
        if len(data) <= WHOLE:
            self._data = data
        return data

    def open(self) -> BinaryIO:
        """Return a seekable binary file object for reading; of a long file, parts are read."""
        if self.size <= WHOLE:
            return io.BytesIO(self.read_bytes())
        if _is_remote(self._content.location):
            return Path(self.as_path()).open("rb")
        try:
            leaves = self._hasher.leaves(self._content)
            if leaves is not None:
                return io.BufferedReader(_VerifiedFile(self._content, leaves), LEAF_SIZE)
        except FileInputError as error:
            logger.debug("%s", error)
        return io.BytesIO(self._published())

    def as_path(self) -> str:
        """Return a path for programs that need one.

        It is a private copy, there as long as this handle is, whose name tells no more than the
        suffix that the graph lets the op see.
        """
        if self._path is None:
            folder = tempfile.mkdtemp(prefix="invariant-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            suffix = self.suffix or ""
            path = Path(folder, "input" + (suffix if _SUFFIX.fullmatch(suffix) else ""))
            if self._data is not None or not self._copied(path):
                path.write_bytes(self._data if self._data is not None else self._published())
            path.chmod(0o400)
            self._path = str(path)
        return self._path

    def _own_bytes(self) -> bytes | None:
        """Return what the file holds, if that is what it should."""
        try:
            with _opened(self._content.location) as file:
                data = _read(file, self.size + 1)
        except FileInputError as error:
            logger.debug("%s", error)
            return None
        return data if self._is_expected(data) else None

    def _copied(self, path: Path) -> bool:
        """Copy the file, and return whether that is the expected content."""

        def passing_by() -> Iterator[bytes]:
            for chunk in _chunks(self._content.location):
                copy.write(chunk)
                yield chunk

        try:
            with path.open("wb") as copy:
                length, leaves = _hash(passing_by())
        except FileInputError as error:
            logger.debug("%s", error)
            return False
        return blob_id_of_leaves(length, leaves) == self._content.blob

    def _published(self) -> bytes:
        """Return the store's copy, for want of a file that holds the content."""
        data = self._fetch(self._content.blob, self.size)
        if data is not None and self._is_expected(data):
            return data if type(data) is bytes else bytes(data)
        msg = (
            f"input file {self._content.location!r} is not what it was when the graph was "
            f"compiled: expected {_shown(self.size, self._content.blob)}, there is "
            f"{_what_is_there(self._content.location)}; compile the graph again, or make the file "
            "visible to the workers"
        )
        raise FileInputError(msg)

    def _is_expected(self, data: Buffer) -> bool:
        return memoryview(data).nbytes == self.size and blob_id(data) == self._content.blob


_SUFFIX = re.compile(r"\.[^/\\\0]*")


def _shown(length: int, blob: BlobId) -> str:
    return f"hash {blob.hex()[:12]} of {length} bytes"


def _what_is_there(location: str) -> str:
    try:
        length, leaves = _hash(_chunks(location))
    except FileInputError as error:
        return f"no file ({error.__cause__ or error})"
    return _shown(length, blob_id_of_leaves(length, leaves))


class _VerifiedFile(io.RawIOBase):
    """A local file of which nothing is seen before its leaf has the expected hash."""

    def __init__(self, content: FileContent, leaves: list[bytes]) -> None:
        super().__init__()
        self._content = content
        self._leaves = leaves
        self._file = Path(content.location).open("rb", buffering=0)  # noqa: SIM115
        self._at = 0
        self._leaf: tuple[int, bytes] = (-1, b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._content.length}[whence]
        if start + offset < 0:
            msg = f"negative position {start + offset}"
            raise ValueError(msg)
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, target: Buffer) -> int:
        if self._at >= self._content.length:
            return 0
        index, skip = divmod(self._at, LEAF_SIZE)
        if self._leaf[0] != index:
            self._leaf = (index, self._verified(index))
        view = memoryview(target).cast("B")
        part = self._leaf[1][skip : skip + len(view)]
        view[: len(part)] = part
        self._at += len(part)
        return len(part)

    def _verified(self, index: int) -> bytes:
        self._file.seek(index * LEAF_SIZE)
        wanted = min(LEAF_SIZE, self._content.length - index * LEAF_SIZE)
        leaf = _read(self._file, wanted)
        if sha256(leaf).digest() != self._leaves[index]:
            msg = (
                f"input file {self._content.location!r} changed while an op was reading it; "
                "compile the graph again"
            )
            raise FileInputError(msg)
        return leaf

    def close(self) -> None:
        self._file.close()
        super().close()


def open_file(content: FileContent, hasher: FileHasher, fetch: FetchBlob) -> FileHandle:
    """Return what an op gets for an input file.

    Parameters
    ----------
    content
        What was hashed when the graph was compiled.
    hasher
        Where leaf hashes of long files are remembered.
    fetch
        Returns a published copy, or None; asked only if the file does not hold the content.
    """
    return FileHandle(content, hasher, fetch)
