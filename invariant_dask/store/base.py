"""What every store does, on top of the few things that a back end must be able to do with bytes.

Publishing lives here, looking up and fetching in `store.reading`, once: so no back end can forget
to verify. A back end only keeps entries under digests and blobs under their ids, and never looks
into either.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakValueDictionary

from invariant_dask.cards import Card, Shown
from invariant_dask.core import manifest as manifests
from invariant_dask.core.digest import (
    ArtifactHash,
    BlobId,
    PlannedDigest,
    ResolvedDigest,
    blob_id,
)
from invariant_dask.core.encode import INLINE_LIMIT, Encoded, encode
from invariant_dask.errors import StoreNotSharedError, StoreUnavailableError
from invariant_dask.store import keys
from invariant_dask.store.about import About
from invariant_dask.store.backend import told_stats
from invariant_dask.store.naming import names_digest, parse_digest
from invariant_dask.store.reading import Reader
from invariant_dask.store.record import (
    ENTRY_LIMIT,
    EntryRow,
    PlannedEntry,
    Record,
    Sign,
    kind_of,
    planned_row,
    sign_entry,
)
from invariant_dask.store.trust import DEFAULT_TERMS, Terms

if TYPE_CHECKING:
    from typing_extensions import Buffer

logger = logging.getLogger("invariant_dask.store")

_PUBLISH_ATTEMPTS = 5


class Store(Shown, Reader):
    """A place for records and blobs.

    Notes
    -----
    Every method may be called from several threads at once. Each raises `StoreUnavailableError`
    when the place cannot be read or written. To make a store of your own, implement the methods
    whose names begin with an underscore and run `invariant_dask.testing.StoreContract` on it.
    """

    kind: ClassVar[str]
    """The name under which `StoreRef` finds the opener."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def _card(self) -> Card:
        # What this process did: to count what is stored would be a walk through a bucket.
        return Card(
            f"{type(self).__name__} {self.url}",
            [("trusted entries", self.terms.trust.short), *told_stats(self.stats)],
        )

    # --- publishing ---

    def encode(self, value: object) -> Encoded:
        """Encode a value that is to be published here, in the way that suits this store best.

        Raises
        ------
        NotCacheableError
            If any part of the value has no canonical form.
        """
        return encode(value)

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
        """Store an artifact: its blobs first, then its record, then the planned entry.

        When this returns, killing this process loses nothing of it.

        Parameters
        ----------
        encoded
            The artifact.
        manifest
            The resolved manifest; its digest is what the record is stored under.
        kind
            The name of the artifact's type, for people.
        about
            What explains the record.
        planned
            The planned digest that asked for it.
        inputs
            Planned digest and stable hash of what the op was given.
        resolved
            The digest of the manifest, if it was just taken; a record under any other is damaged.
        vouched
            Whether all that it was made from is vouched for. If not, it is not signed: see
            `store.trust`.

        Raises
        ------
        StoreUnavailableError
            If it cannot be written, or is larger than this store takes.
        """
        if not about.created:
            about = about._replace(created=time.time_ns())
        if resolved is None:
            resolved = ResolvedDigest(manifests.digest(manifest))
        blobs: dict[BlobId, Buffer] = {}
        listed: tuple[tuple[BlobId, int], ...] = ()
        if encoded.blobs:
            blobs.update(encoded.blobs)
            listed = tuple(sorted((blob, len(data)) for blob, data in encoded.blobs.items()))
        storage: bytes | None = encoded.storage
        storage_blob = None
        if len(encoded.storage) > INLINE_LIMIT:
            storage, storage_blob = None, (blob_id(encoded.storage), len(encoded.storage))
            blobs[storage_blob[0]] = encoded.storage
        record = Record(
            resolved, manifest, encoded.descriptor, kind, encoded.size,
            storage, storage_blob, listed, about.to_bytes(),
        )  # fmt: skip
        data = record.to_bytes()
        self._check_size(record, data)
        sign = self._signer(about.op, vouched=vouched)
        if sign is not None:
            data, signature = sign_entry(resolved, data, sign)
            record = record._replace(signature=signature)
        rows = [EntryRow(resolved, data, about.op, about.created, None, tuple(blobs))]
        if planned is not None and bytes(planned) != resolved:
            rows.append(planned_row(planned, record, encoded.hash, inputs, about, sign))
        if vouched:
            self._judge.made_here(*(row.data for row in rows))
        self._publish(blobs, rows)
        written = sum([len(row.data) for row in rows]) + sum([length for _, length in listed])
        with self._counts_lock:
            self._counts["puts"] += 1
            self._counts["bytes_written"] += written
        return record

    def _check_size(self, record: Record, data: bytes) -> None:
        """Refuse what no reader would take."""
        if record.size > self.terms.max_artifact_size:
            allowed = f"max_artifact_size={self.terms.max_artifact_size}"
            msg = (
                f"{self.url}: an artifact of {record.size} bytes is not kept, because of {allowed}"
            )
            raise StoreUnavailableError(msg)
        if len(data) > ENTRY_LIMIT:
            msg = f"{self.url}: a manifest of {len(record.manifest)} bytes is too long to be kept"
            raise StoreUnavailableError(msg)

    def _signer(self, op: str, *, vouched: bool) -> Sign | None:
        own = keys.signing_key()
        if own is None or vouched:
            return None if own is None else own.sign
        if not self.stats.unsigned:
            logger.warning(
                "%s: a result of %s, and others like it, is published without a signature: it was "
                "made from something that no trusted key vouches for", self.url, op,
            )  # fmt: skip
        self._count(unsigned=1)
        return None

    def _publish(self, blobs: Mapping[BlobId, Buffer], rows: Sequence[EntryRow]) -> None:
        for _ in range(_PUBLISH_ATTEMPTS):
            if blobs:
                self._write_blobs(blobs)
            if self._write_entries(rows):
                return
        msg = f"{self.url}: blobs are removed as fast as they are written; is the size limit tiny?"
        raise StoreUnavailableError(msg)

    def claim(
        self,
        planned: PlannedDigest,
        record: Record,
        inputs: Sequence[tuple[PlannedDigest, ArtifactHash]],
        writer: str = "",
        *,
        vouched: bool = True,
    ) -> None:
        """Write the planned entry that connects a planned digest with a stored record.

        It is signed where this process has a key, if record and inputs are `vouched` for.

        It only spares others a longer way to the record, so a store that cannot be written is
        logged and no error.
        """
        if bytes(planned) == record.resolved:
            return
        about = About(record.about.op, writer=writer, created=time.time_ns())
        own = keys.signing_key() if vouched else None
        sign = None if own is None else own.sign
        row = planned_row(planned, record, record.hash, inputs, about, sign)
        if vouched:
            self._judge.made_here(row.data)
        try:
            self._write_entries([row])
        except StoreUnavailableError as error:
            logger.warning("%s: a planned entry is not persisted: %s", self.url, error)

    def put(self, manifest: bytes, value: object) -> Record:
        """Store a value under a manifest.

        Raises
        ------
        NotCacheableError
            If the value has no canonical form; it is a TypeError.
        EncodingError
            If `manifest` is not one.
        """
        name = manifests.parse(manifest).op_value[0]
        encoded = self.encode(value)
        return self.publish(encoded, manifest, kind=kind_of(value), about=About(str(name)))

    def write_blob(self, data: Buffer) -> BlobId:
        """Keep bytes that belong to no record, such as an input file's, and return their id."""
        blob = blob_id(data)
        self._write_blobs({blob: data})
        self._count(bytes_written=memoryview(data).nbytes)
        return blob

    # --- forgetting ---

    def invalidate(self, what: str | bytes) -> int:
        """Forget what is stored for an op or a digest, and return how many entries that were.

        Parameters
        ----------
        what
            The name of an op; or a digest, raw, in hexadecimal or as a Dask key. Forgetting a
            planned digest forgets the record that it points to as well.
        """
        if isinstance(what, str) and not names_digest(what):
            removed = self._delete_op(what)
        else:
            digest = parse_digest(what)
            entry = self._parse(self._read_entries([digest])).get(digest)
            target = [entry.resolved] if type(entry) is PlannedEntry else []
            removed = self._delete_entries([digest, *target])
            self._forget_reasons([digest, *target])
        with self._counts_lock:
            self._removals += 1  # afterwards: whoever sees the number finds nothing any more
        return removed

    # --- other processes ---

    def ref(self) -> StoreRef:
        """Return a small reference that opens this store again, here or in another process."""
        token = self._token()
        _live[token] = self
        return StoreRef(self.kind, self.url, token, self.terms, self)

    def __reduce__(self) -> tuple[Any, ...]:
        return StoreRef.open, (self.ref(),)


@dataclass(frozen=True, slots=True)
class StoreRef:
    """Names a store, with the token by which another process proves that it sees the same one."""

    kind: str
    url: str
    token: str
    terms: Terms = DEFAULT_TERMS
    """A worker reads on the terms of the client, and signs with a key of its own."""
    live: Store | None = field(default=None, compare=False, repr=False)
    """Kept alive where the reference was made; it does not travel."""
    options: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What it takes to open it, perhaps credentials: never shown, and compared by the token."""

    def __reduce__(self) -> tuple[Any, ...]:
        self.show()
        return StoreRef, (self.kind, self.url, self.token, self.terms, None, self.options)

    def show(self) -> None:
        """Let other processes check that they see the store, before this is sent to them.

        Raises
        ------
        StoreUnavailableError
            If that takes writing and the store cannot be written.
        """
        if self.live is None:
            return
        try:
            self.live._show_token()  # noqa: SLF001
        except StoreUnavailableError as error:
            msg = f"other processes cannot be sure that they see the same store: {error}"
            raise StoreUnavailableError(msg) from error

    def open(self) -> Store:
        """Return the store: the live one of this process if there is one.

        Raises
        ------
        StoreNotSharedError
            If this process does not see that store.
        """
        store = _live.get(self.token)
        if store is None:
            opener = openers.get(self.kind)
            if opener is None:
                msg = f"this process does not know stores of kind {self.kind!r} ({self.url})"
                raise StoreNotSharedError(msg)
            # In a child process, of a store of its parent.
            self.show()
            store = opener(self)
            _live[self.token] = store
        return store


openers: dict[str, Callable[[StoreRef], Store]] = {}
"""How a reference is opened that names no live store of this process, by kind."""

# The live stores of this process, by token. A forked child has copies of the parent's stores, not
# the stores: whether it can share one is for the opener to say.
_live: WeakValueDictionary[str, Store] = WeakValueDictionary()
os.register_at_fork(after_in_child=_live.clear)


def register_live(token: str, store: Store) -> None:
    """Let references with this token open as this object, in this process."""
    _live[token] = store
