"""Files that ops make: an op returns the path, the store keeps the content.

The file is mapped, not read, so it may be larger than memory; it is hashed while it is written to
the store. Whoever gets the value reads from the store's copy.
"""

from __future__ import annotations

import io
import mmap
import os
import re
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from invariant_dask.errors import IntegrityError, NotCacheableError

if TYPE_CHECKING:
    from typing_extensions import Buffer

_SUFFIX = re.compile(r"\.[^/\\\0.]{1,32}")
_CHUNK = 1 << 24


class FileArtifact:
    """The content of a file, as a value that ops return and take.

    Parameters
    ----------
    path
        A regular file that is complete: it must not change afterwards. It may be removed.

    Raises
    ------
    OSError
        If it cannot be read.

    Notes
    -----
    Identity is the content and the suffix of the name, such as `.mp4`; neither folder nor stem.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".txt") as file:
    ...     _ = file.write(b"made by an op")
    ...     file.flush()
    ...     made = FileArtifact(file.name)
    >>> made.size, made.suffix, made.read_bytes()
    (13, '.txt', b'made by an op')
    """

    __slots__ = ("__weakref__", "_path", "_suffix", "_view")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        name = Path(path)
        # Mapped at once: the folder that an op works in is often gone when it has returned.
        with name.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            self._view = memoryview(b"")
            if size:
                self._view = memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ))
        self._suffix = name.suffix if _SUFFIX.fullmatch(name.suffix) else ""
        self._path: str | None = None

    @classmethod
    def of(cls, data: Buffer, suffix: str = "") -> FileArtifact:
        """Return an artifact of bytes that will never change."""
        self = cls.__new__(cls)
        self._view = memoryview(data).cast("B").toreadonly()
        self._suffix, self._path = suffix, None
        return self

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self._view)

    @property
    def suffix(self) -> str:
        """The suffix of the name, with its dot; empty if it has none."""
        return self._suffix

    def __repr__(self) -> str:
        return f"<FileArtifact{self._suffix and ' ' + self._suffix} of {self.size} bytes>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FileArtifact):
            return NotImplemented
        return self._suffix == other._suffix and self._view == other._view

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return FileArtifact.of, (bytes(self._view), self._suffix)

    def read_bytes(self) -> bytes:
        """Return the whole content."""
        return bytes(self._view)

    def open(self) -> BinaryIO:
        """Return a seekable binary file object for reading; what is not read is not loaded."""
        return io.BufferedReader(_Reading(self._view), 1 << 20)

    def as_path(self) -> str:
        """Return a path for programs that need one: a private copy, there as long as this is."""
        if self._path is None:
            folder = tempfile.mkdtemp(prefix="invariant-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            path = Path(folder, "artifact" + self._suffix)
            with path.open("wb") as file:
                for at in range(0, self.size, _CHUNK):
                    file.write(self._view[at : at + _CHUNK])
            path.chmod(0o400)
            self._path = str(path)
        return self._path


class _Reading(io.RawIOBase):
    def __init__(self, view: memoryview) -> None:
        super().__init__()
        self._view = view
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._view)}[whence]
        if start + offset < 0:
            msg = f"negative position {start + offset}"
            raise ValueError(msg)
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, target: Buffer) -> int:
        room = memoryview(target).cast("B")
        part = self._view[self._at : self._at + len(room)]
        room[: len(part)] = part
        self._at += len(part)
        return len(part)


def file_to_value(artifact: FileArtifact) -> list[Any]:
    """Take an artifact apart."""
    import numpy as np

    if not isinstance(artifact, FileArtifact):
        raise NotCacheableError(reason=f"{type(artifact).__name__} is no FileArtifact")
    return [artifact.suffix, np.frombuffer(artifact._view, "|u1")]  # noqa: SLF001


def file_from_value(value: list[Any]) -> FileArtifact:
    """Put an artifact together; its content is not copied."""
    suffix, data = value
    if type(suffix) is not str or (suffix and not _SUFFIX.fullmatch(suffix)):
        raise IntegrityError(f"not the suffix of a file: {suffix!r}")
    if data.dtype.str != "|u1" or data.ndim != 1:
        raise IntegrityError("a file artifact's content must be bytes")
    return FileArtifact.of(data.data, suffix)
