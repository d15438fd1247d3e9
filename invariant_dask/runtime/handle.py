"""Artifact handles: what a task returns instead of a bare value.

A handle knows the descriptor of its artifact, so consumers can resolve their manifests without
the bytes, and it carries or can fetch the encoded artifact. It holds bytes, never live objects:
every consumer decodes values of its own, so nobody can change what another one sees.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from invariant_dask.core.decode import decode
from invariant_dask.core.digest import ArtifactHash, BlobId, PlannedDigest
from invariant_dask.core.encode import hash_of_descriptor
from invariant_dask.errors import ArtifactLostError, IntegrityError, UnknownTypeError
from invariant_dask.store.opening import StoreRef
from invariant_dask.store.record import Record
from invariant_dask.store.trust import Terms

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Recipe(Protocol):
    """How to make an artifact again, should it be gone when it is needed."""

    def remake(self) -> Handle: ...


class Outcome(NamedTuple):
    """What happened to a node, for reports: `ran`, `stored` or `same inputs`."""

    kind: str
    nanoseconds: int = 0
    worker: str = ""
    attempts: int = 1


@dataclass(slots=True, eq=False)
class Handle:
    """An artifact by descriptor, with its bytes or the record to fetch them by.

    It says the same as long as it lives; `keeps` lets it say it faster the second time.
    """

    planned: PlannedDigest
    descriptor: bytes
    kind: str
    size: int
    outcome: Outcome
    store: StoreRef
    record: Record | None = None
    storage: bytes | None = None
    blobs: dict[BlobId, Buffer] = field(default_factory=dict)
    recipe: Recipe | None = None
    vouched: bool = False
    """Whether a worker with a key may sign what it makes from this: see `store.trust`."""
    keeps: bool = False
    """Whether bytes that were fetched are kept for the next one who asks."""
    _hash: ArtifactHash | None = None

    @property
    def hash(self) -> ArtifactHash:
        """The stable hash of the artifact."""
        if self._hash is None:
            self._hash = hash_of_descriptor(self.descriptor)
        return self._hash

    def is_vouched_for(self, terms: Terms) -> bool:
        """Whether it is vouched for by whoever uses a store on these terms.

        Others of the same cluster vouch for what they made or read, if their terms are the same.
        """
        return self.vouched and self.store.terms.trust == terms.trust

    def loaded(self) -> Handle:
        """Return a handle that has the bytes.

        Raises
        ------
        ArtifactLostError
            If the bytes are gone or damaged, and there is no recipe to make them again.
        """
        if self.storage is not None:
            return self
        assert self.record is not None
        try:
            storage, blobs = self.store.open().fetch(self.record)
        except ArtifactLostError as error:
            if self.recipe is None:
                raise ArtifactLostError(digest=self.planned.hex(), reason=error.reason) from error
            return self.recipe.remake().loaded()
        if self.keeps:
            self.blobs, self.storage = blobs, storage
            return self
        return replace(self, storage=storage, blobs=blobs)

    def value(self, *, sealed: bool = False) -> Any:
        """Return the artifact as a value of the caller's own; `sealed` ones refuse to change.

        Raises
        ------
        ArtifactLostError
            If it was stored, and is gone or no value, and there is no recipe to make it again.
        """
        handle = self.loaded()
        assert handle.storage is not None
        try:
            return decode_artifact(handle.storage, handle.blobs, sealed=sealed)
        except UnknownTypeError:
            raise  # that the type is missing here says nothing against the artifact
        except IntegrityError as error:
            if self.record is None or handle.outcome.kind == "ran":
                raise  # making it again would give the same
            reason = self.store.open().refuse(self.record, error)
            self.storage, self.blobs = None, {}
            if self.recipe is None:
                raise ArtifactLostError(digest=self.planned.hex(), reason=reason) from error
        return self.recipe.remake().value(sealed=sealed)

    def light(self) -> Handle:
        """Return the same handle without bytes, if they can be fetched again."""
        if self.record is None or self.storage is None:
            return self
        return replace(self, storage=None, blobs={})

    def __sizeof__(self) -> int:
        held = sum(memoryview(data).nbytes for data in self.blobs.values())
        return 400 + len(self.storage or b"") + held

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        buffers: dict[BlobId, Any] = dict(self.blobs)
        if protocol >= 5:
            # Out of band: large buffers travel between workers without a copy on this side.
            buffers = {blob: pickle.PickleBuffer(data) for blob, data in self.blobs.items()}
        else:
            buffers = {blob: bytes(memoryview(data)) for blob, data in self.blobs.items()}
        return _receive, (
            self.planned, self.descriptor, self.kind, self.size, self.outcome, self.store,
            self.record, self.storage, buffers, self.recipe, self.vouched,
        )  # fmt: skip


def decode_artifact(storage: bytes, blobs: dict[BlobId, Buffer], *, sealed: bool = False) -> Any:
    """Return the value of a storage form whose blobs are at hand."""
    if not blobs:
        return decode(storage, sealed=sealed)
    return decode(storage, fetch=lambda blob, _length: blobs[blob], sealed=sealed)


def _receive(*fields: Any) -> Handle:
    planned, descriptor, kind, size, outcome, store, record, storage, blobs, recipe, vouched = (
        fields
    )
    # What arrives may be a view of a receive buffer that others can write to; bytes cannot change.
    kept: dict[BlobId, Buffer] = {
        blob: data if type(data) is bytes else bytes(data) for blob, data in blobs.items()
    }
    return Handle(
        planned, descriptor, kind, size, outcome, store, record, storage, kept, recipe, vouched
    )  # fmt: skip
