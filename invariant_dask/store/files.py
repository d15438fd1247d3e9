"""Input files as ops see them: verified bytes, from wherever the content is.

Ops never depend on a remembered hash, nor on a map of a file that somebody else may truncate: what
they read is hashed first.
"""

from __future__ import annotations

import io
import logging
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from invariant_dask.core.digest import LEAF_SIZE, BlobId, blob_id, blob_id_of_leaves, sha256
from invariant_dask.core.files import FileContent
from invariant_dask.errors import FileInputError
from invariant_dask.store.file_hashes import FileHasher
from invariant_dask.store.file_sources import (
    chunks_at,
    hash_chunks,
    is_remote,
    opened,
    read_up_to,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

logger = logging.getLogger(__name__)

WHOLE = 16 * LEAF_SIZE
"""Longest file, in bytes, that is read as a whole to be verified."""

FetchBlob = Callable[[BlobId, int], "Buffer | None"]


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
        if is_remote(self._content.location):
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
            with opened(self._content.location) as file:
                data = read_up_to(file, self.size + 1)
        except FileInputError as error:
            logger.debug("%s", error)
            return None
        return data if self._is_expected(data) else None

    def _copied(self, path: Path) -> bool:
        """Copy the file, and return whether that is the expected content."""

        def passing_by() -> Iterator[bytes]:
            for chunk in chunks_at(self._content.location):
                copy.write(chunk)
                yield chunk

        try:
            with path.open("wb") as copy:
                length, leaves = hash_chunks(passing_by())
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
        length, leaves = hash_chunks(chunks_at(location))
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
        leaf = read_up_to(self._file, wanted)
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
