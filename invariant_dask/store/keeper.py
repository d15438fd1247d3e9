"""What looking after a store takes of its back end: lists, conditional removal, notes, a clock.

Notes are small files beside the entries: what is pinned, what runs rely on, who is making what,
the budget. Times are nanoseconds since 1970 by the clock of the place, never a client's against
another's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from invariant_dask.core.digest import BlobId

NOTE_LIMIT = 64 << 20
"""No note is longer; of what is, the rest is not read."""


class SeenEntry(NamedTuple):
    """An entry as a scan saw it."""

    digest: bytes
    size: int
    op: str
    """Empty where only the record that a planned entry points to knows."""
    target: bytes | None
    """The resolved digest that a planned entry points to; None for a record."""
    created: int
    """When it was made, by the clock of who made it."""
    used: int
    """When it was written or, where that is noted, last asked for."""
    blobs: tuple[BlobId, ...] = ()
    damaged: bool = False
    """Whether it cannot be read, so that its blobs are not known."""
    signed: bool = False
    """Whether it carries a signature, good or not."""
    mark: object = None
    """What tells whether it was written or used since; for the keeper alone."""


class SeenBlob(NamedTuple):
    """A blob as a scan saw it."""

    blob: BlobId
    size: int
    """Bytes that it takes, compressed or not."""
    written: int
    """When it was written, or somebody relied on its being there."""
    mark: object = None
    is_there: bool = True
    """False if it is only listed: its file went, or is not written yet."""


class SeenAside(NamedTuple):
    """Something that was damaged and is kept for a look, with its report."""

    digest: bytes
    what: str
    """`entry` or `blob`."""
    size: int
    since: int
    """When it was set aside."""
    mark: object = None


class Note(NamedTuple):
    """A small file that belongs to no artifact."""

    name: str
    data: bytes
    written: int
    mark: object = None


class Keeper(ABC):
    """Looks after one place; see `store.upkeep`.

    Notes
    -----
    All methods raise `StoreUnavailableError` when the place cannot be read or written. What is
    removed is removed only if it is still what was seen, as far as the place can tell.
    """

    grace: ClassVar[int]
    """How long what nobody seems to need is spared, if nobody says otherwise."""

    notes_use: ClassVar[bool] = False
    """Whether it is noted when an entry was last asked for."""

    blob_grace: ClassVar[int]
    """How long a blob is spared at least: writers rely on finding those that are younger."""

    is_read_only = False
    """Whether nothing can be written here: then nobody says what he relies on, or collects."""

    is_full = False
    """Whether that is because there is no room: then removing something helps."""

    @abstractmethod
    def now(self) -> int:
        """Return the time by the clock of the place."""

    @abstractmethod
    def settle(self) -> None:
        """Wait until others see what this process has written."""

    @abstractmethod
    def entries(self) -> Iterator[SeenEntry]:
        """Yield all entries; one that is written meanwhile may be missing, or come twice."""

    @abstractmethod
    def blobs(self) -> Iterator[SeenBlob]:
        """Yield all blobs, also those that nobody lists."""

    @abstractmethod
    def is_there(self, blob: BlobId) -> bool:
        """Return whether there is a file or object for a blob now."""

    def claims_on(self, record: bytes, op: str) -> list[bytes]:  # noqa: ARG002
        """Return the planned digests that seem to lead to the record of an op."""
        return [entry.digest for entry in self.entries() if entry.target == record]

    def size(self) -> int | None:
        """Return the bytes of all entries and blobs, or None if counting them is not cheap."""
        return None

    @abstractmethod
    def renew(self, digests: Sequence[bytes]) -> None:
        """Make entries young: whoever wants to remove them as he saw them before does not."""

    @abstractmethod
    def remove_entries(self, seen: Sequence[SeenEntry]) -> list[SeenEntry]:
        """Remove entries and return those that were removed."""

    @abstractmethod
    def remove_blobs(self, seen: Sequence[SeenBlob]) -> list[SeenBlob]:
        """Remove blobs and return those that were removed."""

    def make_way(self, blobs: Sequence[BlobId]) -> list[BlobId]:  # noqa: ARG002
        """Remove what was set aside, then files of blobs until what else goes can be noted.

        Parameters
        ----------
        blobs
            What is to go anyway; the first ones go first.

        Returns
        -------
        The blobs whose files were removed.
        """
        return []

    @abstractmethod
    def tidy(self, alive: Collection[bytes], before: int) -> None:
        """Remove what helps to find entries that are gone, and what killed processes left.

        Parameters
        ----------
        alive
            The digests of all entries that were seen and not removed.
        before
            Nothing younger is touched.
        """

    @abstractmethod
    def aside(self) -> list[SeenAside]:
        """Return what was damaged and set aside."""

    @abstractmethod
    def remove_aside(self, seen: Sequence[SeenAside]) -> None:
        """Remove things that were set aside, with their reports."""

    def path_of(self, blob: BlobId) -> Path | None:  # noqa: ARG002
        """Return the file of a blob, if it is one on this machine; one in `.zst` is compressed."""
        return None

    def length_of(self, seen: SeenBlob) -> int:
        """Return how long a blob is, compressed or not, as far as it says so itself."""
        return seen.size

    # --- notes ---

    @abstractmethod
    def notes(self, folder: str) -> list[Note]:
        """Return all notes of a folder."""

    @abstractmethod
    def read_note(self, folder: str, name: str) -> Note | None:
        """Return a note; None if it is not there."""

    @abstractmethod
    def write_note(self, folder: str, name: str, data: bytes) -> None:
        """Write a note, replacing an older one."""

    @abstractmethod
    def create_note(self, folder: str, name: str, data: bytes) -> bool:
        """Write a note that must not be there; False if another one is."""

    @abstractmethod
    def drop_note(self, folder: str, name: str) -> None:
        """Remove a note that nobody else writes."""

    @abstractmethod
    def remove_note(self, folder: str, note: Note) -> bool:
        """Remove a note if it is still as it was read."""
