"""The small entries of a store: records, planned entries, and how they become bytes.

An entry is a checksum over its key and its body, then the body: a canonical CBOR array. Nothing
here knows where entries are kept. A change of this format is a change of every store's layout
version, so that an older reader never takes a newer entry for a damaged one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from invariant_dask.core import encode as enc
from invariant_dask.core import manifest as manifests
from invariant_dask.core.decode import _Decoder, _no_blobs, verify
from invariant_dask.core.digest import (
    DIGEST_SIZE,
    DOMAIN_ENTRY,
    ArtifactHash,
    BlobId,
    PlannedDigest,
    ResolvedDigest,
    sha256,
)
from invariant_dask.core.sealed import SealedDict, SealedList
from invariant_dask.errors import IntegrityError, SpecError

if TYPE_CHECKING:
    from typing_extensions import Buffer

ENTRY_FORMAT = 1

_NULL = b"\xf6"
_RECORD = enc.head(4, 10) + enc.encode_int(ENTRY_FORMAT) + enc.encode_str("record")
_PLANNED = enc.head(4, 7) + enc.encode_int(ENTRY_FORMAT) + enc.encode_str("planned")
_MAX_INT = 1 << 63
_HEX_DIGEST = re.compile(r"(?:^|[^0-9a-f])([0-9a-f]{64})$")


class EntryRow(NamedTuple):
    """An entry on its way into a store, with what a back end needs to keep order."""

    digest: bytes
    data: bytes
    op: str
    created: int
    target: bytes | None
    """The resolved digest that a planned entry points to; None for a record."""
    blobs: tuple[BlobId, ...] = ()


@dataclass(frozen=True, slots=True)
class About:
    """What explains a record and is no part of any identity."""

    op: str
    node: str = ""
    run: str = ""
    writer: str = ""
    nanoseconds: int = 0
    """How long the op took."""
    created: int = 0
    """Nanoseconds since 1970."""
    code: str = ""
    """Fingerprint of the op's code, where its identity is a declared version."""

    def to_bytes(self) -> bytes:
        """Return the canonical encoding."""
        texts = map(enc.encode_str, (self.op, self.node, self.run, self.writer, self.code))
        numbers = enc.encode_int(self.nanoseconds) + enc.encode_int(self.created)
        return enc.head(4, 7) + b"".join(texts) + numbers

    @classmethod
    def from_bytes(cls, data: bytes) -> About:
        """Decode what `to_bytes` wrote.

        Raises
        ------
        IntegrityError
            If it is anything else.
        """
        reader = _Reader(data)
        reader.array_of(7)
        op, node, run, writer, code = (reader.string() for _ in range(5))
        about = cls(op, node, run, writer, reader.number(), reader.number(), code)
        reader.end()
        return about


@dataclass(frozen=True, slots=True)
class Record:
    """What is stored under a resolved digest: what was asked, what came out, and where it is."""

    resolved: ResolvedDigest
    manifest: bytes
    hash: ArtifactHash
    descriptor: bytes
    kind: str
    """The name of the artifact's type, for people."""
    size: int
    """Bytes of the storage form and its blobs together."""
    storage: bytes | None
    """The storage form, unless it is longer than `INLINE_LIMIT`."""
    storage_blob: tuple[BlobId, int] | None
    """Else the storage form's blob and its length."""
    blobs: tuple[tuple[BlobId, int], ...]
    """Buffers that left the storage form, in order of their ids."""
    about_bytes: bytes
    """`about`, encoded: planning reads thousands of records and needs it of none."""

    @property
    def about(self) -> About:
        """Who made it, when, and how long it took."""
        return About.from_bytes(self.about_bytes)

    @property
    def parts(self) -> tuple[tuple[BlobId, int], ...]:
        """All blobs with their lengths."""
        return self.blobs if self.storage_blob is None else (self.storage_blob, *self.blobs)

    def to_bytes(self) -> bytes:
        """Return the entry: checksum and body."""
        storage = _NULL if self.storage is None else _byte_string(self.storage)
        storage_blob = _NULL if self.storage_blob is None else _pair(self.storage_blob)
        body = b"".join((
            _RECORD, _byte_string(self.manifest), _byte_string(self.descriptor),
            enc.encode_str(self.kind), enc.encode_int(self.size), storage, storage_blob,
            enc.head(4, len(self.blobs)), *map(_pair, self.blobs), _byte_string(self.about_bytes),
        ))  # fmt: skip
        return _checksum(self.resolved, body) + body

    @classmethod
    def from_bytes(cls, digest: bytes, data: bytes) -> Record:
        """Decode the record that is kept under a digest, believing nothing.

        Raises
        ------
        IntegrityError
            If the bytes are damaged, or belong under another digest.
        """
        reader = _Reader(_checked_body(digest, data, _RECORD), len(_RECORD))
        manifest, descriptor = reader.raw(), reader.raw()
        kind, size = reader.string(), reader.number()
        storage = None if reader.null() else reader.raw()
        storage_blob = None if reader.null() else reader.pair()
        blobs = reader.pairs()
        about = reader.raw()
        reader.end()
        if manifests.digest(manifest) != digest:
            _refuse(digest, "its manifest has another digest")
        if not 0 < len(descriptor) <= enc.DESCRIPTOR_LIMIT:
            _refuse(digest, "its descriptor is empty or too long")
        if (storage is None) == (storage_blob is None):
            _refuse(digest, "it must have a storage form or the blob of one")
        if storage is not None and len(storage) > enc.INLINE_LIMIT:
            _refuse(digest, "its storage form is too long")
        own = len(storage) if storage is not None else storage_blob[1]  # type: ignore[index]
        if blobs or storage_blob is not None:
            own += _sum_of_lengths(digest, blobs, storage_blob)
        if own != size:
            _refuse(digest, "its size is not that of its parts")
        return cls(
            ResolvedDigest(digest), manifest, enc.hash_of_descriptor(descriptor), descriptor,
            kind, size, storage, storage_blob, blobs, about,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PlannedEntry:
    """The claim that a planned digest is a resolved one, given what its inputs were."""

    planned: PlannedDigest
    resolved: ResolvedDigest
    hash: ArtifactHash
    inputs: tuple[tuple[PlannedDigest, ArtifactHash], ...]
    writer: str
    created: int

    def to_bytes(self) -> bytes:
        """Return the entry: checksum and body."""
        inputs = b"".join(planned + artifact for planned, artifact in self.inputs)
        body = b"".join((
            _PLANNED, _byte_string(self.resolved), _byte_string(self.hash), _byte_string(inputs),
            enc.encode_str(self.writer), enc.encode_int(self.created),
        ))  # fmt: skip
        return _checksum(self.planned, body) + body

    @classmethod
    def from_bytes(cls, digest: bytes, data: bytes) -> PlannedEntry:
        """Decode the planned entry that is kept under a digest, believing nothing.

        Raises
        ------
        IntegrityError
            If the bytes are damaged, or belong under another digest.
        """
        reader = _Reader(_checked_body(digest, data, _PLANNED), len(_PLANNED))
        resolved, artifact = reader.raw(DIGEST_SIZE), reader.raw(DIGEST_SIZE)
        joined = reader.raw()
        writer, created = reader.string(), reader.number()
        reader.end()
        if len(joined) % (2 * DIGEST_SIZE) or resolved == digest:
            _refuse(digest, "it is not a planned entry")
        inputs = tuple(
            (PlannedDigest(joined[at : at + 32]), ArtifactHash(joined[at + 32 : at + 64]))
            for at in range(0, len(joined), 64)
        )
        return cls(
            PlannedDigest(digest), ResolvedDigest(resolved), ArtifactHash(artifact),
            inputs, writer, created,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """What a store answers for a digest; `entry` if it was asked by planned digest."""

    record: Record
    entry: PlannedEntry | None


def parse_entry(digest: bytes, data: bytes) -> Record | PlannedEntry:
    """Decode whatever is kept under a digest.

    Raises
    ------
    IntegrityError
        If the bytes are damaged, or belong under another digest.
    """
    if data.startswith(_PLANNED, DIGEST_SIZE):
        return PlannedEntry.from_bytes(digest, data)
    return Record.from_bytes(digest, data)


def check_artifact(record: Record, storage: bytes, blobs: Mapping[BlobId, Buffer]) -> None:
    """Check that verified blobs and a storage form are the artifact that a record names.

    Raises
    ------
    IntegrityError
        If they are not.
    UnknownTypeError
        If telling takes a type that is not registered in this process.
    """
    # Where both forms of a value are the same bytes, which is nearly always, hashing is enough;
    # but the storage form must refer to exactly the blobs that the record lists.
    if (
        enc.hash_of_identity(storage) == record.hash
        and storage.count(_BLOB) == len(record.blobs)
        and all(enc.blob_reference(length, blob) in storage for blob, length in record.blobs)
    ):
        return

    def fetch(blob: BlobId, _length: int) -> Buffer:
        if blob not in blobs:
            _refuse(record.resolved, f"it does not list blob {blob.hex()[:12]}")
        return blobs[blob]

    verify(storage, record.hash, fetch=fetch)


_BLOB = enc.tagged(enc.TAG_BLOB, 2)
_PLAIN_KINDS: dict[type, str] = {SealedList: "list", SealedDict: "dict"}


def kind_of(value: object) -> str:
    """Return the name of a value's type as records show it."""
    cls = type(value)
    return _PLAIN_KINDS.get(cls, cls.__name__)


def planned_row(
    planned: PlannedDigest,
    record: Record,
    inputs: Sequence[tuple[PlannedDigest, ArtifactHash]],
    about: About,
) -> EntryRow:
    """Return the planned entry of a record as a row; `about` says who claims it, and when."""
    entry = PlannedEntry(
        planned, record.resolved, record.hash, tuple(inputs), about.writer, about.created
    )
    return EntryRow(planned, entry.to_bytes(), about.op, about.created, record.resolved)


def names_digest(text: str) -> bool:
    """Return whether text is a digest in hexadecimal, or a Dask key that ends in one."""
    return _HEX_DIGEST.search(text) is not None


def parse_digest(digest: bytes | str) -> bytes:
    """Return the 32 bytes of a digest given as such, in hexadecimal or as a Dask key.

    Raises
    ------
    SpecError
        If it is none of these.
    """
    if isinstance(digest, str):
        match = _HEX_DIGEST.search(digest)
        if match is not None:
            return bytes.fromhex(match[1])
    elif len(digest) == DIGEST_SIZE:
        return bytes(digest)
    msg = f"not a digest: {digest!r} (expected 64 hexadecimal digits, or 32 bytes)"
    raise SpecError(msg)


def _checksum(digest: bytes, body: bytes) -> bytes:
    # The key is hashed too: an entry copied under another digest does not check.
    return sha256(DOMAIN_ENTRY + digest + body).digest()


def _checked_body(digest: bytes, data: bytes, start: bytes) -> bytes:
    body = data[DIGEST_SIZE:]
    if data[:DIGEST_SIZE] != _checksum(digest, body):
        _refuse(digest, "its checksum does not hold")
    if not body.startswith(start):
        _refuse(digest, "it is of another format or kind")
    return body


def _sum_of_lengths(
    digest: bytes, blobs: tuple[tuple[BlobId, int], ...], storage_blob: tuple[BlobId, int] | None
) -> int:
    if storage_blob is not None and storage_blob[1] <= enc.INLINE_LIMIT:
        _refuse(digest, "a storage form this short is no blob")
    if any(length <= enc.INLINE_LIMIT for _, length in blobs):
        _refuse(digest, "a buffer this short is no blob")
    if any(first[0] >= second[0] for first, second in pairwise(blobs)):
        _refuse(digest, "its blobs are repeated or out of order")
    return sum(length for _, length in blobs)


def _refuse(digest: bytes, why: str) -> None:
    msg = f"entry {digest.hex()[:12]} is damaged: {why}"
    raise IntegrityError(msg)


def _byte_string(data: bytes) -> bytes:
    return enc.head(2, len(data)) + data


def _pair(pair: tuple[BlobId, int]) -> bytes:
    return b"\x82" + _byte_string(pair[0]) + enc.encode_int(pair[1])


class _Reader(_Decoder):
    """Reads bodies; byte strings may be longer here than in a value."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        super().__init__(data, _no_blobs, (), None, False)
        self.at = at

    def number(self) -> int:
        major, number = self.head()
        if major != 0 or number >= _MAX_INT:
            self.fail("expected a small number")
        return number

    def null(self) -> bool:
        if self.data[self.at : self.at + 1] != _NULL:
            return False
        self.at += 1
        return True

    def pair(self) -> tuple[BlobId, int]:
        self.array_of(2)
        return BlobId(self.raw(DIGEST_SIZE)), self.number()

    def pairs(self) -> tuple[tuple[BlobId, int], ...]:
        major, count = self.head()
        if major != 4 or count > len(self.data) - self.at:
            self.fail("expected a list of blobs")
        return tuple(self.pair() for _ in range(count))

    def end(self) -> None:
        if self.at != len(self.data):
            self.fail(f"{len(self.data) - self.at} trailing bytes")
