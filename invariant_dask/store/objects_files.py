"""Objects as files of a shared or network file system: every write is a rename."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice
from pathlib import Path

from invariant_dask.store.objects_wire import ObjectInfo, RefusedError, Wire

_PAGE = 1000
_DAY = 86_400
_FOR_GOOD = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}
"""What trying again does not mend. A full disk can still be read."""


class FilesWire(Wire):
    """Keeps objects as files below a folder.

    What is being written is in `tmp/`, in the same file system. Nothing here needs locks, or the
    rename of one client to be seen by another before it opens the file anew.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._tmp = root / "tmp"
        self._swept = False

    async def get(self, name: str, start: int, stop: int) -> bytes | None:
        return await asyncio.to_thread(self._get, name, start, stop)

    def _get(self, name: str, start: int, stop: int) -> bytes | None:
        try:
            with (self._root / name).open("rb", buffering=0) as file:
                file.seek(start)
                parts, left = [], stop - start
                while left and (part := file.read(left)):
                    parts.append(part)
                    left -= len(part)
                return b"".join(parts)
        except (FileNotFoundError, NotADirectoryError):
            return None

    async def put(self, name: str, data: bytes, *, create: bool = False) -> bool:
        return await asyncio.to_thread(self._try_to_put, name, memoryview(data), create)

    async def put_parts(self, name: str, view: memoryview) -> None:
        await asyncio.to_thread(self._try_to_put, name, view, False)

    def _try_to_put(self, name: str, view: memoryview, create: bool) -> bool:
        try:
            return self._put(name, view, create)
        except OSError as error:
            if error.errno in _FOR_GOOD:
                raise RefusedError(str(error)) from error
            raise

    def _put(self, name: str, view: memoryview, create: bool) -> bool:
        path = self._root / name
        if not self._swept:
            self._tmp.mkdir(parents=True, exist_ok=True)
            self._sweep()
        partial = self._tmp / secrets.token_hex(16)
        try:
            # Read-only even for ourselves, as nothing in a store ever changes.
            fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
            try:
                while view:
                    view = view[os.write(fd, view[: 1 << 30]) :]
            finally:
                os.close(fd)
            try:
                _publish(partial, path, create)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                _publish(partial, path, create)
        except FileExistsError:
            return False
        finally:
            partial.unlink(missing_ok=True)
        return True

    def _sweep(self) -> None:
        """Remove what killed processes left."""
        self._swept = True
        limit = time.time() - _DAY
        for path in self._tmp.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < limit:
                    path.unlink()

    async def head(self, name: str) -> ObjectInfo | None:
        return await asyncio.to_thread(self._head, name)

    def _head(self, name: str) -> ObjectInfo | None:
        try:
            return _info(name, (self._root / name).stat())
        except (FileNotFoundError, NotADirectoryError):
            return None

    async def list(self, folder: str) -> AsyncIterator[Iterable[ObjectInfo]]:
        found = self._walk(folder)
        while page := await asyncio.to_thread(lambda: list(islice(found, _PAGE))):
            yield page

    def _walk(self, folder: str) -> Iterator[ObjectInfo]:
        try:
            with os.scandir(self._root / folder) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in inside:
            if not folder and entry.name == self._tmp.name:
                continue  # no objects yet, and perhaps all that a killed process left
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(name)
            else:
                with contextlib.suppress(FileNotFoundError):
                    yield _info(name, entry.stat())

    async def copy(self, source: str, target: str) -> None:
        await asyncio.to_thread(self._copy, source, target)

    def _copy(self, source: str, target: str) -> None:
        path = self._root / target
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            path.hardlink_to(self._root / source)

    async def delete_if(self, seen: ObjectInfo) -> bool:
        return await asyncio.to_thread(self._delete_if, seen)

    def _delete_if(self, seen: ObjectInfo) -> bool:
        # Out of the way first: what is looked at after that can be replaced by nobody.
        path, aside = self._root / seen.name, self._tmp / secrets.token_hex(16)
        now = self._head(seen.name)
        if now is None or now.etag != seen.etag:
            return False
        self._tmp.mkdir(parents=True, exist_ok=True)
        try:
            path.rename(aside)
        except FileNotFoundError:
            return False
        try:
            same = _info(seen.name, aside.stat()).etag == seen.etag
            if not same:
                with contextlib.suppress(FileExistsError):
                    path.hardlink_to(aside)
        finally:
            aside.unlink()
        return same

    async def delete(self, name: str) -> None:
        await asyncio.to_thread((self._root / name).unlink, missing_ok=True)


def _publish(partial: Path, path: Path, create: bool) -> None:
    if create:
        path.hardlink_to(partial)  # unlike a rename, it refuses to replace
    else:
        partial.replace(path)


def _info(name: str, stat: os.stat_result) -> ObjectInfo:
    etag = f"{stat.st_ino:x}-{stat.st_mtime_ns:x}-{stat.st_size:x}"
    return ObjectInfo(name, stat.st_size, etag, stat.st_mtime)
