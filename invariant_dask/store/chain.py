"""Stores behind each other, near to far: read the nearest that has it, write them all.

What one tier does not have, the next is asked for; what is found further away is copied nearer.
Everything is verified by the tier it comes from, so a damaged artifact is set aside there, read
from the next one and repaired. Artifacts with blobs are copied when they are fetched, others when
they are looked up; entries are copied as the bytes that their writer made.

A tier that fails is left out for a while, and said so once. What it missed is written when it is
back, and told by `barrier` until then. An artifact is published when one tier has it that outlives
this process, if there is such a one: a tier written behind is written at once when no other took
it.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from invariant_dask.core.digest import BlobId, sha256
from invariant_dask.errors import SpecError
from invariant_dask.store.base import Store, StoreRef, register_live
from invariant_dask.store.breaker import FIRST_PAUSE, LONGEST_PAUSE, Clock
from invariant_dask.store.chain_ref import ChainRef, tier_ref
from invariant_dask.store.chain_tiers import Others, Tiers
from invariant_dask.store.chain_trust import JoinedJudge, joined_terms
from invariant_dask.store.found_far import FoundFar
from invariant_dask.store.keeper import Keeper
from invariant_dask.store.record import EntryRow, Found, PlannedEntry, Record
from invariant_dask.store.tiers import LiveTier, Tier

if TYPE_CHECKING:
    from typing_extensions import Buffer


class ChainStore(Tiers):
    """Several stores as one.

    Parameters
    ----------
    *tiers
        Stores, or `Tier`s that say how they are written, from near to far.
    clock
        Seconds, never going back, by which a tier that fails is tried again.
    pauses
        How long, in seconds, a tier is left out after the first failure, and at most.

    Raises
    ------
    SpecError
        If there are no tiers, one of them is a chain, or one is there twice.

    Notes
    -----
    A look-up asks each tier at most once for all that nearer tiers do not have, and once more for
    records that entries found so far point to. In another process a chain needs at least one
    shared tier that is written; see `store.chain_ref`.
    """

    kind = "chain"

    def __init__(
        self,
        *tiers: Store | Tier,
        clock: Clock = time.monotonic,
        pauses: tuple[float, float] = (FIRST_PAUSE, LONGEST_PAUSE),
    ) -> None:
        if not tiers:
            raise SpecError("a chain needs at least one tier")
        made = [tier if isinstance(tier, Tier) else Tier(tier) for tier in tiers]
        if any(tier.store.kind == "chain" for tier in made):
            raise SpecError("a chain cannot be a tier; list its tiers instead")
        places = [tier.store.place for tier in made if tier.store.kind != "null"]
        if len(set(places)) < len(places):
            raise SpecError(f"one store is there twice: {', '.join(places)}")
        stores = [tier.store for tier in made]
        super().__init__(joined_terms(stores))
        self._judge = JoinedJudge(stores, self.terms)
        self.leases = any(store.leases for store in stores)
        self._identity = uuid.uuid4().hex
        self._here = _Here()
        self._found_far = FoundFar()
        self._set_up(
            [LiveTier(tier, Others(self, place), clock, pauses) for place, tier in enumerate(made)]
        )

    def _after_fork(self) -> None:
        super()._after_fork()
        self._here = _Here()
        self._found_far.after_fork()

    def _delete(
        self, delete: Callable[[Store], int], has: Callable[[Store], bool],
        keep: Callable[[EntryRow], bool],
    ) -> int:  # fmt: skip
        self._found_far.clear()
        return super()._delete(delete, has, keep)

    # --- looking up ---

    def lookup(self, digests: Iterable[bytes]) -> dict[bytes, Found]:
        wanted = list(dict.fromkeys(digests))
        return self._look_up(wanted)[0] if wanted else {}

    def _look_up(self, wanted: Sequence[bytes]) -> tuple[dict[bytes, Found], dict[bytes, bytes]]:
        number = self._forgotten
        found: dict[bytes, Found] = {}
        rows: dict[bytes, bytes] = {}
        missing = list(wanted)
        answered = False
        for place, tier in enumerate(self._tiers):
            answer = tier.ask(_question(missing))
            if answer is None:
                continue
            answered = True
            here, read = answer
            tier.count(hits=len(here), misses=len(missing) - len(here))
            if place and here:
                self._promote(here, read, place, number)
            name = tier.name
            found.update({digest: each._replace(tier=name) for digest, each in here.items()})
            rows = {**read, **rows} if rows else read
            missing = [digest for digest in missing if digest not in here]
            if not missing:
                break
        if not answered:
            self._refuse("read")
        if any(digest in rows for digest in missing):
            # Entries whose records or blobs are in another tier.
            found.update(self._with_blobs(self._resolve(missing, rows)))
        self._forget_reasons(found)
        self._count(hits=len(found), misses=len(wanted) - len(found))
        return {digest: found[digest] for digest in wanted if digest in found}, rows

    def found_in(self, digest: bytes, data: bytes) -> Found | None:  # noqa: ARG002
        # The bytes do not say which tier they are from, and whether others have better ones.
        return self.lookup([digest]).get(digest)

    def recent(self, op: str, limit: int = 50) -> list[Record]:
        records: dict[bytes, Record] = {}
        for tier in self._tiers:
            for record in tier.ask(lambda store: store.recent(op, limit)) or ():
                records.setdefault(record.resolved, record)
        latest = sorted(records.values(), key=lambda record: record.about.created, reverse=True)
        return latest[:limit]

    # --- copying nearer ---

    def _promote(
        self, found: Mapping[bytes, Found], read: Mapping[bytes, bytes], place: int, number: int
    ) -> None:
        rows: dict[bytes, EntryRow] = {}
        claims: dict[bytes, EntryRow] = {}
        for digest, (record, entry, *_) in found.items():
            own = _rows_of(digest, record, entry, read)
            if record.is_inline:
                rows[record.resolved] = own[0]
                claims.update((row.digest, row) for row in own[1:])
            else:
                self._found_far.add(record.resolved, own)
        if rows:
            self._copy({}, [*rows.values(), *claims.values()], place, number)

    def _copy(
        self, blobs: Mapping[BlobId, Buffer], rows: list[EntryRow], place: int, number: int
    ) -> None:
        with self._copy_lock:
            if number != self._forgotten:
                rows = []  # it may be what was removed
            for tier in self._tiers[:place]:
                taken = self._taken(tier.store, rows)
                if not tier.takes_writes or (rows and not taken):
                    continue
                if not tier.write(blobs if tier.lasts or taken else {}, taken):
                    tier.count(promoted=sum(row.target is None for row in taken))

    def _taken(self, store: Store, rows: list[EntryRow]) -> list[EntryRow]:
        """Return what a tier would believe, if its terms are not those of all."""
        if store.terms == self.terms:
            return rows
        records = {
            row.digest
            for row in rows
            if row.target is None and store._takes(row.digest, row.data)  # noqa: SLF001
        }
        return [
            row
            for row in rows
            if row.digest in records
            or (row.target in records and store._takes(row.digest, row.data))  # noqa: SLF001
        ]

    # --- reading ---

    def fetch(self, record: Record) -> tuple[bytes, dict[BlobId, Buffer]]:
        if record.is_inline:
            return super().fetch(record)
        number = self._forgotten
        outer, self._here.far = self._here.far, {}
        try:
            storage = super().fetch(record)
            far = self._here.far
        finally:
            self._here.far = outer
        rows = self._found_far.take(record.resolved)
        if far or rows:
            self._keep_fetched(record, storage, far, rows, number)
        return storage

    def _keep_fetched(
        self, record: Record, fetched: tuple[bytes, dict[BlobId, Buffer]],
        far: dict[BlobId, tuple[Buffer, int]], rows: list[EntryRow], number: int,
    ) -> None:  # fmt: skip
        """Copy an artifact that is at hand, whole, to the tiers before the one it came from."""
        if not rows:
            data = self._read_entries([record.resolved]).get(record.resolved)
            rows = [] if data is None else [_record_row(record, data)]
        storage, blobs = fetched
        whole: dict[BlobId, Buffer] = dict(blobs)
        if record.storage_blob is not None:
            whole[record.storage_blob[0]] = storage
        place = max((place for _, place in far.values()), default=len(self._tiers) - 1)
        self._copy(whole, rows, place, number)

    def _verified_blob(self, blob: BlobId, length: int) -> Buffer | None:
        for place, tier in enumerate(self._tiers):
            data = tier.ask(lambda store: store._verified_blob(blob, length))  # noqa: SLF001
            if data is not None:
                if place:
                    self._came_from_far(blob, data, place)
                return data
        return None

    def _came_from_far(self, blob: BlobId, data: Buffer, place: int) -> None:
        if self._here.far is not None:
            self._here.far[blob] = data, place
            return
        # A blob without a record, such as an input file's: memory could never let go of it.
        self._copy({blob: data}, [], place, self._forgotten)

    # --- other processes ---

    def ref(self) -> StoreRef:
        last = self._last_shared()
        refs = tuple(
            tier_ref(tier.tier, last=tier is last)
            for tier in self._tiers
            if tier.lasts and tier.is_named
        )
        # Another place of a tier, such as a folder made anew, is another token.
        tokens = "".join(each.ref.token for each in refs)
        token = sha256(f"{self._identity}{tokens}".encode()).hexdigest()[:32]
        register_live(token, self)
        return ChainRef(self.kind, self.url, token, self.terms, self, tiers=refs)

    def keeper(self) -> Keeper | None:
        """Return the keeper of the last shared tier, which is the one that others rely on."""
        last = self._last_shared()
        return None if last is None else last.tier.store.keeper()

    @property
    def is_left_out(self) -> bool:
        """Whether that holds of the last shared tier."""
        last = self._last_shared()
        return last is not None and (last.reading.is_open or last.writing.is_open)

    def _last_shared(self) -> LiveTier | None:
        for tier in reversed(self._tiers):
            if tier.lasts and tier.takes_writes and not tier.tier.private and tier.is_named:
                return tier
        return None

    def _token(self) -> str:
        return self.ref().token

    def _show_token(self) -> None:
        shown = False
        for tier in self._tiers:
            if tier.lasts and not tier.tier.private:
                done = tier.change(_show_token)
                shown |= bool(done and tier.takes_writes)
        if not shown and self._last_shared():
            self._refuse("written")


def _show_token(store: Store) -> bool:
    store._show_token()  # noqa: SLF001
    return True


class _Here(threading.local):
    """What the artifact that this thread fetches needed from further away; None if it does not."""

    far: dict[BlobId, tuple[Buffer, int]] | None = None


def _question(
    wanted: Sequence[bytes],
) -> Callable[[Store], tuple[dict[bytes, Found], dict[bytes, bytes]]]:
    return lambda store: store._look_up(wanted)  # noqa: SLF001


def _rows_of(
    digest: bytes, record: Record, entry: PlannedEntry | None, read: Mapping[bytes, bytes]
) -> list[EntryRow]:
    rows = [_record_row(record, read[record.resolved])]
    if entry is not None:
        about = record.about
        rows.append(EntryRow(digest, read[digest], about.op, entry.created, record.resolved))
    return rows


def _record_row(record: Record, data: bytes) -> EntryRow:
    about = record.about
    blobs = tuple(blob for blob, _ in record.parts)
    return EntryRow(record.resolved, data, about.op, about.created, None, blobs)
