"""Bring artifacts from one store to another: verified on the way, their entries unchanged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from invariant_dask.core.digest import BlobId
from invariant_dask.errors import (
    ArtifactLostError,
    ArtifactNotFoundError,
    SpecError,
    UnknownTypeError,
)
from invariant_dask.store.base import Store
from invariant_dask.store.keeper import SeenEntry
from invariant_dask.store.naming import parse_digest
from invariant_dask.store.notes import keeper_of, sound_entries
from invariant_dask.store.record import EntryRow, PlannedEntry, Record
from invariant_dask.store.sizes import counted, size_text

if TYPE_CHECKING:
    from typing_extensions import Buffer

_BATCH = 256

Progress = Callable[[str, int], None]
"""Called with what is being done and how many of it are done."""


@dataclass
class Transferred:
    """What was brought over."""

    records: int = 0
    planned: int = 0
    blobs: int = 0
    size: int = 0
    """Bytes written."""
    there: int = 0
    """Entries that the other store had already, perhaps made by somebody else."""
    refused: int = 0
    """Entries that the source's own terms do not take, such as those that nobody trusted signed."""
    lost: list[bytes] = field(default_factory=list)
    """Digests of artifacts that turned out to be damaged or gone; they are left out."""

    def __add__(self, other: Transferred) -> Transferred:
        sums = (getattr(self, each.name) + getattr(other, each.name) for each in fields(self))
        return Transferred(*sums)

    def __str__(self) -> str:
        text = (
            f"{counted(self.records, 'record')}, "
            f"{counted(self.planned, 'planned entry', 'planned entries')} and "
            f"{counted(self.blobs, 'blob')} copied: {size_text(self.size)}; "
            f"{counted(self.there, 'entry was', 'entries were')} there"
        )
        if self.refused:
            refused = counted(self.refused, "entry is", "entries are")
            text += f"; {refused} left out: not trusted, or too large"
        if self.lost:
            text += f"; {counted(len(self.lost), 'artifact is', 'artifacts are')} damaged or gone"
        return text


def copy(
    source: Store,
    target: Store,
    *,
    digests: Collection[bytes | str] = (),
    ops: Collection[str] = (),
    replace: bool = False,
    progress: Progress | None = None,
) -> Transferred:
    """Copy artifacts with all that leads to them; all there are, if neither is said.

    Parameters
    ----------
    source, target
        The stores.
    digests
        Planned or resolved digests, raw, in hexadecimal or as Dask keys.
    ops
        Names of ops.
    replace
        Whether entries that the target has are replaced, if their bytes are others.
    progress
        Told how far it is.

    Raises
    ------
    ArtifactNotFoundError
        If nothing is stored under a digest.
    SpecError
        If both are the same place.
    StoreUnavailableError
        If one cannot be read, or the other not be written.

    Notes
    -----
    Entries are copied byte by byte, so who signed them still did. What a look-up in the source
    would not take, on its terms, is left out: the target may believe anybody. Each blob is checked
    when it is read, and written before the record that names it.
    """
    if source.place == target.place:
        raise SpecError(f"{source.place} is both: there is nothing to copy")
    mover = _Mover(source, target, replace, progress or (lambda _what, _done: None))
    mover.move(_chosen(source, digests, ops))
    return mover.told


def _chosen(
    source: Store, digests: Collection[bytes | str], ops: Collection[str]
) -> dict[bytes, str]:
    """Return the digests of entries with their ops, records first."""
    wanted = {parse_digest(digest) for digest in digests}
    entries = list(keeper_of(source).entries())
    known = {entry.digest: entry for entry in entries}
    for digest in wanted:
        if digest not in known:
            raise ArtifactNotFoundError(digest=digest.hex(), store=source.url)
    wanted |= {target for digest in wanted if (target := known[digest].target) is not None}
    for op in ops:
        found = {entry.digest for entry in entries if entry.target is None and entry.op == op}
        if not found:
            raise SpecError(f"{source.url} has nothing of an op {op!r}; see store ls")
        wanted |= found
    if not wanted:
        wanted = {entry.digest for entry in entries if entry.target is None}

    def belongs(entry: SeenEntry) -> bool:
        return entry.digest in wanted or entry.target in wanted

    chosen = [entry for entry in entries if belongs(entry)]
    chosen.sort(key=lambda entry: entry.target is not None)
    # Planned entries do not say themselves whose they are, but the records do that they point to.
    of = {entry.digest: entry.op for entry in entries}
    return {entry.digest: entry.op or of.get(entry.target or b"", "") for entry in chosen}


class _Mover:
    def __init__(self, source: Store, target: Store, replace: bool, tell: Progress) -> None:
        self.source = source
        self.target = target
        self.replace = replace
        self.tell = tell
        self.told = Transferred()
        self.ops: dict[bytes, str] = {}
        self.left_out: set[bytes] = set()
        """Records that are not brought over: claims on them would lead nowhere."""

    def move(self, digests: dict[bytes, str]) -> None:
        done = 0
        self.ops = digests
        for batch in _in_batches(digests):
            self.move_batch(batch)
            done += len(batch)
            self.tell("entries copied", done)

    def move_batch(self, batch: list[bytes]) -> None:
        rows = self.source._read_entries(batch)  # noqa: SLF001
        there = self.target._read_entries(batch)  # noqa: SLF001
        small: list[EntryRow] = []
        entries = sound_entries(self.source, {d: rows[d] for d in batch if d in rows})
        for digest in batch:
            entry = entries.get(digest)
            if entry is None:
                self.lose(digest)
            elif not self.is_taken(entry, rows[digest]):
                self.left_out.add(digest)
                self.told.refused += 1
            elif isinstance(entry, PlannedEntry):
                if self.is_wanted(digest, rows, there):
                    small.append(self.planned_row(entry, rows[digest]))
            elif not entry.is_inline:
                self.move_large(entry, rows[digest], self.is_wanted(digest, rows, there))
            elif self.is_wanted(digest, rows, there):
                small.append(_row(entry, rows[digest]))
        if small:
            self.write({}, small)

    def lose(self, digest: bytes) -> None:
        self.left_out.add(digest)
        self.told.lost.append(digest)

    def is_taken(self, entry: Record | PlannedEntry, data: bytes) -> bool:
        if isinstance(entry, PlannedEntry):  # records come first
            return entry.resolved not in self.left_out and self.source._takes(entry.planned, data)  # noqa: SLF001
        return self.source._takes(entry.resolved, data)  # noqa: SLF001

    def is_wanted(self, digest: bytes, rows: dict[bytes, bytes], there: dict[bytes, bytes]) -> bool:
        kept = there.get(digest)
        if kept is None or (self.replace and kept != rows[digest]):
            return True
        self.told.there += 1
        return False

    def planned_row(self, entry: PlannedEntry, data: bytes) -> EntryRow:
        return EntryRow(entry.planned, data, self.ops[entry.planned], entry.created, entry.resolved)

    def move_large(self, record: Record, data: bytes, wanted: bool) -> None:
        """Copy a record with blobs; those that got lost there are brought even if it is there."""
        there = self.target._has_blobs(record.parts)  # noqa: SLF001
        if not wanted and all(blob in there for blob, _ in record.parts):
            return
        try:
            blobs = self.read_blobs(record)
        except ArtifactLostError:
            self.lose(record.resolved)
            return
        missing = {blob: data for blob, data in blobs.items() if blob not in there}
        self.told.blobs += len(missing)
        self.told.size += sum(memoryview(data).nbytes for data in missing.values())
        # All of them are offered: one that is there is sent again only if it may go soon.
        self.write(blobs, [_row(record, data)] if wanted else [])

    def read_blobs(self, record: Record) -> dict[BlobId, Buffer]:
        try:
            storage, blobs = self.source.fetch(record)
        except UnknownTypeError:
            return self.read_parts(record)  # what they mean is for those to check who know it
        if record.storage_blob is not None:
            blobs[record.storage_blob[0]] = storage
        return blobs

    def read_parts(self, record: Record) -> dict[BlobId, Buffer]:
        blobs: dict[BlobId, Buffer] = {}
        for blob, length in record.parts:
            data = self.source.read_blob(blob, length)
            if data is None:
                raise ArtifactLostError(digest=record.resolved.hex(), reason="a blob is gone")
            blobs[blob] = data
        return blobs

    def write(self, blobs: dict[BlobId, Buffer], rows: list[EntryRow]) -> None:
        if rows:
            self.target._publish(blobs, rows)  # noqa: SLF001
        else:
            self.target._write_blobs(blobs)  # noqa: SLF001
        planned = sum(row.target is not None for row in rows)
        self.told.planned += planned
        self.told.records += len(rows) - planned
        self.told.size += sum(len(row.data) for row in rows)


def _row(record: Record, data: bytes) -> EntryRow:
    about = record.about
    blobs = tuple(blob for blob, _ in record.parts)
    return EntryRow(record.resolved, data, about.op, about.created, None, blobs)


def _in_batches(digests: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for digest in digests:
        batch.append(digest)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
