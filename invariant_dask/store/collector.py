"""One pass of a collector: list, choose, remove.

First blobs are listed, then entries are read: an entry that was there before names its blobs. What
is pinned, what runs rely on and what is young stays. Of the rest, whatever the budget leaves no
room for goes: records, then blobs that no entry names, then planned entries that point nowhere.

Each step may be the last one that a killed collector takes: what it leaves is a blob that nobody
names or a planned entry that points nowhere, and the next collector takes those. A thing is removed
only if it is still what was seen, so several collectors do no more than one. A writer that finds
its blob there makes it young; a run that starts to rely on something is seen before each batch.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping

from invariant_dask.core.digest import BlobId
from invariant_dask.store.budget import Budget, latest_of_each
from invariant_dask.store.keeper import Keeper, SeenAside, SeenBlob, SeenEntry
from invariant_dask.store.notes import Roots, is_held, pins_of, read_roots, remove_old_roots
from invariant_dask.store.removals import GONE, NOT_NAMED, Removal, Report
from invariant_dask.store.sizes import DAY, age_text

logger = logging.getLogger("invariant_dask.store")

ASIDE = 7 * DAY
"""How long what was damaged is kept for a look, if nobody says otherwise."""

_BATCH = 256

Progress = Callable[[str, int], None]
"""Called with what is being done and how many of it are done."""


class Collector:
    """One pass over a store: look at all of it, choose, remove."""

    def __init__(
        self,
        keeper: Keeper,
        grace: int,
        progress: Progress | None,
        orphans: int | None = None,
        aside: int = ASIDE,
    ) -> None:
        self.keeper = keeper
        self.grace = grace
        self.blob_grace = max(grace if orphans is None else orphans, keeper.blob_grace)
        self.aside_grace = aside
        self.tell = progress or (lambda _what, _done: None)
        self.now = keeper.now()
        self.blobs: dict[BlobId, SeenBlob] = {}
        self.entries: dict[bytes, SeenEntry] = {}
        self.claims: defaultdict[bytes, list[SeenEntry]] = defaultdict(list)
        self.users: Counter[BlobId] = Counter()
        self.aside: list[SeenAside] = []
        self.cleared: dict[BlobId, SeenBlob] = {}
        self.report = Report()

    def count_in(self, blobs: Iterable[SeenBlob], aside: Iterable[SeenAside]) -> None:
        """Count what had to go before anything could be noted as if it were there still."""
        self.cleared = {blob.blob: blob for blob in blobs}
        self.aside += aside

    def collect(self, budget: Budget, *, dry_run: bool = False, pressing: bool = False) -> Report:
        self.report.dry_run = dry_run
        pinned = frozenset(pin.digest for pin in pins_of(self.keeper))
        roots = read_roots(self.keeper, self.now)
        self.scan()
        lost = self.lost(roots)
        chosen = [*((record, GONE) for record in lost), *self.choose(budget, pinned, roots, lost)]
        if not dry_run:
            chosen = self.remove_records(chosen)
        else:
            self.note("record", chosen)
        for entry, _ in chosen:
            self.users.subtract(entry.blobs)
            del self.entries[entry.digest]
        self.remove_orphans({blob for entry, _ in chosen for blob in entry.blobs}, dry_run)
        reasons = {e.digest: why if why == GONE else "its record went" for e, why in chosen}
        self.remove_claims(reasons, dry_run)
        if not dry_run and not pressing:
            self.keeper.tidy(self.entries.keys(), self.now - self.grace)
            remove_old_roots(self.keeper, self.now)
        if not pressing:
            self.remove_aside(dry_run)
        return self.report

    def scan(self) -> None:
        for blob in self.keeper.blobs():
            self.blobs[blob.blob] = blob
        self.blobs |= self.cleared
        self.tell("blobs listed", len(self.blobs))
        for entry in self.keeper.entries():
            self.entries[entry.digest] = entry
            if len(self.entries) % _BATCH == 0:
                self.tell("entries read", len(self.entries))
        self.tell("entries read", len(self.entries))
        for entry in self.entries.values():
            if entry.target is not None:
                self.claims[entry.target].append(entry)
            self.users.update(entry.blobs)
        self.report.damaged = sum(entry.damaged for entry in self.entries.values())
        self.report.size_before = sum(entry.size for entry in self.entries.values())
        self.report.size_before += sum(blob.size for blob in self.blobs.values())
        self.aside += self.keeper.aside()

    # --- what goes ---

    def lost(self, roots: Roots) -> list[SeenEntry]:
        """Return the records that nobody can use: a blob that they name is gone."""
        there = {blob.blob for blob in self.blobs.values() if blob.is_there}
        lost = []
        for record in self.entries.values():
            if record.target is not None or there.issuperset(record.blobs):
                continue
            names = self.names(record)
            if (
                self.used(record, names, roots) <= self.now - self.grace
                and not is_held(names, roots)
                # It may have been written since the blobs were listed.
                and not all(self.keeper.is_there(blob) for blob in record.blobs)
            ):
                lost.append(record)
        return lost

    def used(self, record: SeenEntry, names: Iterable[bytes], roots: Roots) -> int:
        return max(record.used, *(roots.used.get(name, 0) for name in names))

    def choose(
        self,
        budget: Budget,
        pinned: frozenset[bytes],
        roots: Roots,
        lost: Collection[SeenEntry],
    ) -> list[tuple[SeenEntry, str]]:
        """Return the records that have to go by the budget, and why."""
        gone = {record.digest for record in lost}
        records = [
            entry
            for entry in self.entries.values()
            if entry.target is None and not entry.damaged and entry.digest not in gone
        ]
        last = latest_of_each(records, budget.keep_last)
        free: list[tuple[int, SeenEntry]] = []
        for record in records:
            names = self.names(record)
            used = self.used(record, names, roots)
            if not pinned.isdisjoint(names):
                self.report.kept["pinned"] += 1
            elif is_held(names, roots):
                self.report.kept["in use by a run"] += 1
            elif used > self.now - self.grace:
                self.report.kept["young"] += 1
            elif record.digest in last:
                self.report.kept["latest of its op"] += 1
            else:
                free.append((used, record))
        free.sort(key=lambda each: (each[0], each[1].created, each[1].digest))
        chosen = []
        left = self.size_without_orphans() - sum(record.size for record in lost)
        counts = Counter(self.users)
        for used, record in free:
            if why := budget.excludes(self.now - used, left):
                chosen.append((record, why))
                left -= self.freed_by(record, counts)
            else:
                self.report.kept["within the budget"] += 1
        return chosen

    def names(self, record: SeenEntry) -> list[bytes]:
        return [record.digest, *(claim.digest for claim in self.claims.get(record.digest, ()))]

    def size_without_orphans(self) -> int:
        orphans = (blob for blob in self.blobs.values() if self.is_orphan(blob))
        return self.report.size_before - sum(blob.size for blob in orphans)

    def is_orphan(self, blob: SeenBlob) -> bool:
        return not self.users[blob.blob] and blob.written <= self.now - self.blob_grace

    def freed_by(self, record: SeenEntry, counts: Counter[BlobId]) -> int:
        freed = record.size + sum(claim.size for claim in self.claims.get(record.digest, ()))
        counts.subtract(record.blobs)
        gone = (self.blobs.get(blob) for blob in set(record.blobs) if not counts[blob])
        return freed + sum(blob.size for blob in gone if blob is not None)

    # --- removing ---

    def remove_records(self, chosen: list[tuple[SeenEntry, str]]) -> list[tuple[SeenEntry, str]]:
        removed: list[tuple[SeenEntry, str]] = []
        for at in range(0, len(chosen), _BATCH):
            # A run may have started meanwhile, and somebody may have pinned.
            roots = read_roots(self.keeper, self.keeper.now())
            pinned = {pin.digest for pin in pins_of(self.keeper)}
            batch = {
                entry: why
                for entry, why in chosen[at : at + _BATCH]
                if not is_held(names := self.names(entry), roots)
                and (why == GONE or pinned.isdisjoint(names))
            }
            gone = self.keeper.remove_entries(list(batch))
            removed += [(entry, batch[entry]) for entry in gone]
            self.tell("records removed", len(removed))
        self.note("record", removed)
        return removed

    def remove_orphans(self, freed: set[BlobId], dry_run: bool) -> None:
        if self.report.damaged:
            return  # which blobs these entries name is not known
        limit = self.now - self.keeper.blob_grace
        why = {}
        for blob in self.blobs.values():
            if self.users[blob.blob]:
                continue
            if blob.blob in freed and blob.written <= limit:
                why[blob] = "its records went"
            elif self.is_orphan(blob):
                why[blob] = NOT_NAMED
        todo = list(why)
        gone = todo if dry_run else list(self.in_batches(todo))
        self.report.removals += [
            Removal("blob", blob.blob, blob.size, "", why[blob]) for blob in gone if blob.is_there
        ]

    def in_batches(self, todo: list[SeenBlob]) -> Iterable[SeenBlob]:
        for at in range(0, len(todo), _BATCH):
            yield from self.keeper.remove_blobs(todo[at : at + _BATCH])
            self.tell("blobs removed", at + _BATCH)

    def remove_claims(self, records: Mapping[bytes, str], dry_run: bool) -> None:
        limit = self.now - self.grace
        chosen = []
        for target, claims in self.claims.items():
            if target in self.entries:
                continue
            for claim in claims:
                if target in records:
                    chosen.append((claim, records[target]))
                elif claim.used <= limit:
                    chosen.append((claim, "it points nowhere"))
        if not dry_run:
            reasons = dict(chosen)
            gone = []
            for at in range(0, len(chosen), _BATCH):
                gone += self.keeper.remove_entries([c for c, _ in chosen[at : at + _BATCH]])
            chosen = [(claim, reasons[claim]) for claim in gone]
        self.note("planned entry", chosen)
        for claim, _ in chosen:
            self.entries.pop(claim.digest, None)

    def remove_aside(self, dry_run: bool) -> None:
        self.report.size_before += sum(seen.size for seen in self.aside)
        old = [seen for seen in self.aside if seen.since <= self.now - self.aside_grace]
        if not dry_run:
            self.keeper.remove_aside(old)
        for seen in old:
            why = f"a damaged {seen.what}, set aside {age_text(self.now - seen.since)} ago"
            self.report.removals.append(Removal("set aside", seen.digest, seen.size, "", why))

    def note(self, what: str, gone: Iterable[tuple[SeenEntry, str]]) -> None:
        for entry, why in gone:
            named = sum(self.blobs[blob].size for blob in entry.blobs if blob in self.blobs)
            self.report.removals.append(
                Removal(what, entry.digest, entry.size, entry.op, why, named)
            )
