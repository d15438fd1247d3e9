"""What a collector tells of what it did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from invariant_dask.store.sizes import counted, size_text

NOT_NAMED = "no record names it"
GONE = "its blob is gone"


class Removal(NamedTuple):
    """What goes, or would go, and why."""

    what: str
    """`record`, `planned entry`, `blob`, or `set aside` for what was damaged."""
    digest: bytes
    size: int
    """Bytes of it alone."""
    op: str
    why: str
    named: int = 0
    """Of a record, the bytes of the blobs that it names: they go too if no other does."""


@dataclass
class Report:
    """What a collector did, or would do."""

    dry_run: bool = False
    removals: list[Removal] = field(default_factory=list)
    kept: Counter[str] = field(default_factory=Counter)
    """How many records stayed, and why."""
    size_before: int = 0
    damaged: int = 0
    """Entries that cannot be read. While there are any, no blob is removed: it may be theirs."""

    @property
    def freed(self) -> int:
        """Bytes that went."""
        return sum(removal.size for removal in self.removals)

    @property
    def size_after(self) -> int:
        """Bytes that are left."""
        return self.size_before - self.freed

    def count(self, what: str) -> int:
        """Return how many records, planned entries or blobs went."""
        return sum(removal.what == what for removal in self.removals)

    @property
    def evicted(self) -> list[bytes]:
        """Digests of entries that went to make room; what nobody could use was lost before."""
        return [
            removal.digest
            for removal in self.removals
            if removal.what in {"record", "planned entry"} and removal.why != GONE
        ]

    def __str__(self) -> str:
        went = "would go" if self.dry_run else "went"
        counts = ", ".join(
            counted(self.count(what), what, many)
            for what, many in (
                ("record", "records"), ("planned entry", "planned entries"), ("blob", "blobs")
            )
        )  # fmt: skip
        if aside := self.count("set aside"):
            counts += f", {counted(aside, 'damaged thing')} set aside"
        text = f"{counts} {went}: {size_text(self.freed)}; {size_text(self.size_after)} stay"
        if self.damaged:
            damaged = counted(self.damaged, "entry is", "entries are")
            text += f"; {damaged} damaged, so no blobs {went}: run verify"
        return text
