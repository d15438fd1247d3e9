"""A store that keeps nothing: everything runs, every time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from invariant_dask.core.digest import BlobId
from invariant_dask.store.base import Store, openers
from invariant_dask.store.record import EntryRow

if TYPE_CHECKING:
    from typing_extensions import Buffer


class NullStore(Store):
    """Keeps nothing, and is the same in every process.

    Notes
    -----
    `publish` still returns a record. One that carries a small artifact itself can be fetched;
    fetching anything with blobs raises `ArtifactLostError`.
    """

    kind = "null"
    has_generation = True

    @property
    def url(self) -> str:
        """Opens another one, which is the same."""
        return "null:"

    def _token(self) -> str:
        return "null"

    def _read_entries(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:  # noqa: ARG002
        return {}

    def _write_entries(self, rows: Sequence[EntryRow]) -> bool:  # noqa: ARG002
        return True

    def _delete_entries(self, digests: Sequence[bytes]) -> int:  # noqa: ARG002
        return 0

    def _delete_op(self, op: str) -> int:  # noqa: ARG002
        return 0

    def _recent(self, op: str, limit: int) -> list[tuple[bytes, bytes]]:  # noqa: ARG002
        return []

    def generation(self) -> int | None:
        return 0

    def _read_blob(self, blob: BlobId, length: int) -> Buffer | None:  # noqa: ARG002
        return None

    def _write_blobs(self, blobs: Mapping[BlobId, Buffer]) -> None:
        pass

    def _has_blobs(self, blobs: Collection[tuple[BlobId, int]]) -> set[BlobId]:  # noqa: ARG002
        return set()

    def _quarantine_entry(self, digest: bytes, data: bytes) -> None:
        pass

    def _quarantine_blob(self, blob: BlobId) -> None:
        pass


openers[NullStore.kind] = lambda _ref: NullStore()
