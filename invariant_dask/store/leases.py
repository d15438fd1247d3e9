"""Leases: clusters that share a store take turns at making the same artifact.

    leases/<hex of a resolved digest>    who makes it, with a number drawn at random

Advice only. Whoever holds one renews it; one that was not renewed for `EXPIRES`, by the clock of
the store, is anybody's. Whoever waits asks again and again, more and more rarely, whether the
artifact is there, and after `PATIENCE` makes it without a lease. A lease that is lost or taken by
two costs time: both make the same, and either result will do.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from invariant_dask.errors import StoreUnavailableError
from invariant_dask.store.base import Store
from invariant_dask.store.heartbeat import EVERY, HEART, Heart
from invariant_dask.store.keeper import Keeper
from invariant_dask.store.sizes import SECOND

EXPIRES = int(3 * EVERY) * SECOND
PATIENCE = 900.0
"""Seconds that somebody waits for another's artifact."""

_LEASES = "leases"
_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.05, 5.0, 1.5
_TRIES = 10
"""How often somebody asks again at once, because the lease seems to be free."""

logger = logging.getLogger("invariant_dask.store")


class Lease:
    """The right to make one artifact, given back at the end of a `with` block.

    Parameters
    ----------
    store
        Where the artifact will be. Where nobody looks after it, or it cannot be written, everybody
        may make everything.
    digest
        The resolved digest.
    owner
        Who asks, for people.
    heart
        Who renews it.
    sleep, elapsed
        Wait for some seconds, and tell how many have gone by.
    """

    def __init__(
        self,
        store: Store,
        digest: bytes,
        owner: str,
        *,
        heart: Heart = HEART,
        sleep: Callable[[float], None] = time.sleep,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._digest = digest
        self._name = digest.hex()
        self._data = f"{owner} {secrets.token_hex(16)}".encode(errors="backslashreplace")
        self._heart = heart
        self._sleep = sleep
        self._elapsed = elapsed
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.give_back()

    @property
    def is_held(self) -> bool:
        """Whether this is the holder, as far as it knows."""
        return self._number != 0

    def wait(self) -> bool:
        """Wait for our turn; return whether the artifact is there by then, made by another."""
        keeper = self._store.keeper()
        if keeper is None or keeper.is_read_only:
            return False
        try:
            return self._wait(keeper)
        except StoreUnavailableError as error:
            logger.info("%s: made without a lease: %s", self._name[:12], error)
            return False

    def _wait(self, keeper: Keeper) -> bool:
        until = self._elapsed() + PATIENCE
        pause = _FIRST_PAUSE
        free = _TRIES
        while not keeper.create_note(_LEASES, self._name, self._data):
            other = keeper.read_note(_LEASES, self._name)
            # One that is gone, or is removed here, is ours next; where that fails we wait too.
            if free and (
                other is None
                or (keeper.now() - other.written >= EXPIRES and keeper.remove_note(_LEASES, other))
            ):
                free -= 1
                continue
            if self._elapsed() + pause > until:
                owner = "another" if other is None else other.data.decode(errors="replace")
                told = owner.partition(" ")[0]
                logger.warning("%s is made here too: %s takes long", self._name[:12], told)
                return False
            self._sleep(pause)
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)
            if self._store.exists(self._digest):
                return True
        self._number = self._heart.add(self.beat)
        # Another may have made it after we looked, and given its lease back before we asked.
        return self._store.exists(self._digest)

    def beat(self) -> None:
        """Renew it, unless another has it by now."""
        keeper = self._store.keeper()
        if keeper is None or not self._number:
            return
        note = keeper.read_note(_LEASES, self._name)
        if note is not None and note.data == self._data:
            keeper.write_note(_LEASES, self._name, self._data)
        else:
            self._stop()

    def give_back(self) -> None:
        """Let others make it, or find what was made."""
        keeper = self._store.keeper()
        if keeper is None or not self._number:
            return
        self._stop()
        try:
            keeper.settle()
            note = keeper.read_note(_LEASES, self._name)
            if note is not None and note.data == self._data:
                keeper.remove_note(_LEASES, note)
        except StoreUnavailableError as error:
            logger.info("%s: its lease will expire: %s", self._name[:12], error)

    def _stop(self) -> None:
        self._heart.remove(self._number)
        self._number = 0
