"""What a chain does with all of its tiers at once: write, forget, count, and read bytes.

`store.chain` looks things up and copies them nearer.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from invariant_dask.cards import Card
from invariant_dask.core.digest import BlobId
from invariant_dask.core.encode import Encoded
from invariant_dask.errors import StoreUnavailableError
from invariant_dask.store.backend import Missed, StoreStats, merged
from invariant_dask.store.base import Store
from invariant_dask.store.chain_trust import joined_policies
from invariant_dask.store.record import EntryRow, Record
from invariant_dask.store.tiers import LiveTier, Tier, TierStats, piece_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

logger = logging.getLogger("invariant_dask.store")


class Tiers(Store):
    """Several stores that are written together."""

    def _set_up(self, tiers: list[LiveTier]) -> None:
        self._tiers = tiers
        self._lost_late: list[Missed] = []
        self._forgotten = 0
        self._renew_lock()

    def _renew_lock(self) -> None:
        # Held while entries are copied and while they are removed: nothing comes back meanwhile.
        self._copy_lock = threading.Lock()

    def _after_fork(self) -> None:
        super()._after_fork()
        self._renew_lock()
        for tier in self._tiers:
            tier.after_fork()

    def _card(self) -> Card:
        tiers = self.tiers
        rows = [
            (
                each.name, each.write, each.state, f"{each.hits:,}", f"{each.misses:,}",
                f"{each.failures:,}", f"{each.promoted:,}", f"{each.waiting:,}",
            )
            for each in tiers
        ]  # fmt: skip
        columns = (
            "tier", "written", "state", "hits", "misses", "failures", "promoted", "waiting"
        )  # fmt: skip
        title = f"{type(self).__name__} of {len(tiers)} tiers"
        return replace(super()._card(), title=title, columns=columns, rows=rows)

    @property
    def tiers(self) -> tuple[TierStats, ...]:
        """How each tier is and what it answered, from near to far."""
        return tuple(tier.stats for tier in self._tiers)

    @property
    def stores(self) -> tuple[Store, ...]:
        """The stores, from near to far."""
        return tuple(tier.store for tier in self._tiers)

    @property
    def url(self) -> str:
        """What `open_store` takes: a JSON list of the tiers."""
        return url_of([tier.tier for tier in self._tiers])

    @property
    def place(self) -> str:
        """The places that other processes may share: two chains of one far store share them."""
        shared = [tier for tier in self._tiers if tier.lasts and not tier.tier.private]
        return " + ".join(tier.store.place for tier in shared or self._tiers)

    @property
    def is_process_local(self) -> bool:
        """Whether that holds of all tiers."""
        return not any(tier.lasts for tier in self._tiers)

    @property
    def local_folder(self) -> Path | None:
        """That of the nearest tier that has one and may be written."""
        folders = (tier.store.local_folder for tier in self._tiers if tier.takes_writes)
        return next((folder for folder in folders if folder), None)

    @property
    def domain(self) -> str:
        """Its places, and whom each tier believes."""
        policies = joined_policies(self.stores)
        return f"{self.place} ({policies})" if policies else self.place

    def _reason(self, digest: bytes) -> str:
        reasons: dict[str, list[str]] = {}
        for tier in self._tiers:
            reason = tier.store._reason(digest)  # noqa: SLF001
            if reason:
                reasons.setdefault(reason, []).append(tier.name)
        if len(self._tiers) == 1 or not reasons:
            return super()._reason(digest) or next(iter(reasons), "")
        return "; ".join(f"{reason} [{', '.join(tiers)}]" for reason, tiers in reasons.items())

    def _forget_reasons(self, digests: Collection[bytes]) -> None:
        super()._forget_reasons(digests)
        for tier in self._tiers:
            tier.store._forget_reasons(digests)  # noqa: SLF001

    # --- publishing ---

    def _check_size(self, record: Record, data: bytes) -> None:
        for tier in self._tiers:
            if tier.takes_writes:
                tier.store._check_size(record, data)  # noqa: SLF001

    def encode(self, value: object) -> Encoded:
        for tier in self._tiers:
            if tier.takes_writes and tier.lasts and not tier.writing.is_open:
                encoded = tier.change(lambda store: store.encode(value))
                if encoded is not None:
                    return encoded
        return super().encode(value)

    def _publish(self, blobs: Mapping[BlobId, Buffer], rows: Sequence[EntryRow]) -> None:
        self._write_all(blobs, rows, lambda tier: tier.write_policy == "behind")

    def _write_entries(self, rows: Sequence[EntryRow]) -> bool:
        # Mostly claims, which only save time: one tier that lasts is worth waiting for.
        self._write_all({}, rows, lambda tier: tier is not self._tiers[0])
        return True

    def _write_blobs(self, blobs: Mapping[BlobId, Buffer]) -> None:
        self._write_all(blobs, (), lambda tier: tier.write_policy == "behind")

    def _write_all(
        self, blobs: Mapping[BlobId, Buffer], rows: Sequence[EntryRow],
        may_wait: Callable[[LiveTier], bool],
    ) -> None:  # fmt: skip
        kept = safe = False
        writers = [tier for tier in self._tiers if tier.takes_writes]
        for tier in sorted(writers, key=may_wait):
            if safe and may_wait(tier):
                tier.behind.add(piece_of(blobs, rows))
            elif tier.write_or_miss(blobs, rows):
                kept, safe = True, safe or tier.lasts
        if not kept:
            self._refuse("written")

    def missed(self) -> None:
        """Note what tiers took and could not keep; other tiers have it, so `barrier` tells it."""
        for tier in self._tiers:
            lost = tier.tier.store.missed()
            if lost is not None:
                self._lost_late.append(replace(lost, tier=tier.name))

    def barrier(self) -> tuple[Missed, ...]:
        self.missed()
        missed = [tier.behind.barrier() for tier in self._tiers if tier.takes_writes]
        missed.append(super().missed())
        late, self._lost_late = self._lost_late, []
        return tuple(merged([*late, *(each for each in missed if each is not None)]))

    def grouping(self) -> AbstractContextManager[None]:
        return self._grouping()

    @contextmanager
    def _grouping(self) -> Iterator[None]:
        with ExitStack() as stack:
            for tier in self._tiers:
                stack.enter_context(tier.grouping())
            yield

    def _refuse(self, what: str) -> NoReturn:
        reasons = [
            f"{tier.name}: " + (tier.reading if what == "read" else tier.writing).reason
            for tier in self._tiers
            if what == "read" or tier.takes_writes
        ]
        why = "; ".join(reasons) or "all of them are read-only"
        raise StoreUnavailableError(f"no tier of the chain can be {what}: {why}")

    # --- forgetting ---

    def _delete_entries(self, digests: Sequence[bytes]) -> int:
        gone = set(digests)
        return self._delete(
            lambda store: store._delete_entries(digests),  # noqa: SLF001
            lambda store: bool(store._read_entries(digests)),  # noqa: SLF001
            lambda row: row.digest not in gone,
        )

    def _delete_op(self, op: str) -> int:
        return self._delete(
            lambda store: store._delete_op(op),  # noqa: SLF001
            lambda store: bool(store._recent(op, 1)),  # noqa: SLF001
            lambda row: row.op != op,
        )

    def _delete(
        self, delete: Callable[[Store], int], has: Callable[[Store], bool],
        keep: Callable[[EntryRow], bool],
    ) -> int:  # fmt: skip
        """Remove entries from all tiers; the number is that of the tier that had the most."""
        most, failed = 0, []
        with self._copy_lock:
            # Far ones first: what is found there meanwhile is not copied nearer.
            for tier in reversed(self._tiers):
                if tier.takes_writes:
                    tier.behind.forget(keep)
                    removed = tier.change(delete)
                    most = max(most, removed or 0)
                    if removed is None:
                        failed.append(f"{tier.name} ({tier.writing.reason})")
                elif tier.ask(has):
                    failed.append(f"{tier.name} (it is read-only)")
            self._forgotten += 1
        if failed:
            with self._counts_lock:
                self._removals += 1
            msg = f"not everything was forgotten: tiers that may still have it: {', '.join(failed)}"
            raise StoreUnavailableError(msg)
        return most

    # --- bytes of all tiers, for whoever looks below what is verified ---

    def _read_entries(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        return self.entries_of(self._tiers, digests)

    def entries_of(self, tiers: Sequence[LiveTier], digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return undamaged entries of some tiers."""
        rows: dict[bytes, bytes] = {}
        left = list(digests)
        for tier in tiers:
            if not left:
                break
            here = tier.ask(lambda store, left=left: _good_rows(store, left))  # type: ignore[misc]
            rows = {**(here or {}), **rows}
            left = [digest for digest in left if digest not in rows]
        return rows

    def _recent(self, op: str, limit: int) -> list[tuple[bytes, bytes]]:
        # Up to the limit of each tier: who counts them must see that there may be more.
        rows: dict[bytes, bytes] = {}
        for tier in self._tiers:
            here = tier.ask(lambda store: store._recent(op, limit))  # noqa: SLF001
            rows = {**dict(here or ()), **rows}
        return list(rows.items())

    def _read_blob(self, blob: BlobId, length: int) -> Buffer | None:
        answers = (tier.ask(lambda s: s._read_blob(blob, length)) for tier in self._tiers)  # noqa: SLF001
        return next((data for data in answers if data is not None), None)

    def _has_blobs(self, blobs: Collection[tuple[BlobId, int]]) -> set[BlobId]:
        there: set[BlobId] = set()
        left = set(blobs)
        for tier in self._tiers:
            if left:
                there |= tier.ask(lambda store, left=left: store._has_blobs(left)) or set()  # type: ignore[misc]  # noqa: SLF001
                left = {part for part in left if part[0] not in there}
        return there

    def _why_unread(self, blob: BlobId) -> str:
        answers = (tier.ask(lambda store: store._why_unread(blob)) for tier in self._tiers)  # noqa: SLF001
        return next((why for why in answers if why), "")

    def _length_of_blob(self, blob: BlobId) -> int | None:
        answers = (tier.ask(lambda store: store._length_of_blob(blob)) for tier in self._tiers)  # noqa: SLF001
        return next((length for length in answers if length is not None), None)

    def _quarantine_entry(self, digest: bytes, data: bytes) -> None:
        def keep(row: EntryRow) -> bool:
            return row.digest != digest or row.data not in (data, b"")

        for tier in self._tiers:
            if tier.takes_writes:
                tier.behind.forget(keep)  # what is on its way would come after
                tier.change(lambda store: store._quarantine_entry(digest, data))  # noqa: SLF001

    def _quarantine_blob(self, blob: BlobId) -> None:
        for tier in self._tiers:
            if tier.takes_writes:
                tier.change(lambda store: store._quarantine_blob(blob))  # noqa: SLF001

    def _keep_report(self, name: bytes, what: str, report: Mapping[str, str]) -> None:
        for tier in self._tiers:
            if tier.takes_writes:
                tier.change(lambda store: store._keep_report(name, what, report))  # noqa: SLF001

    def generation(self) -> int | None:
        joined = 0
        for tier in self._tiers:
            # What a tier that is left out may have counts as absent until it is back.
            # To be told that there is no such number takes no request: it proves nothing.
            away = tier.reading.is_open and not tier.store.has_generation
            away |= tier.reading.is_paused
            number = 0 if away else tier.ask(lambda store: store.generation())
            if number is None:
                return None
            joined = (joined << 96) | ((tier.epoch & 0xFFFFFFFF) << 64) | (number & (2**64 - 1))
        return joined

    # --- counting ---

    @property
    def stats(self) -> StoreStats:
        """What was done through the chain, and what its tiers set aside or let go."""
        own = super().stats
        tiers = [tier.store.stats for tier in self._tiers]
        return replace(
            own,
            quarantined=own.quarantined + sum(stats.quarantined for stats in tiers),
            untrusted=own.untrusted + sum(stats.untrusted for stats in tiers),
            evicted=sum(stats.evicted for stats in tiers),
        )

    @property
    def puts(self) -> int:
        """What was published through the chain, or past it into one of its tiers."""
        return super().puts + sum(tier.store.puts for tier in self._tiers)

    @property
    def removals(self) -> int:
        """What was removed through the chain, or past it from one of its tiers."""
        return super().removals + sum(tier.store.removals for tier in self._tiers)

    def reset_stats(self) -> None:
        super().reset_stats()
        for tier in self._tiers:
            tier.reset_stats()

    def close(self) -> None:
        for missed in self.barrier():
            logger.warning("%s", missed)
        for tier in self._tiers:
            tier.store.close()


class Others:
    """All tiers of a chain but one, to copy from."""

    def __init__(self, chain: Tiers, place: int) -> None:
        self._chain = chain
        self._place = place

    def _tiers(self) -> list[LiveTier]:
        tiers = self._chain._tiers  # noqa: SLF001
        return [*tiers[: self._place], *tiers[self._place + 1 :]]

    def entries(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        return self._chain.entries_of(self._tiers(), digests)

    def blob(self, blob: BlobId, length: int) -> Buffer | None:
        for tier in self._tiers():
            data = tier.ask(lambda store: store._verified_blob(blob, length))  # noqa: SLF001
            if data is not None:
                return data
        return None


def _good_rows(store: Store, digests: Sequence[bytes]) -> dict[bytes, bytes]:
    rows = store._read_entries(digests)  # noqa: SLF001
    good = store._parse(rows)  # noqa: SLF001
    return {digest: rows[digest] for digest in good}


def url_of(tiers: Sequence[Tier]) -> str:
    """Return tiers as the JSON list that `open_store` takes."""
    listed: list[Any] = []
    for tier in tiers:
        options: dict[str, Any] = {}
        if tier.write != "through":
            options["write"] = tier.write
        if tier.private is not None:
            options["private"] = tier.private
        listed.append({"url": tier.store.url, **options} if options else tier.store.url)
    return json.dumps(listed)
