"""A store that notes what it was asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from invariant_dask.core.digest import ArtifactHash, BlobId, PlannedDigest, ResolvedDigest
from invariant_dask.core.encode import Encoded
from invariant_dask.store.about import About
from invariant_dask.store.backend import StoreStats
from invariant_dask.store.base import Store, StoreRef, register_live
from invariant_dask.store.record import EntryRow, Found, Record
from invariant_dask.store.wrapping import Wrapper

if TYPE_CHECKING:
    from typing_extensions import Buffer


class CountingStore(Wrapper):
    """Forwards to a real store and notes which digests it was asked for.

    In this process a reference to the wrapped store opens this one, so that what tasks do is
    counted too; processes elsewhere use the wrapped store directly.
    """

    kind = "counting"

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.lookups: list[tuple[bytes, ...]] = []
        """The digests of each look-up."""
        self.published: list[bytes] = []
        """Resolved digests, in order of publication."""
        self.claimed: list[bytes] = []
        """Planned digests that were claimed for a stored record."""
        self.fetched: list[bytes] = []
        """Resolved digests of the artifacts that were read."""

    @property
    def looked_up(self) -> list[bytes]:
        """All digests that were looked up, in order."""
        return [digest for batch in self.lookups for digest in batch]

    def forget(self) -> None:
        """Start counting anew."""
        for notes in (self.lookups, self.published, self.claimed, self.fetched):
            notes.clear()

    @property
    def stats(self) -> StoreStats:
        """That of the wrapped store, which does the verifying."""
        return self.inner.stats

    def ref(self) -> StoreRef:
        ref = self.inner.ref()
        register_live(ref.token, self)
        return replace(ref, live=self)

    def _token(self) -> str:
        return self.inner._token()  # noqa: SLF001

    def generation(self) -> int | None:
        """None, so that each question is asked, and counted."""
        return None

    def lookup(self, digests: Iterable[bytes]) -> dict[bytes, Found]:
        asked = tuple(digests)
        self.lookups.append(asked)
        return self.inner.lookup(asked)

    def _look_up(self, wanted: Sequence[bytes]) -> tuple[dict[bytes, Found], dict[bytes, bytes]]:
        self.lookups.append(tuple(wanted))
        return self.inner._look_up(wanted)  # noqa: SLF001

    def publish(
        self,
        encoded: Encoded,
        manifest: bytes,
        *,
        kind: str,
        about: About,
        planned: PlannedDigest | None = None,
        inputs: Sequence[tuple[PlannedDigest, ArtifactHash]] = (),
        resolved: ResolvedDigest | None = None,
        vouched: bool = True,
    ) -> Record:
        record = self.inner.publish(
            encoded, manifest, kind=kind, about=about,
            planned=planned, inputs=inputs, resolved=resolved, vouched=vouched,
        )  # fmt: skip
        self.published.append(record.resolved)
        return record

    def _publish(self, blobs: Mapping[BlobId, Buffer], rows: Sequence[EntryRow]) -> None:
        self.inner._publish(blobs, rows)  # noqa: SLF001
        self.published += [row.digest for row in rows if row.target is None]

    def claim(
        self,
        planned: PlannedDigest,
        record: Record,
        inputs: Sequence[tuple[PlannedDigest, ArtifactHash]],
        writer: str = "",
        *,
        vouched: bool = True,
    ) -> None:
        self.claimed.append(planned)
        self.inner.claim(planned, record, inputs, writer, vouched=vouched)

    def fetch(self, record: Record) -> tuple[bytes, dict[BlobId, Buffer]]:
        self.fetched.append(record.resolved)
        return self.inner.fetch(record)

    def write_blob(self, data: Buffer) -> BlobId:
        return self.inner.write_blob(data)

    def read_blob(self, blob: BlobId, length: int) -> Buffer | None:
        return self.inner.read_blob(blob, length)

    def _verified_blob(self, blob: BlobId, length: int) -> Buffer | None:
        return self.inner._verified_blob(blob, length)  # noqa: SLF001

    def recent(self, op: str, limit: int = 50) -> list[Record]:
        return self.inner.recent(op, limit)

    def invalidate(self, what: str | bytes) -> int:
        return self.inner.invalidate(what)
