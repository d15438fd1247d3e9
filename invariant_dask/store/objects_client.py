"""Many requests to an object store at once, each tried until it succeeds or its time is over.

A request that fails is tried again after a pause that grows and is drawn at random; what a server
refuses is not. Once a request has used up its time, the server counts as down: for a while all
others fail at once, so that who depends on it loses one time-out, not one for each request. After
that a single short attempt finds out whether it is back.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import random
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from functools import partial
from typing import Any, TypeVar
from weakref import WeakSet

from invariant_dask.errors import StoreUnavailableError
from invariant_dask.store import objects_loop
from invariant_dask.store.objects_outage import (
    PATIENCE,
    PROBE,
    FirstCheck,
    Outage,
    deafness,
)
from invariant_dask.store.objects_wire import (
    PART,
    PARTS_AT_ONCE,
    ObjectInfo,
    RefusedError,
    Wire,
    each,
)

T = TypeVar("T")

logger = logging.getLogger("invariant_dask.store")

BUDGET = 15.0
"""Seconds that a request may take with all its attempts."""

AT_ONCE = 64
"""How many requests are on their way at a time."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_CLOCK_FOR, _SLIP = 3600.0, 10.0
_SLOWEST = 1 << 20  # bytes a second


class ObjectClient:
    """The requests of one process to one place.

    Parameters
    ----------
    connect
        Makes a connection for a loop; called when it is first needed, and again after a fork.
    name
        What to call the place in messages.
    budget
        Seconds that a request may take with all its attempts.
    at_once
        How many requests are on their way at a time.

    Notes
    -----
    All methods raise `StoreUnavailableError`; those that take many names stop at the first error.
    """

    def __init__(
        self,
        connect: Callable[[asyncio.AbstractEventLoop], Wire],
        name: str,
        *,
        budget: float = BUDGET,
        at_once: int = AT_ONCE,
    ) -> None:
        self._connect = connect
        self._name = name
        self._budget = budget
        self._at_once = at_once
        self.first = FirstCheck()
        self.after_fork()
        _living.add(self)

    def after_fork(self) -> None:
        """Forget the connection, which is the parent's."""
        self._lock = threading.Lock()
        self._wire: Wire | None = None
        self._slots: asyncio.Semaphore | None = None
        self._outage = Outage(self._name, self._budget)
        self._clock: tuple[float, float, float] | None = None
        self.first.after_fork()

    def close(self) -> None:
        """Let go of connections; the next request makes new ones."""
        with self._lock:
            wire, self._wire = self._wire, None
        if wire is not None:
            with contextlib.suppress(Exception):
                objects_loop.wait(wire.close())

    # --- one ---

    def get(self, name: str, limit: int) -> bytes | None:
        """Return at most this many bytes of an object; None if it is not there."""
        return self.run(self.get_one(name, limit))

    def put(self, name: str, data: bytes) -> None:
        """Write a small object."""
        self.run(self.put_one(name, data))

    def create(self, name: str, data: bytes) -> bool:
        """Write an object that must not be there; False if there is another one.

        An answer that was lost makes our own object look like another's: they are compared, so
        `data` must be unlike what anybody else would write.
        """
        return self.run(self._create(name, data))

    def head(self, name: str) -> ObjectInfo | None:
        """Return what is known of an object; None if it is not there."""
        return self.run(self.attempt(name, lambda wire: wire.head(name)))

    def copy(self, source: str, target: str) -> None:
        """Copy an object, if it is there."""
        self.run(self.attempt(source, lambda wire: wire.copy(source, target)))

    def delete_if(self, seen: ObjectInfo) -> bool:
        """Remove an object unless it was written since it was seen, as far as servers can tell."""
        return self.run(self.attempt(seen.name, lambda wire: wire.delete_if(seen)))

    def server_time(self) -> float:
        """Return the time by the server's clock; the first time, something is written for it."""
        return self.run(self.clock())

    def any_name(self, folder: str) -> str:
        """Return the name of something in a folder, or nothing if it is empty."""
        return self.run(self.attempt(folder or self._name, lambda wire: wire.any_name(folder)))

    # --- many ---

    def get_many(self, names: Collection[str], limit: int) -> dict[str, bytes]:
        """Return at most this many bytes of each object; absent ones are left out."""
        found: dict[str, bytes] = {}

        async def get(name: str) -> None:
            data = await self.get_one(name, limit)
            if data is not None:
                found[name] = data

        self._each(get, names)
        return found

    def head_many(self, names: Collection[str]) -> dict[str, ObjectInfo]:
        """Return what is known of objects; absent ones are left out."""
        found: dict[str, ObjectInfo] = {}

        async def head(name: str) -> None:
            info = await self.attempt(name, lambda wire: wire.head(name))
            if info is not None:
                found[name] = info

        self._each(head, names)
        return found

    def delete_many(self, names: Collection[str]) -> None:
        """Remove objects; they need not be there."""
        self._each(self.delete_one, names)

    def delete_many_if(self, seen: Collection[ObjectInfo]) -> list[ObjectInfo]:
        """Remove objects unless they were written since they were seen; return what went."""
        found = {info.name: info for info in seen}
        gone: list[ObjectInfo] = []

        async def delete(name: str) -> None:
            if await self.attempt(name, lambda wire: wire.delete_if(found[name])):
                gone.append(found[name])

        self._each(delete, found)
        return gone

    def list_many(self, folders: Collection[str], most: int | None = None) -> list[ObjectInfo]:
        """Return the objects below folders, or the first of each, once at least `most` are read."""
        found: dict[str, list[ObjectInfo]] = {}

        async def list_all(folder: str, wire: Wire) -> list[ObjectInfo]:
            infos: list[ObjectInfo] = []
            async for page in wire.list(folder):
                infos += page
                if most is not None and len(infos) >= most:
                    break
            return infos

        async def list_one(folder: str) -> None:
            found[folder] = await self.attempt(
                folder, partial(list_all, folder), limit=max(60.0, self._budget)
            )

        self._each(list_one, folders)
        return [info for folder in folders for info in found[folder]]

    # --- large ---

    def read_parts(self, name: str, length: int, write: Callable[[int, bytes], object]) -> bool:
        """Read an object, a few parts at a time, in any order; False if it is not there.

        Where the object is shorter, there are fewer bytes.
        """
        return self.run(self._read_parts(name, length, write))

    async def _read_parts(
        self, name: str, length: int, write: Callable[[int, bytes], object]
    ) -> bool:
        absent = False

        async def read(start: int) -> None:
            nonlocal absent
            stop = min(start + PART, length)
            data = await self.attempt(
                name, lambda wire: wire.get(name, start, stop), size=stop - start
            )
            if data is None:
                absent = True
            else:
                write(start, data)

        jobs = (partial(read, start) for start in range(0, length, PART))
        await each(jobs, PARTS_AT_ONCE)
        return not absent

    # --- for coroutines of the loop ---

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for a coroutine that runs in the loop."""
        try:
            self.first.make()
        except BaseException:
            work.close()
            raise
        return objects_loop.wait(work)

    def start(self, work: Coroutine[Any, Any, T]) -> Any:
        """Begin a coroutine in the loop and return its future."""
        return objects_loop.start(work)

    async def get_one(self, name: str, limit: int) -> bytes | None:
        """Return at most this many bytes of an object."""
        return await self.attempt(name, lambda wire: wire.get(name, 0, limit))

    async def put_one(self, name: str, data: bytes | memoryview) -> None:
        """Write an object of any size."""
        if len(data) <= PART:
            small = bytes(data)
            await self.attempt(name, lambda wire: wire.put(name, small), size=len(small))
        else:
            view = memoryview(data)
            await self.attempt(name, lambda wire: wire.put_parts(name, view), size=len(view))

    async def clock(self) -> float:
        """Return the time by the server's clock."""
        known = self._clock
        # Ours may be put right meanwhile, or may not have gone on while the machine slept.
        passed = 0.0 if known is None else time.monotonic() - known[1]
        slipped = known is not None and abs(time.time() - known[2] - passed) > _SLIP
        if known is None or slipped or passed > _CLOCK_FOR:
            name = f"tokens/clock-{secrets.token_hex(8)}"
            asked, here = time.monotonic(), time.time()
            await self.put_one(name, b"")  # for which a full disk has room
            found = await self.attempt(name, lambda wire: wire.head(name))
            await self.delete_one(name)
            if found is None:
                raise StoreUnavailableError(f"{self._name}: what was just written is not there")
            self._clock = known = found.modified, asked, here
        return known[0] + time.monotonic() - known[1]

    async def delete_one(self, name: str) -> None:
        """Remove an object, if it is there."""
        await self.attempt(name, lambda wire: wire.delete(name))

    async def _create(self, name: str, data: bytes) -> bool:
        async def once(wire: Wire) -> bool:
            if await wire.put(name, data, create=True):
                return True
            there = await wire.get(name, 0, len(data) + 1)
            if there is None:
                msg = "it is said to be there, and is not"
                raise OSError(msg)
            return there == data

        return await self.attempt(name, once)

    async def attempt(
        self,
        what: str,
        once: Callable[[Wire], Awaitable[T]],
        *,
        size: int = 0,
        limit: float | None = None,
    ) -> T:
        """Make a request, again while it fails and there is time.

        Parameters
        ----------
        what
            The object, for messages.
        once
            Makes the request.
        size
            Bytes that travel, which take time of their own.
        limit
            Seconds for one attempt, if it is not a part of the budget.
        """
        if self._slots is None:
            self._slots = asyncio.Semaphore(self._at_once)
        async with self._slots:
            probes = self._outage.admit()
            transfer = size / _SLOWEST
            start = time.monotonic()
            until = start + (0.0 if probes else self._budget + transfer)
            longest = limit if limit is not None else self._budget / 3 + transfer
            if probes:
                longest = min(longest, PROBE + transfer)
            attempts, pause = 0, _FIRST_PAUSE
            while True:
                attempts += 1
                try:
                    async with asyncio.timeout(longest):
                        answer = await once(self._connected())
                except RefusedError as error:
                    self._outage.end()
                    raise StoreUnavailableError(f"store {self._name}: {error}") from error
                except StoreUnavailableError:
                    raise
                except Exception as error:  # noqa: BLE001  each library fails in ways of its own
                    cause = error
                    if deafness(error):
                        until = min(until, start + PATIENCE)
                else:
                    self._outage.end()
                    return answer
                pause = min(pause * 2, _LONGEST_PAUSE)
                rest = pause * random.uniform(0.5, 1.0)  # noqa: S311  no secret
                if time.monotonic() + rest >= until or self._outage.is_on:
                    seconds, told = time.monotonic() - start, self._tell(cause)
                    raise self._outage.begin(what, attempts, seconds, told) from cause
                await asyncio.sleep(rest)

    def _connected(self) -> Wire:
        with self._lock:
            if self._wire is None:
                self._wire = self._connect(asyncio.get_running_loop())
            return self._wire

    def _tell(self, cause: Exception) -> str:
        text = str(cause).strip().partition("\n")[0] or type(cause).__name__
        deaf = deafness(cause)
        parts = [text, "" if deaf in text.lower() else deaf, self._wire.hint if self._wire else ""]
        return "; ".join(filter(None, parts))

    def _each(
        self, work: Callable[[str], Coroutine[Any, Any, None]], names: Collection[str]
    ) -> None:
        if names:
            jobs: Iterable[Callable[[], Awaitable[None]]] = (partial(work, name) for name in names)
            self.run(each(jobs, min(self._at_once, len(names))))


_living: WeakSet[ObjectClient] = WeakSet()


def _after_fork() -> None:
    for client in list(_living):
        client.after_fork()


def _close_all() -> None:
    for client in list(_living):
        client.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_close_all)
