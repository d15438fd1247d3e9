"""What an object store must be able to do over a connection: one request, made once.

Nothing here retries, waits its turn or believes anything; that is for `store.objects_client`. Names
are relative to the root of the store and have `/` between their parts. All methods are coroutines
of one event loop.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import NamedTuple, TypeVar

T = TypeVar("T")

PART = 8 << 20
"""Objects longer than this are written and read in parts of this length."""

PARTS_AT_ONCE = 4

NO_CREDENTIALS = (
    "no AWS credentials were found: not in options (key=, secret=), not in the environment "
    "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE) or ~/.aws, and this machine has no "
    "role that gives any; anon=True reads what is public"
)


class ObjectInfo(NamedTuple):
    """What a server says about an object."""

    name: str
    size: int
    etag: str
    """Changes whenever the object is written, if the server has such a thing."""
    modified: float
    """Seconds since 1970, by the clock of the server."""

    def is_as(self, seen: ObjectInfo) -> bool:
        """Return whether it was not written since it was seen, as far as this can be told.

        The time counts too: the same bytes have the same ETag. Lists know it more finely.
        """
        if not self.etag:
            return self.modified == seen.modified
        return (self.etag, int(self.modified)) == (seen.etag, int(seen.modified))


class RefusedError(Exception):
    """The server understood and will not: trying again does not help."""


class Wire(ABC):
    """A connection to a prefix of an object store."""

    hint = ""
    """What to say besides of requests that fail, if anything is known to be wanting."""

    @abstractmethod
    async def get(self, name: str, start: int, stop: int) -> bytes | None:
        """Return these bytes of an object, fewer if it ends before; None if it is not there."""

    @abstractmethod
    async def put(self, name: str, data: bytes, *, create: bool = False) -> bool:
        """Write an object, whole or not at all; False if `create` finds that one is there."""

    @abstractmethod
    async def put_parts(self, name: str, view: memoryview) -> None:
        """Write a large object, whole or not at all, with a few parts in memory."""

    @abstractmethod
    async def head(self, name: str) -> ObjectInfo | None:
        """Return what is known of an object; None if it is not there."""

    @abstractmethod
    def list(self, folder: str) -> AsyncIterator[Iterable[ObjectInfo]]:
        """Yield the objects below a folder, in pages; in order of their names, if servers do so."""

    async def any_name(self, folder: str) -> str:
        """Return the name of something in a folder, or nothing if it is empty."""
        async for page in self.list(folder):
            for info in page:
                return info.name
        return ""

    @abstractmethod
    async def copy(self, source: str, target: str) -> None:
        """Copy an object without reading it, if it is there."""

    @abstractmethod
    async def delete(self, name: str) -> None:
        """Remove an object; it need not be there."""

    async def delete_if(self, seen: ObjectInfo) -> bool:
        """Remove an object unless it was written since it was seen.

        This default leaves a moment in which it may be written; servers that can do it in one
        request are asked to.
        """
        now = await self.head(seen.name)
        if now is None or not now.is_as(seen):
            return False
        await self.delete(seen.name)
        return True

    async def close(self) -> None:  # noqa: B027
        """Let go of connections."""


async def each(jobs: Iterable[Callable[[], Awaitable[T]]], most: int) -> None:
    """Run jobs, `most` of them at a time; stop at the first error."""
    todo = iter(jobs)

    async def work() -> None:
        for job in todo:
            await job()

    tasks = [asyncio.ensure_future(work()) for _ in range(most)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
