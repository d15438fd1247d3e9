"""What every store does, on top of the few things that a back end must be able to do with bytes.

Looking up, publishing and fetching live here, once: so no back end can forget to verify. A back
end only keeps entries under digests and blobs under their ids, and never looks into either.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn
from weakref import WeakValueDictionary

from invariant_dask.core import manifest as manifests
from invariant_dask.core.decode import decode
from invariant_dask.core.digest import (
    ArtifactHash,
    BlobId,
    PlannedDigest,
    ResolvedDigest,
    blob_id,
)
from invariant_dask.core.encode import INLINE_LIMIT, Encoded, encode
from invariant_dask.errors import (
    ArtifactLostError,
    ArtifactNotFoundError,
    IntegrityError,
    StoreNotSharedError,
    StoreUnavailableError,
    UnknownTypeError,
)
from invariant_dask.store.backend import Backend
from invariant_dask.store.record import (
    About,
    EntryRow,
    Found,
    PlannedEntry,
    Record,
    check_artifact,
    kind_of,
    names_digest,
    parse_digest,
    parse_entry,
    planned_row,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

logger = logging.getLogger("invariant_dask.store")

_PUBLISH_ATTEMPTS = 5


class Store(Backend):
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

    # --- looking up ---

    def lookup(self, digests: Iterable[bytes]) -> dict[bytes, Found]:
        """Return what is stored under planned or resolved digests; absent ones are left out.

        An entry that is damaged, that points nowhere, or whose blobs are gone counts as absent.

        Notes
        -----
        One batched read, one more for the records that planned entries point to, and one check
        that blobs are there. No artifact is read.
        """
        wanted = list(dict.fromkeys(digests))
        if not wanted:
            return {}
        return self._look_up(wanted)[0]

    def _look_up(self, wanted: Sequence[bytes]) -> tuple[dict[bytes, Found], dict[bytes, bytes]]:
        """Return what was found, and all undamaged entries that were read on the way, as bytes."""
        rows = self._read_entries(wanted)
        found = self._with_blobs(self._resolve(wanted, rows))
        self._count(hits=len(found), misses=len(wanted) - len(found))
        return found, rows

    def rows_of(self, op: str, limit: int) -> dict[bytes, bytes]:
        """Return the latest records of an op as they are kept, unread: see `found_in`."""
        return dict(self._recent(op, limit))

    def found_in(self, digest: bytes, data: bytes) -> Found | None:
        """Return the record in `data`, unless it is damaged or its blobs are gone."""
        entry = self._parse({digest: data}).get(digest)
        if type(entry) is not Record:
            return None
        found = Found(entry, None)
        if not entry.is_inline and not self._with_blobs({digest: found}):
            return None
        with self._counts_lock:
            self._counts["hits"] += 1
        return found

    def exists(self, digest: bytes) -> bool:
        """Return whether an artifact is stored under a planned or resolved digest."""
        return digest in self.lookup([digest])

    def _resolve(self, wanted: Sequence[bytes], rows: dict[bytes, bytes]) -> dict[bytes, Found]:
        """Follow planned entries to their records.

        Rows that are read on the way are added to `rows`, and damaged ones go.
        """
        entries = self._parse(rows)
        targets = {
            entry.resolved for entry in entries.values() if type(entry) is PlannedEntry
        }.difference(entries)
        if targets:
            more = self._read_entries(list(targets))
            entries.update(self._parse(more))
            rows.update(more)
        if len(entries) < len(rows):
            for digest in rows.keys() - entries.keys():
                del rows[digest]
        found = {}
        for digest in wanted:
            entry = entries.get(digest)
            if type(entry) is Record:
                found[digest] = Found(entry, None)
            elif type(entry) is PlannedEntry:
                record = entries.get(entry.resolved)
                # Another hash means that an op gave two results and the claim is about the other.
                if type(record) is Record and record.hash == entry.hash:
                    found[digest] = Found(record, entry)
        return found

    def _with_blobs(self, found: dict[bytes, Found]) -> dict[bytes, Found]:
        larger = [each.record for each in found.values() if not each.record.is_inline]
        if not larger:
            return found
        parts = {part for record in larger for part in record.parts}
        there = self._has_blobs(parts)
        return {
            digest: each
            for digest, each in found.items()
            if all(blob in there for blob, _ in each.record.parts)
        }

    def _parse(self, rows: Mapping[bytes, bytes]) -> dict[bytes, Record | PlannedEntry]:
        entries = {}
        for digest, data in rows.items():
            try:
                entries[digest] = parse_entry(digest, data)
            except IntegrityError as error:
                self._set_entry_aside(digest, data, error)
        return entries

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
        rows = [EntryRow(resolved, data, about.op, about.created, None, tuple(blobs))]
        if planned is not None and bytes(planned) != resolved:
            rows.append(planned_row(planned, record, encoded.hash, inputs, about))
        self._publish(blobs, rows)
        written = sum([len(row.data) for row in rows]) + sum([length for _, length in listed])
        with self._counts_lock:
            self._counts["puts"] += 1
            self._counts["bytes_written"] += written
        return record

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
    ) -> None:
        """Write the planned entry that connects a planned digest with a stored record.

        It only spares others a longer way to the record, so a store that cannot be written is
        logged and no error.
        """
        if bytes(planned) == record.resolved:
            return
        about = About(record.about.op, writer=writer, created=time.time_ns())
        try:
            self._write_entries([planned_row(planned, record, record.hash, inputs, about)])
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

    # --- reading ---

    def get(self, digest: bytes | str) -> Any:
        """Return the sealed value stored under a planned or resolved digest.

        Parameters
        ----------
        digest
            Raw, in hexadecimal, or a Dask key that ends in it.

        Raises
        ------
        ArtifactNotFoundError
            If nothing is stored there, or what is there is damaged; it is a KeyError.
        SpecError
            If `digest` is not one.
        """
        raw = parse_digest(digest)
        found = self.lookup([raw]).get(raw)
        if found is None:
            raise ArtifactNotFoundError(digest=raw.hex(), store=self.url)
        try:
            storage, blobs = self.fetch(found.record)
        except ArtifactLostError as error:
            raise ArtifactNotFoundError(digest=raw.hex(), store=self.url) from error
        return decode(storage, fetch=lambda blob, _: blobs[blob], sealed=True)

    def fetch(self, record: Record) -> tuple[bytes, dict[BlobId, Buffer]]:
        """Return the verified storage form and blobs of a stored artifact.

        Raises
        ------
        ArtifactLostError
            If any of it is gone, or was damaged and is now set aside.
        UnknownTypeError
            If verifying it takes a type that is not registered here.
        """
        storage = record.storage
        if storage is not None and record.is_plain:
            with self._counts_lock:
                self._counts["fetches"] += 1
                self._counts["bytes_read"] += record.size
            return storage, {}
        if storage is None:
            assert record.storage_blob is not None
            data = self._fetch_blob(record, *record.storage_blob)
            storage = data if type(data) is bytes else bytes(data)
        blobs = {blob: self._fetch_blob(record, blob, length) for blob, length in record.blobs}
        try:
            check_artifact(record, storage, blobs)
        except UnknownTypeError:
            raise
        except IntegrityError as error:
            self._set_entry_aside(record.resolved, record.to_bytes(), error)
            _lost(record, "its bytes are not what its hash says", error)
        self._count(fetches=1, bytes_read=record.size)
        return storage, blobs

    def _fetch_blob(self, record: Record, blob: BlobId, length: int) -> Buffer:
        data = self._verified_blob(blob, length)
        if data is None:
            _lost(record, f"blob {blob.hex()[:12]} is gone or damaged")
        return data

    def read_blob(self, blob: BlobId, length: int) -> Buffer | None:
        """Return verified bytes by their id, or None if they are not there or were damaged."""
        data = self._verified_blob(blob, length)
        if data is not None:
            self._count(bytes_read=length)
        return data

    def _verified_blob(self, blob: BlobId, length: int) -> Buffer | None:
        data = self._read_blob(blob, length)
        if data is None:
            return None
        if memoryview(data).nbytes == length and blob_id(data) == blob:
            return data
        logger.warning("%s: blob %s is damaged and set aside", self.url, blob.hex())
        with self._setting_aside():
            self._quarantine_blob(blob)
        return None

    def recent(self, op: str, limit: int = 50) -> list[Record]:
        """Return the latest records of an op, newest first; their blobs may be gone."""
        records = []
        for digest, data in self._recent(op, limit):
            try:
                records.append(Record.from_bytes(digest, data))
            except IntegrityError as error:
                self._set_entry_aside(digest, data, error)
        return records

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
        with self._counts_lock:
            self._removals += 1  # afterwards: whoever sees the number finds nothing any more
        return removed

    def _set_entry_aside(self, digest: bytes, data: bytes, error: IntegrityError) -> None:
        logger.warning("%s: an entry is damaged and set aside: %s", self.url, error)
        with self._setting_aside():
            self._quarantine_entry(digest, data)

    @contextmanager
    def _setting_aside(self) -> Iterator[None]:
        """What is damaged counts as absent, also where it cannot be moved."""
        try:
            yield
            self._count(quarantined=1)
        except StoreUnavailableError as error:
            logger.warning("%s: what is damaged stays where it is: %s", self.url, error)

    # --- other processes ---

    def ref(self) -> StoreRef:
        """Return a small reference that opens this store again, here or in another process."""
        token = self._token()
        _live[token] = self
        return StoreRef(self.kind, self.url, token, self)

    def __reduce__(self) -> tuple[Any, ...]:
        return StoreRef.open, (self.ref(),)


@dataclass(frozen=True, slots=True)
class StoreRef:
    """Names a store, with the token by which another process proves that it sees the same one."""

    kind: str
    url: str
    token: str
    live: Store | None = field(default=None, compare=False, repr=False)
    """Kept alive where the reference was made; it does not travel."""

    def __reduce__(self) -> tuple[Any, ...]:
        self.show()
        return StoreRef, (self.kind, self.url, self.token)

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


def _lost(record: Record, reason: str, cause: Exception | None = None) -> NoReturn:
    raise ArtifactLostError(digest=record.resolved.hex(), reason=reason) from cause
