"""Where input files come from: paths and URLs, read in pieces, and what tells that they changed."""

from __future__ import annotations

import io
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from invariant_dask.core.digest import LEAF_SIZE, hash_leaves
from invariant_dask.errors import FileInputError

_CHUNK = 64 * LEAF_SIZE
_HTTP_SETTLED_S = 60

Stamp = tuple[int, int, int, int, int]
"""Device, inode, size, time of modification, time of change."""


def unreadable(location: str, reason: object) -> FileInputError:
    """Return the error that says why a file cannot be read."""
    reason = getattr(reason, "strerror", None) or reason
    return FileInputError(f"input file {location!r} cannot be read: {reason}")


def is_remote(location: str) -> bool:
    """Whether a location is behind a server."""
    return "://" in location and not location.startswith(("file://", "local://"))


def local_path(location: str) -> str:
    """Return the path that a local location means."""
    return location.removeprefix("file://").removeprefix("local://")


def stamp_of(seen: os.stat_result) -> Stamp:
    """Return what changes when a file does."""
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def stamp_of_path(path: str) -> Stamp:
    """Return the stamp of a regular file; anything else is a `FileInputError`."""
    try:
        seen = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if stat.S_ISDIR(seen.st_mode):
        raise unreadable(path, "it is a directory; pass a list of its files")
    if not stat.S_ISREG(seen.st_mode):
        raise unreadable(path, "it is not a regular file")
    return stamp_of(seen)


@contextmanager
def opened(location: str) -> Iterator[BinaryIO]:
    """Open a path or URL for reading; whatever goes wrong with it is a `FileInputError`."""
    try:
        if is_remote(location):
            import fsspec

            with fsspec.open(location, "rb") as file:
                yield file
        else:
            stamp_of_path(location)  # opening a pipe would wait for its other end
            with Path(location).open("rb") as file:
                yield file
    except FileInputError:
        raise
    except Exception as error:  # clients of object stores raise errors of many families
        raise unreadable(location, error) from error


def version_of(url: str) -> str | None:
    """Return what changes whenever the bytes behind a URL do, if its server tells."""
    import fsspec

    try:
        files, path = fsspec.core.url_to_fs(url)
        files.invalidate_cache()  # a listing may be as old as the process
        found: Mapping[str, Any] = files.info(path)
    except Exception as error:
        raise unreadable(url, error) from error
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


def chunks_of(file: BinaryIO) -> Iterator[bytes]:
    """Cut what is left of a stream into whole leaves, however it delivers."""
    while chunk := file.read(_CHUNK):
        while len(chunk) % LEAF_SIZE and (more := file.read(LEAF_SIZE - len(chunk) % LEAF_SIZE)):
            chunk += more
        yield chunk


def chunks_at(location: str) -> Iterator[bytes]:
    """Return what is behind a path or URL in pieces of whole leaves."""
    # A generator, so that what its consumer raises is not taken for an error of the file.
    with opened(location) as file:
        yield from chunks_of(file)


def hash_chunks(chunks: Iterable[bytes]) -> tuple[int, list[bytes]]:
    """Return length and leaf hashes."""
    length, leaves = 0, []
    for chunk in chunks:
        length += len(chunk)
        leaves += hash_leaves(memoryview(chunk))
    return length, leaves


def read_up_to(file: BinaryIO | io.FileIO, size: int) -> bytes:
    """Read up to `size` bytes; fewer only at the end."""
    data = file.read(size) or b""
    while data and len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data
