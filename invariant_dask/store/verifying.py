"""Read everything there is in a store, or some of it, and check every hash."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from invariant_dask.core.digest import BlobId
from invariant_dask.errors import ArtifactLostError, UnknownTypeError
from invariant_dask.store.base import Store
from invariant_dask.store.keeper import SeenEntry
from invariant_dask.store.notes import keeper_of, sound_entries
from invariant_dask.store.record import Record
from invariant_dask.store.sizes import counted, size_text

_BATCH = 64

Progress = Callable[[str, int], None]
"""Called with what is being done and how many of it are done."""


class Damage(NamedTuple):
    """Something that is not what it should be. What is damaged is set aside; what is lost is not
    found any more, and made again by whoever needs it.
    """

    what: str
    """`entry`, `artifact` or `blob`."""
    digest: bytes
    op: str
    reason: str


@dataclass
class Verified:
    """What was found to be sound, and what was not."""

    entries: int = 0
    artifacts: int = 0
    blobs: int = 0
    """Blobs that no record names, such as those of input files."""
    size: int = 0
    """Bytes that were read and checked."""
    unchecked: list[Damage] = field(default_factory=list)
    """What takes a type or library that is not here. Of a type that is not known, the blobs are
    sound.
    """
    damage: list[Damage] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether no damage was found."""
        return not self.damage

    def __str__(self) -> str:
        text = (
            f"{counted(self.entries, 'entry', 'entries')}, {counted(self.artifacts, 'artifact')} "
            f"and {counted(self.blobs, 'other blob')} checked: "
            f"{size_text(self.size)}; {len(self.damage) or 'no'} damage"
        )
        if self.unchecked:
            text += f"; {len(self.unchecked)} could not be: {self.unchecked[0].reason}"
        return text


def verify(
    store: Store,
    *,
    sample: int | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
) -> Verified:
    """Check entries, blobs and the hashes of artifacts; what is damaged is set aside.

    Parameters
    ----------
    store
        A store in a folder or bucket.
    sample
        How many entries to choose at random; by default all, and blobs that no record names.
    seed
        Chooses the same ones again.
    progress
        Told how far it is.

    Raises
    ------
    SpecError
        If the store is of another kind.
    StoreUnavailableError
        If it cannot be read.
    """
    verifier = _Verifier(store, progress or (lambda _what, _done: None))
    entries: Iterator[SeenEntry] = keeper_of(store).entries()
    if sample is not None:
        entries = iter(_choose(entries, sample, random.Random(seed)))  # noqa: S311  no secret
    verifier.check_entries(entries)
    if sample is None:
        verifier.check_other_blobs()
    return verifier.told


def _choose(entries: Iterator[SeenEntry], number: int, chance: random.Random) -> list[SeenEntry]:
    chosen: list[SeenEntry] = []
    for count, entry in enumerate(entries):
        if count < number:
            chosen.append(entry)
        elif (place := chance.randrange(count + 1)) < number:
            chosen[place] = entry
    return chosen


class _Verifier:
    def __init__(self, store: Store, tell: Progress) -> None:
        self.store = store
        self.keeper = keeper_of(store)
        self.tell = tell
        self.told = Verified()
        self.named: set[BlobId] = set()

    def check_entries(self, entries: Iterator[SeenEntry]) -> None:
        batch: list[SeenEntry] = []
        for entry in entries:
            batch.append(entry)
            if len(batch) == _BATCH:
                self.check_batch(batch)
                batch = []
        self.check_batch(batch)

    def check_batch(self, batch: list[SeenEntry]) -> None:
        ops = {entry.digest: entry.op for entry in batch}
        # All that is asked for by digest, without what it points to.
        rows = self.store._read_entries(list(ops))  # noqa: SLF001
        rows = {digest: data for digest, data in rows.items() if digest in ops}
        sound = sound_entries(self.store, rows)
        for digest in rows.keys() - sound.keys():
            self.add("entry", digest, ops[digest], "its bytes are damaged")
        for digest, entry in sound.items():
            self.told.entries += 1
            self.told.size += len(rows[digest])
            if isinstance(entry, Record):
                self.check_artifact(entry, ops[digest])
        self.tell("entries checked", self.told.entries)

    def check_artifact(self, record: Record, op: str) -> None:
        self.named.update(blob for blob, _ in record.parts)
        try:
            self.store.fetch(record)
        except ArtifactLostError as error:
            if any(self.store._why_unread(blob) for blob, _ in record.parts):  # noqa: SLF001
                self.told.unchecked.append(Damage("artifact", record.resolved, op, error.reason))
            # A collector may have removed it under us.
            elif self.store._read_entries([record.resolved]):  # noqa: SLF001
                self.add("artifact", record.resolved, op, error.reason)
            return
        except UnknownTypeError as error:
            self.told.unchecked.append(Damage("artifact", record.resolved, op, str(error)))
            return
        self.told.artifacts += 1
        self.told.size += sum(length for _, length in record.parts)

    def check_other_blobs(self) -> None:
        for seen in self.keeper.blobs():
            if seen.blob in self.named:
                continue
            before = self.store.stats.quarantined
            length = self.keeper.length_of(seen)
            data = self.store.read_blob(seen.blob, length)
            if data is not None:
                self.told.blobs += 1
                self.told.size += length
            elif self.store.stats.quarantined > before:
                self.add("blob", seen.blob, "", "its bytes are damaged")
            elif why := self.store._why_unread(seen.blob):  # noqa: SLF001
                self.told.unchecked.append(Damage("blob", seen.blob, "", why))
            self.tell("other blobs checked", self.told.blobs)

    def add(self, what: str, digest: bytes, op: str, reason: str) -> None:
        self.told.damage.append(Damage(what, digest, op, reason))
