"""One tier of a chain: a store, how it is written, and whether it is left out just now."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

from invariant_dask.core.digest import BlobId
from invariant_dask.errors import (
    SpecError,
    StoreLayoutError,
    StoreNotSharedError,
    StoreUnavailableError,
)
from invariant_dask.store import signals
from invariant_dask.store.base import Store
from invariant_dask.store.behind import Behind, Piece, Source
from invariant_dask.store.breaker import FIRST_PAUSE, LONGEST_PAUSE, Breaker, Clock
from invariant_dask.store.late import LateStore
from invariant_dask.store.record import EntryRow

if TYPE_CHECKING:
    from typing_extensions import Buffer

WritePolicy = Literal["through", "behind", "read-only"]
WRITE_POLICIES = ("through", "behind", "read-only")

TROUBLE = (StoreUnavailableError, StoreLayoutError, StoreNotSharedError)
"""What a tier raises when it cannot be used; anything else is an error of ours or the user's."""

T = TypeVar("T")

logger = logging.getLogger("invariant_dask.store")


@dataclass(frozen=True, slots=True)
class Tier:
    """A store as part of a chain.

    Parameters
    ----------
    store
        Where artifacts are.
    write
        `"through"`: written before publishing returns. `"behind"`: written soon after, in the
        background; a run waits for that before it reports success. `"read-only"`: never changed.
    private
        True for a folder that each host has for itself, under the same path or in its temporary
        folder. False for one that all must see. By default a folder that other processes do not
        see is taken for private if a tier behind it is shared.
    name
        What messages call it; by default its URL.

    Raises
    ------
    SpecError
        If `write` is none of these.
    """

    store: Store
    write: WritePolicy = "through"
    private: bool | None = None
    name: str = ""

    def __post_init__(self) -> None:
        given: object = self.store
        if not isinstance(given, Store):
            raise SpecError(f"a tier is made of a store, not of {given!r}; use open_store")
        if self.write not in WRITE_POLICIES:
            known = ", ".join(map(repr, WRITE_POLICIES))
            raise SpecError(f"write={self.write!r} of tier {self.store.url} is not one of {known}")
        if self.store.kind == "read-only":
            object.__setattr__(self, "write", "read-only")


class TierStats(NamedTuple):
    """What one tier of a chain answered in this process, and how it is."""

    name: str
    write: WritePolicy
    state: str
    """`in use`; `left out` after a failure; `not written` if only writing failed."""
    hits: int
    """Digests that this tier answered."""
    misses: int
    """Digests that it was asked for and did not have."""
    failures: int
    promoted: int
    """Artifacts that were copied here because they were found further away."""
    waiting: int
    """Artifacts on their way here."""
    missing: int
    """Artifacts that could not be written here yet."""


class LiveTier:
    """A tier in use. Nothing it is asked raises, but for errors that are not the tier's."""

    def __init__(
        self,
        tier: Tier,
        source: Source,
        clock: Clock = time.monotonic,
        pauses: tuple[float, float] = (FIRST_PAUSE, LONGEST_PAUSE),
    ) -> None:
        self.tier = tier
        self.write_policy = tier.write
        self.name = tier.name or tier.store.url
        self.reading = Breaker(clock, *pauses)
        self.writing = Breaker(clock, *pauses)
        self.behind = Behind(self, source)
        self.epoch = 0
        """Changes when the tier is left out, and when it is back."""
        self._lock = threading.Lock()
        self._counts = {"hits": 0, "misses": 0, "failures": 0, "promoted": 0}

    @property
    def store(self) -> Store:
        """The store."""
        return self.tier.store

    @property
    def takes_writes(self) -> bool:
        """Whether anything may be changed here."""
        return self.write_policy != "read-only"

    @property
    def lasts(self) -> bool:
        """Whether what is written outlives this process."""
        return not self.store.is_process_local

    @property
    def is_named(self) -> bool:
        """Whether other processes can be told of it by now."""
        return not isinstance(self.store, LateStore) or self.store.is_named

    @property
    def stats(self) -> TierStats:
        """What was done so far."""
        state = "in use"
        if self.reading.is_open:
            state = "left out"
        elif self.writing.is_open:
            state = "not written"
        with self._lock:
            counts = dict(self._counts)
        waiting, missing = self.behind.waiting, self.behind.missing
        return TierStats(
            self.name, self.write_policy, state, **counts, waiting=waiting, missing=missing
        )

    def count(self, **more: int) -> None:
        """Add to the counters."""
        with self._lock:
            for name, number in more.items():
                self._counts[name] += number

    def reset_stats(self) -> None:
        """Count from zero again."""
        self.store.reset_stats()
        with self._lock:
            self._counts = dict.fromkeys(self._counts, 0)

    def after_fork(self) -> None:
        """Forget what threads of the parent process may have held."""
        self._lock = threading.Lock()
        for breaker in (self.reading, self.writing):
            breaker.after_fork()
        self.behind.after_fork()

    # --- asking ---

    def ask(self, question: Callable[[Store], T]) -> T | None:
        """Return the answer of the store, or None if it is left out or cannot answer."""
        if not self.reading.admits():
            return None
        try:
            answer = question(self.store)
        except TROUBLE as error:
            self._failed(self.reading, error)
            return None
        if self.reading.succeed():
            self._is_back()
        return answer

    def change(self, action: Callable[[Store], T]) -> T | None:
        """Do something to the store; return None if it is left out or cannot."""
        if not self.writing.admits():
            return None
        try:
            answer = action(self.store)
        except TROUBLE as error:
            self._failed(self.writing, error)
            return None
        if self.writing.succeed():
            self._is_back()
            self.behind.catch_up()
        return answer

    def write(self, blobs: Mapping[BlobId, Buffer], rows: Sequence[EntryRow]) -> str:
        """Write what belongs together; return what came in the way, nothing if all is well."""
        if not (blobs or rows):
            return ""

        def publish(store: Store) -> bool:
            if rows:
                store._publish(blobs, rows)  # noqa: SLF001
            else:
                store._write_blobs(blobs)  # noqa: SLF001
            return True

        return "" if self.change(publish) else self.writing.reason or "it cannot be written"

    def write_or_miss(self, blobs: Mapping[BlobId, Buffer], rows: Sequence[EntryRow]) -> bool:
        """Write now; what that fails for is written later, if the tier comes back."""
        trouble = self.write(blobs, rows)
        if trouble:
            self.behind.miss(piece_of(blobs, rows), trouble)
        return not trouble

    def grouping(self) -> AbstractContextManager[None]:
        """Return the store's grouping, if it is written at all."""
        return self.store.grouping() if self.takes_writes else nullcontext()

    def _failed(self, breaker: Breaker, error: Exception) -> None:
        self.count(failures=1)
        if not breaker.fail(str(error)):
            logger.info("%s still fails: %s", self.name, error)
            return
        with self._lock:
            self.epoch += 1
        if breaker is self.writing and self.reading.is_open:
            logger.info("%s is not written to either: %s", self.name, error)
            return  # it was said that it fails
        what = "left out" if breaker is self.reading else "not written to"
        text = "tier %s fails and is %s; it is tried again in %.3g s, then less often: %s"
        logger.warning(text, self.name, what, breaker.pause, error)
        signals.send(signals.Signal("down", self.name, b"", f"{what}: {error}"))

    def _is_back(self) -> None:
        with self._lock:
            self.epoch += 1
        logger.warning("tier %s is back", self.name)


def piece_of(blobs: Mapping[BlobId, Buffer], rows: Sequence[EntryRow]) -> Piece:
    """Return what is published together as a piece to be written later."""
    parts = tuple((blob, memoryview(data).nbytes) for blob, data in blobs.items())
    return Piece(tuple(rows), parts)
