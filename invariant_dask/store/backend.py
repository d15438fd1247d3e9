"""What a back end of a store must be able to do, with bytes only, and the counters of all stores.

A back end keeps entries under digests and blobs under their ids, and never looks into either.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from invariant_dask.core.digest import BlobId
from invariant_dask.store.keeper import Keeper
from invariant_dask.store.record import EntryRow
from invariant_dask.store.sizes import size_text

if TYPE_CHECKING:
    from typing_extensions import Buffer


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What a store did in this process since it was opened, or since `reset_stats`."""

    hits: int = 0
    """Digests looked up and found."""
    misses: int = 0
    """Digests looked up and not found, damaged ones included."""
    puts: int = 0
    """Artifacts published."""
    fetches: int = 0
    """Artifacts read."""
    bytes_read: int = 0
    """Bytes of the artifacts read."""
    bytes_written: int = 0
    """Bytes of the entries and artifacts published."""
    quarantined: int = 0
    """Damaged entries and blobs that were set aside."""
    untrusted: int = 0
    """Entries read that the trust policy did not take; the look-up may still have been a hit."""
    unsigned: int = 0
    """Artifacts that this process has a key for and published without: see `store.trust`."""
    evicted: int = 0
    """Entries that had to make room."""


@dataclass(frozen=True, slots=True)
class Missed:
    """What a tier of a chain does not have, though it was published."""

    tier: str
    count: int
    names: tuple[str, ...]
    """Nodes, or ops where no node is known; the first few."""
    reason: str

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.names) else ""
        what = "artifact is" if self.count == 1 else "artifacts are"
        return f"{self.count} {what} not in {self.tier} ({', '.join(self.names)}{more}): " + (
            self.reason
        )


def merged(missed: Iterable[Missed]) -> list[Missed]:
    """Return what several processes miss, added up for each tier."""
    tiers: dict[str, Missed] = {}
    for each in missed:
        other = tiers.get(each.tier)
        if other is not None:
            names = tuple(dict.fromkeys((*other.names, *each.names)))[:5]
            each = Missed(each.tier, other.count + each.count, names, other.reason)  # noqa: PLW2901
        tiers[each.tier] = each
    return list(tiers.values())


def _no_counts() -> dict[str, int]:
    return {field.name: 0 for field in fields(StoreStats)}


class Backend(ABC):
    """The part of a store that differs from store to store; see `store.base.Store`."""

    leases = False
    """Whether runs take turns with those of other clusters at making the same artifact."""

    has_generation = False
    """Whether `generation` tells anything."""

    def __init__(self) -> None:
        self._counts = _no_counts()
        self._counts_lock = threading.Lock()
        self._removals = 0
        self._unkept: Counter[str] = Counter()
        self._unkept_reason = ""
        _backends.add(self)

    @property
    @abstractmethod
    def url(self) -> str:
        """What `open_store` takes to open the same place again."""

    @property
    def place(self) -> str:
        """What tells this place from all others; two stores of one place hold the same."""
        return self.url

    @property
    def is_process_local(self) -> bool:
        """Whether no other process can ever see what is in here."""
        return False

    @property
    def is_left_out(self) -> bool:
        """Whether the place that is looked after fails just now, which was said."""
        return False

    @property
    def may_damage_on_the_way(self) -> bool:
        """Whether bytes that are not what they should be may be so only here: they are read again
        before they count as damaged.
        """
        return False

    @property
    def local_folder(self) -> Path | None:
        """A folder of this host that belongs to the store and can be written, if it has one."""
        return None

    def make_sure(self) -> None:  # noqa: B027
        """Make sure that the place can be used, where that was put off until it is.

        Raises
        ------
        StoreLayoutError
            If it is something else than a store.
        """

    @abstractmethod
    def _token(self) -> str:
        """Return the proof by which another process knows that it sees the same place."""

    def _show_token(self) -> None:  # noqa: B027
        """Put the proof where other processes see it, if there is such a place."""

    @abstractmethod
    def _read_entries(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the entries that are there, unverified, and perhaps what they point to.

        Entries that were asked for count as used, where that decides what is evicted.
        """

    @abstractmethod
    def _write_entries(self, rows: Sequence[EntryRow]) -> bool:
        """Write entries in this order, each whole or not at all, replacing older ones.

        Returns False, with nothing written, if a blob that a row names went away meanwhile.
        """

    @abstractmethod
    def _delete_entries(self, digests: Sequence[bytes]) -> int:
        """Remove entries and return how many were there."""

    @abstractmethod
    def _delete_op(self, op: str) -> int:
        """Remove all entries of an op and return how many there were."""

    @abstractmethod
    def _recent(self, op: str, limit: int) -> list[tuple[bytes, bytes]]:
        """Return digest and entry of the latest records of an op, newest first."""

    def generation(self) -> int | None:
        """Return a number that changes when another process writes entries.

        None, the default, says that this cannot be told cheaply, or that reading all records of an
        op is not cheap.
        """
        return None

    @abstractmethod
    def _read_blob(self, blob: BlobId, length: int) -> Buffer | None:
        """Return what is kept under a blob id, unverified and never to change.

        None if it is not there with exactly this length: no more is read than was declared.

        Raises
        ------
        IntegrityError
            If what is there cannot be that blob, whatever its bytes hash to.
        """

    def _why_unread(self, blob: BlobId) -> str:  # noqa: ARG002
        """Say why a blob counts as absent though it is there, if it is."""
        return ""

    def _length_of_blob(self, blob: BlobId) -> int | None:  # noqa: ARG002
        """Return how long the blob is that is there; None if there is none, or it cannot be told.

        Only asked when it is not what was expected.
        """
        return None

    @abstractmethod
    def _write_blobs(self, blobs: Mapping[BlobId, Buffer]) -> None:
        """Keep blobs, each visible only when whole; those already there may be left alone."""

    @abstractmethod
    def _has_blobs(self, blobs: Collection[tuple[BlobId, int]]) -> set[BlobId]:
        """Return which of these blobs are there, with that length."""

    @abstractmethod
    def _quarantine_entry(self, digest: bytes, data: bytes) -> None:
        """Set a damaged entry aside, unless it was replaced since it was read."""

    @abstractmethod
    def _quarantine_blob(self, blob: BlobId) -> None:
        """Set a damaged blob aside."""

    def _keep_report(  # noqa: B027
        self, name: bytes, what: str, report: Mapping[str, str]
    ) -> None:
        """Keep a report beside what was just set aside, where there is such a place.

        `what` is `entry` or `blob`.
        """

    def grouping(self) -> AbstractContextManager[None]:
        """Return a context in which what is published may be committed up to 10 ms later.

        This process sees it at once, others when it is committed; at the end of the block all is.
        A store that gains nothing by it commits at once.
        """
        return nullcontext()

    def note_unkept(self, names: Iterable[str], reason: str) -> None:
        """Remember that artifacts could not be kept; `missed` tells it."""
        with self._counts_lock:
            self._unkept.update(names)
            self._unkept_reason = reason

    def missed(self) -> Missed | None:
        """Return, once, what was made and could not be kept since this was last asked."""
        with self._counts_lock:
            unkept, self._unkept = self._unkept, Counter()
        if not unkept:
            return None
        return Missed(self.url, unkept.total(), tuple(unkept)[:5], self._unkept_reason)

    def keeper(self) -> Keeper | None:
        """Return who looks after the place, or None if nothing there needs it."""
        return None

    def barrier(self) -> tuple[Missed, ...]:
        """Wait until what was published is wherever it has to be, and return what is not.

        A run calls this before it reports success. Only stores that write later have to wait.
        """
        missed = self.missed()
        return () if missed is None else (missed,)

    def close(self) -> None:  # noqa: B027
        """Let go of files and connections; using the store again takes them again."""

    def _after_fork(self) -> None:
        """Forget what threads of the parent process may have held; called in the child."""
        self._counts_lock = threading.Lock()

    # --- statistics ---

    @property
    def stats(self) -> StoreStats:
        """What was done so far, as an unchanging snapshot."""
        with self._counts_lock:
            return StoreStats(**self._counts)

    @property
    def puts(self) -> int:
        """How many artifacts were published; another number means that there are new ones."""
        return self._counts["puts"]

    @property
    def removals(self) -> int:
        """A number that changes whenever this object removed entries, for whatever reason."""
        with self._counts_lock:
            return self._removals + self._counts["evicted"] + self._counts["quarantined"]

    def reset_stats(self) -> None:
        """Count from zero again."""
        with self._counts_lock:
            self._removals += self._counts["evicted"] + self._counts["quarantined"]
            self._counts = _no_counts()

    def _count(self, **more: int) -> None:
        with self._counts_lock:
            counts = self._counts
            for name, number in more.items():
                counts[name] += number


_backends: WeakSet[Backend] = WeakSet()


def _after_fork() -> None:
    for backend in list(_backends):
        backend._after_fork()  # noqa: SLF001


os.register_at_fork(after_in_child=_after_fork)


def told_stats(stats: StoreStats) -> list[tuple[str, str]]:
    """Return what a store did in words, what it did not do left out."""
    sizes = {"bytes_read": stats.bytes_read, "bytes_written": stats.bytes_written}
    told = {name: size_text(size) for name, size in sizes.items() if size}
    told |= {
        name: f"{count:,}"
        for name in StoreStats.__slots__
        if name not in sizes and (count := getattr(stats, name))
    }
    return [(name.replace("_", " "), told[name]) for name in StoreStats.__slots__ if name in told]
