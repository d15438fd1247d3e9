"""Looking up and reading: what every store answers, verified and on its terms.

Nothing leaves here that was not checked: an entry against its digest and what it claims to be, its
signature under the store's policy, a blob against its id. What does not hold is a miss, and `why`
says which.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from invariant_dask.core.decode import decode
from invariant_dask.core.digest import BlobId, blob_id
from invariant_dask.errors import (
    ArtifactLostError,
    ArtifactNotFoundError,
    IntegrityError,
    StoreUnavailableError,
    UnknownTypeError,
)
from invariant_dask.store import keys, signals
from invariant_dask.store.backend import Backend
from invariant_dask.store.misses import DAMAGED, Misses, lost
from invariant_dask.store.naming import parse_digest
from invariant_dask.store.record import Found, PlannedEntry, Record, check_artifact, parse_entry
from invariant_dask.store.trust import DEFAULT_TERMS, Judge, Terms

if TYPE_CHECKING:
    from typing_extensions import Buffer

logger = logging.getLogger("invariant_dask.store")

_NO_RECORD = "lost: the record that its claim points to is not there"
_OTHER_RESULT = "lost: the record that its claim points to is now of another result"
_TOO_LARGE = "more than max_artifact_size allows"


class Reader(Backend):
    """The part of a store that looks up and reads; see `store.base.Store`.

    Parameters
    ----------
    terms
        Whose entries are taken, and how large artifacts may be.

    Raises
    ------
    TrustError
        If the environment names a private key that cannot be used.
    """

    def __init__(self, terms: Terms = DEFAULT_TERMS) -> None:
        super().__init__()
        keys.signing_key()  # what is wrong with it is told now, not in the middle of a run
        self.terms = terms
        self._judge = Judge(terms.trust)
        self._misses = Misses()

    @property
    def domain(self) -> str:
        """What tells this place, and whom it is believed, from all others."""
        trust = self.terms.trust
        return self.place if trust.is_any else f"{self.place} ({trust.short})"

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
        """Return what was found, and all entries that were read on the way and taken, as bytes."""
        rows = self._read_entries(wanted)
        found = self._with_blobs(self._resolve(wanted, rows))
        self._forget_reasons(found)
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
        vouched = self._judge.vouches([(digest, data, entry.signature)])
        found = Found(entry, None, vouched)
        if not entry.is_inline and not self._with_blobs({digest: found}):
            return None
        self._forget_reasons([digest])
        with self._counts_lock:
            self._counts["hits"] += 1
        return found

    def exists(self, digest: bytes) -> bool:
        """Return whether an artifact is stored under a planned or resolved digest."""
        return digest in self.lookup([digest])

    def why(self, digest: bytes | str) -> str:
        """Return why the last look-up of a digest was a miss, or nothing if it was never seen.

        The text begins with `damaged`, `untrusted`, `lost`, `refused` or `evicted`. Only the latest
        ten thousand are remembered, and only what this object saw.
        """
        return self._reason(parse_digest(digest))

    def _reason(self, digest: bytes) -> str:
        return self._misses.why(digest)

    def _forget_reasons(self, digests: Collection[bytes]) -> None:
        self._misses.found(digests)

    def note_loss(self, digest: bytes, reason: str) -> None:
        """Remember that what was found under a digest turned out to be gone."""
        self._misses.note(digest, lost(reason))

    def _resolve(self, wanted: Sequence[bytes], rows: dict[bytes, bytes]) -> dict[bytes, Found]:
        """Follow planned entries to their records.

        Rows that are read on the way are added to `rows`, and those that are not taken go.
        """
        entries = self._parse(rows)
        targets = {
            entry.resolved for entry in entries.values() if type(entry) is PlannedEntry
        }.difference(entries)
        if targets:
            further = self._read_entries(list(targets))
            entries.update(self._parse(further))
            rows.update(further)
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
                elif record is None:
                    self._misses.note(digest, self._reason(entry.resolved) or _NO_RECORD)
                else:
                    self._misses.note(digest, _OTHER_RESULT)
        if self._judge.vouching() is not None:
            found = {digest: self._vouched(each, rows) for digest, each in found.items()}
        return found

    def _vouched(self, found: Found, rows: Mapping[bytes, bytes]) -> Found:
        record, entry, *_ = found
        signed: list[tuple[bytes, bytes]] = [(record.resolved, record.signature)]
        if entry is not None:
            signed.append((entry.planned, entry.signature))
        vouched = self._judge.vouches((digest, rows[digest], own) for digest, own in signed)
        return Found(record, entry, vouched)

    def _with_blobs(self, found: dict[bytes, Found]) -> dict[bytes, Found]:
        larger = [each.record for each in found.values() if not each.record.is_inline]
        if not larger:
            return found
        parts = {part for record in larger for part in record.parts}
        there = self._has_blobs(parts)
        whole = {}
        for digest, each in found.items():
            gone = [part for part in each.record.parts if part[0] not in there]
            if gone:
                self._misses.note(digest, lost(self._absent(*gone[0])))
            else:
                whole[digest] = each
        return whole

    def _parse(self, rows: Mapping[bytes, bytes]) -> dict[bytes, Record | PlannedEntry]:
        """Return the entries that are undamaged and taken on the store's terms."""
        entries: dict[bytes, Record | PlannedEntry] = {}
        most, anybody = self.terms.max_artifact_size, self._judge.trust.is_any
        for digest, data in rows.items():
            try:
                entry = parse_entry(digest, data)
            except IntegrityError as error:
                self._set_entry_aside(digest, data, error)
                continue
            if type(entry) is Record and entry.size > most:
                self._misses.note(digest, f"refused: {entry.size} bytes are {_TOO_LARGE} ({most})")
            elif anybody or not self._is_objected(digest, data, entry.signature):
                entries[digest] = entry
        return entries

    def _takes(self, digest: bytes, data: bytes) -> bool:
        """Return whether a look-up here would take an entry that is not damaged."""
        entry = parse_entry(digest, data)
        if type(entry) is Record and entry.size > self.terms.max_artifact_size:
            return False
        return not self._judge.objection(digest, data, entry.signature)

    def _is_objected(self, digest: bytes, data: bytes, signature: bytes) -> bool:
        objection = self._judge.objection(digest, data, signature)
        if objection:
            logger.info("%s: entry %s is not taken: %s", self.url, digest.hex()[:12], objection)
            self._misses.note(digest, objection)
            self._count(untrusted=1)
        return bool(objection)

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
            raise self._absence(raw)
        try:
            storage, blobs = self.fetch(found.record)
        except ArtifactLostError as error:
            self.note_loss(raw, error.reason)
            raise self._absence(raw) from error
        try:
            return decode(storage, fetch=lambda blob, _: blobs[blob], sealed=True)
        except UnknownTypeError:
            raise
        except IntegrityError as error:
            self.note_loss(raw, self.refuse(found.record, error))
            raise self._absence(raw) from error

    def refuse(self, record: Record, error: IntegrityError) -> str:
        """Set a record aside whose artifact is no value though its hashes hold; return why.

        Whoever wrote it meant it to be so, or had another version of its type.
        """
        self._set_entry_aside(record.resolved, record.to_bytes(), error)
        return f"its bytes are no value: {error}"

    def _absence(self, digest: bytes) -> ArtifactNotFoundError:
        reason = self._reason(digest)
        return ArtifactNotFoundError(digest=digest.hex(), store=self.url, reason=reason)

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
            self._lose(record, "its bytes are not what its hash says", error)
        self._count(fetches=1, bytes_read=record.size)
        return storage, blobs

    def _fetch_blob(self, record: Record, blob: BlobId, length: int) -> Buffer:
        data = self._verified_blob(blob, length)
        if data is None:
            self._lose(record, self._absent(blob, length))
        return data

    def _absent(self, blob: BlobId, length: int) -> str:
        """Return why a blob cannot be used; it begins with `damaged` if it was there."""
        name = f"blob {blob.hex()[:12]}"
        if why := self._why_unread(blob):
            return f"{name} cannot be read: {why}"
        there = self._length_of_blob(blob)
        if there is not None and there != length:
            return f"{DAMAGED}{name}: it has {there} bytes and not {length}"
        return self._reason(blob) or f"{name} is not there"

    def read_blob(self, blob: BlobId, length: int) -> Buffer | None:
        """Return verified bytes by their id, or None if they are not there or were damaged."""
        data = self._verified_blob(blob, length)
        if data is not None:
            self._count(bytes_read=length)
        return data

    def _verified_blob(self, blob: BlobId, length: int) -> Buffer | None:
        what = why = ""
        for again in (self.may_damage_on_the_way, False):
            try:
                data = self._read_blob(blob, length)
                if data is None:
                    # Of another length? What is sound is not at fault, whatever a record says.
                    there = self._length_of_blob(blob)
                    if there is None or there in {length, self._sound_length(blob, there)}:
                        return None
                    what = why = f"it has {there} bytes and not {length}"
                else:
                    size, seen = memoryview(data).nbytes, blob_id(data)
                    if size == length and seen == blob:
                        self._misses.found((blob,))
                        return data
                    what = f"blob {seen.hex()} of {size} bytes"
                    why = f"its {size} bytes are not those that were written"
            except IntegrityError as error:
                what = why = str(error)
            if not again:
                break
            logger.info("%s: blob %s is read again: it did not arrive whole", self.url, blob.hex())
        logger.warning("%s: blob %s is damaged and set aside", self.url, blob.hex())
        self._misses.note(blob, f"{DAMAGED}blob {blob.hex()[:12]}: {why}")
        with self._setting_aside():
            self._quarantine_blob(blob)
            self._report(blob, "blob", f"blob {blob.hex()} of {length} bytes", what)
        return None

    def _sound_length(self, blob: BlobId, length: int) -> int | None:
        """Return the length of what is there if that is the blob, however long it should be."""
        if length > self.terms.max_artifact_size:
            return None
        data = self._read_blob(blob, length)
        return length if data is not None and blob_id(data) == blob else None

    def recent(self, op: str, limit: int = 50) -> list[Record]:
        """Return the latest records of an op, newest first; their blobs may be gone.

        Those that are damaged or not believed are left out.
        """
        parsed = self._parse(dict(self._recent(op, limit)))
        return [entry for entry in parsed.values() if type(entry) is Record]

    # --- damage ---

    def _set_entry_aside(self, digest: bytes, data: bytes, error: IntegrityError) -> None:
        logger.warning("%s: an entry is damaged and set aside: %s", self.url, error)
        self._misses.note(digest, f"damaged: {str(error).partition(': ')[2] or error}")
        with self._setting_aside():
            self._quarantine_entry(digest, data)
            self._report(
                digest, "entry", f"an entry of {digest.hex()}", f"{len(data)} bytes: {error}"
            )

    @contextmanager
    def _setting_aside(self) -> Iterator[None]:
        """What is damaged counts as absent, also where it cannot be moved."""
        try:
            yield
            self._count(quarantined=1)
        except StoreUnavailableError as error:
            logger.warning("%s: what is damaged stays where it is: %s", self.url, error)

    def _report(self, name: bytes, what: str, expected: str, seen: str) -> None:
        report = signals.damage_report(self.url, what, name, expected, seen)
        self._keep_report(name, what, report)
        signals.send(signals.Signal("quarantined", self.url, name, f"{what}: {seen}"))

    def _lose(self, record: Record, reason: str, cause: Exception | None = None) -> NoReturn:
        self.note_loss(record.resolved, reason)
        raise ArtifactLostError(digest=record.resolved.hex(), reason=reason) from cause
