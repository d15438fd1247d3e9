"""The files of a folder that hold blobs: raw, or as a zstd frame beside where that would be.

A raw file is read first, and one that is damaged is replaced by a raw one, so who writes never has
to remove anything.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from invariant_dask.core.digest import DIGEST_SIZE, LEAF_SIZE, BlobId
from invariant_dask.errors import IntegrityError
from invariant_dask.store import compression as zstd
from invariant_dask.store.folder import move, unavailable, write_file, writing
from invariant_dask.store.spool import Spool, map_file

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAP_FROM = LEAF_SIZE
"""A map costs a file descriptor and a page fault per page; copying a little is cheaper."""

_COMPARED = 1 << 18


class BlobFiles:
    """The blobs of a folder.

    Parameters
    ----------
    root
        The folder.
    spool
        Files that were written before their blobs were to be kept.
    compression
        `"zstd"`, or None to write raw files only; both are read.

    Notes
    -----
    What the system refuses is a `StoreUnavailableError`.
    """

    def __init__(self, root: Path, spool: Spool, compression: str | None = None) -> None:
        self._root = root
        self._folder = root / "blobs"
        self._tmp = root / "tmp"
        self._spool = spool
        self.compression = compression

    def path_of(self, blob: BlobId) -> Path:
        """Return where a blob is if it is not compressed."""
        name = blob.hex()
        return self._folder / name[:2] / name[2:]

    def frame_of(self, blob: BlobId) -> Path:
        """Return where a blob is if it is compressed."""
        path = self.path_of(blob)
        return path.with_name(path.name + zstd.SUFFIX)

    def find(self, blob: BlobId) -> Path:
        """Return the file that is read for a blob, or would be if it were there."""
        path, frame = self.path_of(blob), self.frame_of(blob)
        return path if path.exists() or not frame.exists() else frame

    # --- reading ---

    def is_there(self, blob: BlobId) -> bool:
        """Return whether there is a file for a blob."""
        return self.path_of(blob).exists() or self.frame_of(blob).exists()

    def has(self, blob: BlobId, length: int) -> bool:
        """Return whether a blob is there and can be read."""
        if _size(self._root, self.path_of(blob)) == length:
            return True
        return zstd.may_be_frame(length) and 0 < _size(self._root, self.frame_of(blob)) <= length

    def read(self, blob: BlobId, length: int) -> Buffer | None:
        """Return the bytes of a blob, unverified; None if it is not there with this length.

        Raises
        ------
        IntegrityError
            If there is a frame that does not hold so many.
        """
        fd = self._open(self.path_of(blob))
        if fd is not None:
            data = self._read_raw(fd, length)
            if data is not None:
                return data
        fd = self._open(self.frame_of(blob)) if zstd.may_be_frame(length) else None
        return None if fd is None else zstd.decompress(self._read_frame(fd, length), length)

    def _open(self, path: Path) -> int | None:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unavailable(self._root, error) from error

    def _read_raw(self, fd: int, length: int) -> Buffer | None:
        try:
            if os.fstat(fd).st_size != length:
                return None
            if length >= MAP_FROM:
                with contextlib.suppress(OSError):  # too many maps or files: read instead
                    return map_file(fd, length)
            with open(fd, "rb", closefd=False) as file:
                return file.read(length)
        except OSError as error:
            raise unavailable(self._root, error) from error
        finally:
            os.close(fd)

    def _read_frame(self, fd: int, length: int) -> bytes:
        with writing(self._root), open(fd, "rb", buffering=0) as file:
            size = os.fstat(fd).st_size
            zstd.check_size(size, length)
            return file.read(size)

    def length_of(self, blob: BlobId) -> int | None:
        """Return the length of a blob of which nobody says it; None if it cannot be told."""
        path = self.find(blob)
        try:
            with path.open("rb") as file:
                if path.suffix:
                    return zstd.content_length(file.read(zstd.HEADER))
                return os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unavailable(self._root, error) from error

    def why_unread(self, blob: BlobId) -> str:
        """Say why a blob that is there cannot be read, if the library for it is missing."""
        if zstd.is_available() or _size(self._root, self.frame_of(blob)) < 0:
            return ""
        return zstd.MISSING

    # --- writing ---

    def same(self, blob: BlobId, view: memoryview) -> int | None:
        """Return the size of the file that holds a blob; None if there is none, or a damaged one.

        Reading it is cheaper than to lose the artifact.
        """
        try:
            data = self.read(blob, len(view))
        except IntegrityError:
            return None
        if data is None:
            return None
        kept = memoryview(data).cast("B")
        if len(kept) != len(view) or any(
            kept[at : at + _COMPARED].tobytes() != view[at : at + _COMPARED].tobytes()
            for at in range(0, len(view), _COMPARED)
        ):
            return None
        self._spool.drop(blob)
        if _size(self._root, self.path_of(blob)) == len(view):
            return len(view)
        return max(_size(self._root, self.frame_of(blob)), 0)

    def write(self, blob: BlobId, view: memoryview) -> int:
        """Write a blob, visible only when whole, and return the size of its file."""
        path, data, waiting = self.path_of(blob), view, None
        with writing(self._root):
            frame = None
            if self.compression is not None and not path.exists():
                frame = zstd.compress(view)
            if frame is None:
                waiting = self._spool.take(blob)
            else:
                path, data = self.frame_of(blob), memoryview(frame)
            partial = waiting or self._tmp / secrets.token_hex(16)
            try:
                if not partial.exists():
                    write_file(partial, data)
                move(partial, path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        self._spool.drop(blob)
        return len(data)

    # --- looking after them ---

    def remove(self, blob: BlobId) -> None:
        """Remove the files of a blob."""
        self.path_of(blob).unlink(missing_ok=True)
        self.frame_of(blob).unlink(missing_ok=True)

    def listed(self) -> Iterator[tuple[BlobId, int, int]]:
        """Yield the blobs that there are, their size, and when they were written last."""
        with os.scandir(self._folder) as folders:
            for folder in folders:
                if folder.is_dir(follow_symlinks=False):
                    for blob, (size, written) in _blobs_in(Path(folder.path)).items():
                        yield blob, size, written


def _size(root: Path, path: Path) -> int:
    """Return the size of a file, -1 if it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
    except OSError as error:
        raise unavailable(root, error) from error


def _blobs_in(folder: Path) -> dict[BlobId, tuple[int, int]]:
    blobs: dict[BlobId, tuple[int, int]] = {}
    for path in folder.iterdir():
        blob = _blob_of(path)
        if blob is not None:
            with contextlib.suppress(FileNotFoundError):
                found = path.stat()
                size, written = blobs.get(blob, (0, 0))
                blobs[blob] = size + found.st_size, max(written, found.st_mtime_ns)
    return blobs


def _blob_of(path: Path) -> BlobId | None:
    try:
        blob = bytes.fromhex(path.parent.name + path.name.removesuffix(zstd.SUFFIX))
    except ValueError:
        return None
    return BlobId(blob) if len(blob) == DIGEST_SIZE else None
