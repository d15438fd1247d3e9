"""The blobs of an object store: raw objects, or zstd frames beside where those would be.

Who compresses looks for a frame first, everybody else for the raw object: what is usual takes one
request. Nobody removes the one because the other is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from invariant_dask.core.digest import BlobId
from invariant_dask.store import compression as zstd
from invariant_dask.store import objects_names as names
from invariant_dask.store.objects_client import ObjectClient
from invariant_dask.store.objects_reading import read_large
from invariant_dask.store.objects_uploads import SMALL
from invariant_dask.store.objects_wire import PART, ObjectInfo, Wire

if TYPE_CHECKING:
    from typing_extensions import Buffer

# A blob that is there and was written lately is not sent again. Upkeep spares what is younger.
_LATELY = 6 * 3600.0


class ObjectBlobs:
    """The blobs of one place.

    Parameters
    ----------
    client
        Makes the requests.
    compression
        `"zstd"`, or None to write raw objects only; both are read.
    """

    def __init__(self, client: ObjectClient, compression: str | None = None) -> None:
        self._client = client
        self.compression = compression

    def _names(self, blob: BlobId, length: int) -> Iterator[str]:
        """Yield where a blob may be that can be read, in the order in which it is looked for."""
        raw = names.blob_name(blob)
        if self.compression is None:
            yield raw
        if zstd.may_be_frame(length):
            yield names.frame_name(blob)
        if self.compression is not None:
            yield raw

    # --- reading ---

    def read(self, blob: BlobId, length: int) -> Buffer | None:
        """Return the bytes of a blob, unverified; None if it is not there.

        Raises
        ------
        IntegrityError
            If there is a frame that does not hold so many.
        """
        for name in self._names(blob, length):
            if names.is_frame(name):
                frame = self._read_frame(name, length)
                if frame is not None:
                    return zstd.decompress(frame, length)
            else:
                data = self._read_raw(name, length)
                if data is not None:
                    return data
        return None

    def _read_raw(self, name: str, length: int) -> Buffer | None:
        if not length:
            return b"" if self._client.head(name) is not None else None
        if length <= PART:
            return self._client.get(name, length)
        return read_large(self._client, name, length)

    def _read_frame(self, name: str, length: int) -> Buffer | None:
        if length <= PART:
            return self._client.get(name, length + 1)
        there = self._client.head(name)
        if there is None:
            return None
        zstd.check_size(there.size, length)
        if there.size <= PART:
            return self._client.get(name, there.size)
        return read_large(self._client, name, there.size)

    def has(self, blobs: Collection[tuple[BlobId, int]]) -> set[BlobId]:
        """Return which blobs are there and can be read."""
        there: set[BlobId] = set()
        left = {(blob, length): list(self._names(blob, length)) for blob, length in blobs}
        while left:
            asked = {tried.pop(0): part for part, tried in left.items()}
            for name, info in self._client.head_many(asked).items():
                blob, length = asked[name]
                if _fits(info, length):
                    there.add(blob)
            left = {part: rest for part, rest in left.items() if rest and part[0] not in there}
        return there

    def find(self, blob: BlobId) -> ObjectInfo | None:
        """Return what is read for a blob, if anything is there."""
        infos = (self._client.head(name) for name in self._names(blob, 1))
        return next((info for info in infos if info is not None), None)

    def length_of(self, info: ObjectInfo) -> int | None:
        """Return how long a blob is of which nobody says it; None if it cannot be told."""
        if not names.is_frame(info.name):
            return info.size
        return zstd.content_length(self._client.get(info.name, zstd.HEADER) or b"")

    def why_unread(self, blob: BlobId) -> str:
        """Say why a blob that is there cannot be read, if the library for it is missing."""
        if zstd.is_available() or self._client.head(names.frame_name(blob)) is None:
            return ""
        return zstd.MISSING

    # --- writing ---

    async def upload(self, blob: BlobId, view: memoryview) -> str:
        """Make sure that a blob is there, and return the name of what holds it."""
        if len(view) > SMALL:
            # What is small is sent again instead: that costs the same, and mends what is damaged.
            there = await self._large(blob, len(view))
            if there is not None:
                now = await self._client.clock()
                if now - there.modified < _LATELY:
                    return there.name
        return await self._write(blob, view)

    async def _large(self, blob: BlobId, length: int) -> ObjectInfo | None:
        raw = names.blob_name(blob)
        for name in self._names(blob, length) if self.compression is not None else (raw,):
            info = await self._client.attempt(name, partial(_head, name))
            if info is not None and _fits(info, length):
                return info
        return None

    async def _write(self, blob: BlobId, view: memoryview) -> str:
        frame = None
        if self.compression is not None:
            try:
                frame = await asyncio.to_thread(zstd.compress, view)
            except RuntimeError:  # the interpreter is about to end: there are no more threads
                frame = zstd.compress(view)
        name = names.blob_name(blob) if frame is None else names.frame_name(blob)
        await self._client.put_one(name, view if frame is None else frame)
        return name

    async def make_sure_of(
        self, blobs: Mapping[BlobId, memoryview], kept: Mapping[BlobId, str]
    ) -> None:
        """Send large blobs again that a collector took away before their record was there."""
        for blob, view in blobs.items():
            name = kept[blob]
            if len(view) > SMALL and not await self._client.attempt(name, partial(_head, name)):
                await self._write(blob, view)


async def _head(name: str, wire: Wire) -> ObjectInfo | None:
    return await wire.head(name)


def _fits(info: ObjectInfo, length: int) -> bool:
    return 0 < info.size <= length if names.is_frame(info.name) else info.size == length
