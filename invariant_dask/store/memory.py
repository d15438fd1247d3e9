"""A store in the memory of one process: encoded bytes under a bound, never live objects."""

from __future__ import annotations

import heapq
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from invariant_dask.core.digest import BlobId
from invariant_dask.errors import SpecError, StoreNotSharedError
from invariant_dask.store.base import Store, StoreRef, openers
from invariant_dask.store.record import EntryRow
from invariant_dask.store.trust import DEFAULT_TERMS, Terms

if TYPE_CHECKING:
    from typing_extensions import Buffer

Policy = Literal["lru", "lfu", "ttl", "unbounded"]
_POLICIES = ("lru", "lfu", "ttl", "unbounded")

# Many ways of asking may lead to one artifact; beyond this the oldest claims are forgotten.
_CLAIMS_PER_RECORD = 64


@dataclass(slots=True)
class _Slot:
    """A record with the planned entries that point to it."""

    row: EntryRow
    size: int
    number: int
    uses: int = 0
    expires: float = float("inf")
    claims: dict[bytes, EntryRow] = field(default_factory=dict)


_EVICTED = "evicted: there was no room left for it in memory, or it was too old"


class MemoryStore(Store):
    """Keeps artifacts in this process until they must make room.

    Parameters
    ----------
    cache
        Who makes room: the least recently used (`"lru"`), the least often used (`"lfu"`), the
        oldest, and whatever is older than `ttl` seconds (`"ttl"`), or nobody (`"unbounded"`).
    max_size
        The most artifacts to keep; by default any number.
    max_bytes
        The most bytes to keep, of artifacts and their records together; None for no limit. What is
        larger is not kept at all.
    ttl
        Seconds that an artifact is kept, for `cache="ttl"`.
    terms
        Whose entries are taken, and how large artifacts may be.

    Raises
    ------
    SpecError
        If the options do not fit together.
    """

    kind = "memory"
    has_generation = True

    def __init__(
        self,
        cache: Policy = "lru",
        max_size: int | None = None,
        max_bytes: int | None = 2 * 2**30,
        ttl: float | None = None,
        *,
        terms: Terms = DEFAULT_TERMS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(terms)
        if cache not in _POLICIES:
            msg = f"cache={cache!r} is not one of {', '.join(map(repr, _POLICIES))}"
            raise SpecError(msg)
        if any(most is not None and most < 1 for most in (max_size, max_bytes)):
            raise SpecError("max_size and max_bytes must be positive; NullStore keeps nothing")
        if (ttl is not None) != (cache == "ttl") or (ttl is not None and ttl <= 0):
            raise SpecError('cache="ttl" needs ttl=, in seconds; the other policies take none')
        self._policy = cache
        self._max_size = max_size if cache != "unbounded" else None
        self._max_bytes = max_bytes if cache != "unbounded" else None
        self._ttl = ttl
        self._clock = clock
        self._identity = uuid.uuid4().hex
        self._lock = threading.RLock()
        self._slots: OrderedDict[bytes, _Slot] = OrderedDict()
        self._targets: dict[bytes, bytes] = {}
        self._blobs: dict[BlobId, bytes] = {}
        self._uses: dict[BlobId, int] = {}
        self._heap: list[tuple[int, int, bytes]] = []
        self._number = 0
        self._bytes = 0

    @property
    def url(self) -> str:
        """Opens a new, empty store; the contents of this one cannot be named."""
        return "memory:"

    @property
    def place(self) -> str:
        """No other store holds the same."""
        return f"memory:{self._identity[:12]}"

    @property
    def is_process_local(self) -> bool:
        """True."""
        return True

    def _token(self) -> str:
        return self._identity

    def _after_fork(self) -> None:
        super()._after_fork()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._slots)

    def __bool__(self) -> bool:
        return True

    # --- entries ---

    def _read_entries(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        rows = {}
        with self._lock:
            self._expire()
            for digest in digests:
                slot = self._slots.get(digest)
                if slot is None:
                    target = self._targets.get(digest)
                    if target is None:
                        continue
                    slot = self._slots[target]
                    rows[digest] = slot.claims[digest].data
                rows[slot.row.digest] = slot.row.data
                slot.uses += 1
                if self._policy == "lru":
                    self._slots.move_to_end(slot.row.digest)
        return rows

    def _write_entries(self, rows: Sequence[EntryRow]) -> bool:
        with self._lock:
            if any(blob not in self._blobs for row in rows for blob in row.blobs):
                return False
            for row in rows:
                if row.target is None:
                    self._keep_record(row)
                else:
                    self._keep_claim(row)
            self._let_go_of_giants(rows)
            self._make_room()
        return True

    def _let_go_of_giants(self, rows: Sequence[EntryRow]) -> None:
        """What would not fit if it were alone must not drive everything else out first."""
        for row in rows:
            slot = self._slots.get(row.digest)
            if slot is not None and self._max_bytes is not None:
                blobs = sum(len(self._blobs[blob]) for blob in set(row.blobs))
                if slot.size + blobs > self._max_bytes:
                    self._evict(row.digest)

    def _keep_record(self, row: EntryRow) -> None:
        claims: dict[bytes, EntryRow] = {}
        old = self._slots.get(row.digest)
        # Counted before the old one is let go, so that blobs of both stay.
        for blob in row.blobs:
            self._uses[blob] = self._uses.get(blob, 0) + 1
        if old is not None:
            claims = old.claims
            self._forget_slot(row.digest, keep_claims=True)
        self._forget_claim(row.digest)
        self._number += 1
        size = len(row.data) + sum(len(claim.data) for claim in claims.values())
        slot = _Slot(row, size, self._number, uses=old.uses if old else 0, claims=claims)
        if self._ttl is not None:
            slot.expires = self._clock() + self._ttl
        self._slots[row.digest] = slot
        self._bytes += size
        if self._policy == "lfu":
            heapq.heappush(self._heap, (slot.uses, slot.number, row.digest))
            if len(self._heap) > 2 * len(self._slots) + 64:
                self._heap = [(s.uses, s.number, digest) for digest, s in self._slots.items()]
                heapq.heapify(self._heap)

    def _keep_claim(self, row: EntryRow) -> None:
        assert row.target is not None
        slot = self._slots.get(row.target)
        if slot is None or row.digest in self._slots:
            return  # a claim about a record that went away would be found by nobody
        self._forget_claim(row.digest)
        if len(slot.claims) >= _CLAIMS_PER_RECORD:
            self._forget_claim(next(iter(slot.claims)))
        slot.claims[row.digest] = row
        self._targets[row.digest] = row.target
        slot.size += len(row.data)
        self._bytes += len(row.data)

    def _forget_claim(self, digest: bytes) -> bool:
        target = self._targets.pop(digest, None)
        if target is None:
            return False
        slot = self._slots[target]
        size = len(slot.claims.pop(digest).data)
        slot.size -= size
        self._bytes -= size
        return True

    def _forget_slot(self, digest: bytes, *, keep_claims: bool = False) -> int:
        slot = self._slots.pop(digest, None)
        if slot is None:
            return 0
        self._bytes -= slot.size
        for blob in slot.row.blobs:
            self._uses[blob] -= 1
            if not self._uses[blob]:
                self._drop_blob(blob)
        if keep_claims:
            return 1
        for claim in slot.claims:
            del self._targets[claim]
        return 1 + len(slot.claims)

    def _delete_entries(self, digests: Sequence[bytes]) -> int:
        with self._lock:
            self._expire()
            claims = sum(self._forget_claim(digest) for digest in digests)
            return claims + sum(self._forget_slot(digest) for digest in digests)

    def _delete_op(self, op: str) -> int:
        with self._lock:
            self._expire()
            doomed = [digest for digest, slot in self._slots.items() if slot.row.op == op]
            return sum(map(self._forget_slot, doomed))

    def generation(self) -> int | None:
        return 0

    @property
    def removals(self) -> int:
        """As for all stores; what is too old by now counts."""
        if self._ttl is not None:
            with self._lock:
                self._expire()
        return super().removals

    def _recent(self, op: str, limit: int) -> list[tuple[bytes, bytes]]:
        with self._lock:
            self._expire()
            slots = [slot for slot in self._slots.values() if slot.row.op == op]
        slots.sort(key=lambda slot: (slot.row.created, slot.number), reverse=True)
        return [(slot.row.digest, slot.row.data) for slot in slots[:limit]]

    # --- room ---

    def _expire(self) -> None:
        if self._ttl is None:
            return
        now = self._clock()
        # Writing moves a slot to the end, so the first to expire are the first in order.
        while self._slots and next(iter(self._slots.values())).expires <= now:
            self._evict(next(iter(self._slots)))

    def _make_room(self) -> None:
        self._expire()
        while self._slots and (
            (self._max_size is not None and len(self._slots) > self._max_size)
            or (self._max_bytes is not None and self._bytes > self._max_bytes)
        ):
            self._evict(self._victim())

    def _victim(self) -> bytes:
        if self._policy != "lfu":
            return next(iter(self._slots))
        newest = next(reversed(self._slots))
        postponed = []
        while True:
            uses, number, digest = heapq.heappop(self._heap)
            slot = self._slots.get(digest)
            if slot is None or slot.number != number:
                continue
            if slot.uses != uses:
                heapq.heappush(self._heap, (slot.uses, number, digest))
            elif digest == newest and len(self._slots) > 1:
                # Nobody had a chance to use what was just written.
                postponed.append((uses, number, digest))
            else:
                break
        for item in postponed:
            heapq.heappush(self._heap, item)
        return digest

    def _evict(self, digest: bytes) -> None:
        slot = self._slots.get(digest)
        for each in () if slot is None else (digest, *slot.claims):
            self._misses.note(each, _EVICTED)
        self._count(evicted=self._forget_slot(digest))

    # --- blobs ---

    def _read_blob(self, blob: BlobId, length: int) -> Buffer | None:
        data = self._blobs.get(blob)
        return data if data is not None and len(data) == length else None

    def _write_blobs(self, blobs: Mapping[BlobId, Buffer]) -> None:
        with self._lock:
            for blob, data in blobs.items():
                if blob not in self._blobs:
                    kept = data if type(data) is bytes else bytes(data)
                    self._blobs[blob] = kept
                    self._bytes += len(kept)

    def _has_blobs(self, blobs: Collection[tuple[BlobId, int]]) -> set[BlobId]:
        with self._lock:
            return {blob for blob, length in blobs if len(self._blobs.get(blob, b"")) == length}

    def _drop_blob(self, blob: BlobId) -> None:
        self._uses.pop(blob, None)
        self._bytes -= len(self._blobs.pop(blob, b""))

    # --- damage ---

    def _quarantine_entry(self, digest: bytes, data: bytes) -> None:
        with self._lock:
            if self._read_entries([digest]).get(digest) == data:
                self._delete_entries([digest])

    def _quarantine_blob(self, blob: BlobId) -> None:
        with self._lock:
            # Who refers to it still does: the count stays for when it is written again.
            self._bytes -= len(self._blobs.pop(blob, b""))


def _open(_ref: StoreRef) -> Store:
    msg = (
        "a MemoryStore is seen by the process that made it and by no other; for workers in "
        "processes of their own use a folder that all of them share, or an s3:// URL"
    )
    raise StoreNotSharedError(msg)


openers[MemoryStore.kind] = _open
