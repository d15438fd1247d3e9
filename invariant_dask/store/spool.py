"""Large buffers on their way into a store: hashed while they are written, then mapped.

The file is the only copy that is made. What is hashed is what is in the file, whatever somebody
does to the original meanwhile, and the map that stands for it from then on cannot be written to.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import secrets
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

from invariant_dask.core.digest import LEAF_SIZE, BlobId, blob_id_of_leaves, each_leaf, sha256

# Before Python 3.13 each map holds a file descriptor, and 1024 are all that many systems give.
_MOST_MAPS = sys.maxsize if sys.version_info >= (3, 13) else 256
_maps: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


class Spool:
    """Files in a folder that wait to be moved to where they belong.

    A file goes when its map does, unless it was taken before; what a killed process leaves is for
    the owner of the folder to remove.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: dict[BlobId, Path] = {}

    def add(self, view: memoryview) -> tuple[BlobId, memoryview] | None:
        """Write bytes to a file; return their id and a map of it, or None if this cannot be."""
        if len(_maps) >= _MOST_MAPS:
            return None
        path = self._folder / secrets.token_hex(16)
        try:
            blob, mapped = _write_and_hash(path, view)
        except OSError:  # a full disk, too many files: they are better kept in memory
            _unlink(path)
            return None
        except BaseException:
            _unlink(path)
            raise
        if self._waiting.setdefault(blob, path) != path:
            _unlink(path)  # one file is enough; should that one go, it is written again
            return blob, mapped
        weakref.finalize(mapped.obj, _discard, self._waiting, blob, path, os.getpid())
        return blob, mapped

    def take(self, blob: BlobId) -> Path | None:
        """Return the file of a blob that waits, which is the caller's from now on."""
        return self._waiting.pop(blob, None)

    def drop(self, blob: BlobId) -> None:
        """Remove the file of a blob if one waits; its map stays."""
        path = self.take(blob)
        if path is not None:
            _unlink(path)


def _write_and_hash(path: Path, view: memoryview) -> tuple[BlobId, memoryview]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
    try:
        _reserve(fd, len(view))
        mapped = map_file(fd, len(view))
        turn = threading.Lock()

        def write_and_hash(start: int) -> bytes:
            # The kernel writes to a file one at a time, and makes who waits spin: wait here.
            with turn:
                _write_at(fd, view[start : start + LEAF_SIZE], start)
            return sha256(mapped[start : start + LEAF_SIZE]).digest()

        leaves = each_leaf(len(view), write_and_hash)
    finally:
        os.close(fd)
    return blob_id_of_leaves(len(view), leaves), mapped


def _reserve(fd: int, size: int) -> None:
    # Writing to space that is reserved takes a third less; a full disk is noticed before it starts.
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if error.errno not in {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}:
                raise
        else:
            return
    os.ftruncate(fd, size)


def _write_at(fd: int, data: memoryview, at: int) -> None:
    while data:
        written = os.pwrite(fd, data, at)
        data, at = data[written:], at + written


def _discard(waiting: dict[BlobId, Path], blob: BlobId, path: Path, process: int) -> None:
    if os.getpid() != process:
        return  # a forked child lets go of its copy of the map; the file is the parent's
    if waiting.get(blob) == path:
        del waiting[blob]
        _unlink(path)


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def map_file(fd: int, size: int) -> memoryview:
    """Return a read-only map of a file; it stays when the descriptor is closed.

    Raises
    ------
    OSError
        If there are too many maps.
    """
    options: dict[str, Any] = {"access": mmap.ACCESS_READ}
    if sys.version_info >= (3, 13):
        options["trackfd"] = False
    mapped = mmap.mmap(fd, size, **options)
    _maps.add(mapped)
    return memoryview(mapped)
