"""The small entries of a store: records, planned entries, and how they become bytes.

An entry is a checksum over its key and its body, then the body: a fixed head (big-endian) with the
lengths of its fields, then the fields. Behind them nothing may follow but one signature: the
public key (Ed25519, 32 bytes) and 64 bytes. Each body has one reading.

A signature is over a domain, one for records and another for planned entries, and the SHA-256 of
the entry's key and all its fields as they stand. Of a record these are the resolved digest, the
manifest (with the op identity and the hashes of all that it was given), the descriptor (with the
artifact's hash), the size, the storage form or its blob, the blobs with their lengths, and what
explains it; of a planned entry both digests, the artifact's hash, the inputs, the writer and the
time. So an entry under another digest, a claim that points elsewhere and another list of blobs are
no longer what was signed. Which keys to believe is for `store.trust` to say.

Nothing here knows where entries are kept. A change of this format is a change of every store's
layout version, so that an older reader never takes a newer entry for a damaged one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from invariant_dask.cards import Card, Console
from invariant_dask.core import cbor
from invariant_dask.core import encode as enc
from invariant_dask.core.decode import verify
from invariant_dask.core.digest import (
    DIGEST_SIZE,
    DOMAIN_ENTRY,
    DOMAIN_MANIFEST,
    DOMAIN_SIGNED_PLANNED,
    DOMAIN_SIGNED_RECORD,
    ArtifactHash,
    BlobId,
    PlannedDigest,
    ResolvedDigest,
    sha256,
)
from invariant_dask.core.forms import identity_of
from invariant_dask.core.sealed import SealedDict, SealedList
from invariant_dask.errors import IntegrityError
from invariant_dask.store.about import About
from invariant_dask.store.sizes import size_text

if TYPE_CHECKING:
    from typing_extensions import Buffer

_RECORD = b"R3"
_PLANNED = b"P3"
# Lengths of manifest, descriptor, kind and storage form, whether the storage form is a blob,
# number of blobs, length of `about`, size. The fields follow in this order.
_RECORD_HEAD = Struct(">2sIBHI?IIQ")
# Number of inputs, time of creation, length of the writer's name; then resolved digest, hash, the
# inputs as pairs of planned digest and hash, the name.
_PLANNED_HEAD = Struct(">2sIQI")
_BLOB_PART = Struct(">32sQ")
_BODY = DIGEST_SIZE
SIGNATURE_SIZE = 96
ENTRY_LIMIT = 16 * 2**20
"""The most bytes that an entry may have; a longer one is not even hashed."""


class EntryRow(NamedTuple):
    """An entry on its way into a store, with what a back end needs to keep order."""

    digest: bytes
    data: bytes
    op: str
    created: int
    target: bytes | None
    """The resolved digest that a planned entry points to; None for a record."""
    blobs: tuple[BlobId, ...] = ()


class Record(NamedTuple):
    """What is stored under a resolved digest: what was asked, what came out, and where it is."""

    resolved: ResolvedDigest
    manifest: bytes
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
    signature: bytes = b""
    """The signer's public key and the signature, or nothing."""

    @property
    def hash(self) -> ArtifactHash:
        """The stable hash of the artifact."""
        return enc.hash_of_descriptor(self.descriptor)

    @property
    def about(self) -> About:
        """Who made it, when, and how long it took; empty if that cannot be read."""
        try:
            return About.from_bytes(self.about_bytes)
        except IntegrityError:
            return About("")  # no reason to do without the artifact

    def _card(self) -> Card:
        title = f"Record of {self.about.op or 'an artifact'}: {self.kind}, {size_text(self.size)}"
        digests = [("resolved digest", self.resolved.hex()), ("artifact", self.hash.hex())]
        return Card(
            title, [*digests, *self.about.facts(), ("signed", "yes" * bool(self.signature))]
        )

    def _repr_html_(self) -> str:
        return self._card().html()

    def __rich_console__(self, console: Console, options: object) -> Iterator[object]:
        return self._card().lines(console)

    @property
    def is_inline(self) -> bool:
        """Whether the whole artifact is in here."""
        return self.storage is not None and not self.blobs

    @property
    def is_plain(self) -> bool:
        """Whether storage form and descriptor are the same bytes: checked one, checked both."""
        return self.storage == self.descriptor and not self.blobs and _whole(self.descriptor)

    @property
    def parts(self) -> tuple[tuple[BlobId, int], ...]:
        """All blobs with their lengths."""
        return self.blobs if self.storage_blob is None else (self.storage_blob, *self.blobs)

    def to_bytes(self) -> bytes:
        """Return the entry: checksum and body."""
        kind = self.kind.encode()
        storage = self.storage
        if storage is None:
            storage = b"" if self.storage_blob is None else _BLOB_PART.pack(*self.storage_blob)
        head = _RECORD_HEAD.pack(
            _RECORD, len(self.manifest), len(self.descriptor), len(kind), len(storage),
            self.storage is None, len(self.blobs), len(self.about_bytes), self.size,
        )  # fmt: skip
        blobs = b"".join([_BLOB_PART.pack(*blob) for blob in self.blobs]) if self.blobs else b""
        body = b"".join((
            head, self.manifest, self.descriptor, kind, storage, blobs, self.about_bytes,
            self.signature,
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
        _check(digest, data, _RECORD, _RECORD_HEAD)
        (
            _, manifest_size, descriptor_size, kind_size, storage_size,
            outside, count, about_size, size,
        ) = _RECORD_HEAD.unpack_from(data, _BODY)  # fmt: skip
        start = _BODY + _RECORD_HEAD.size
        at = start + manifest_size
        manifest = data[start:at]
        descriptor = data[at : (at := at + descriptor_size)]
        kind = data[at : (at := at + kind_size)]
        storage: bytes | None = data[at : (at := at + storage_size)]
        blobs = data[at : (at := at + count * _BLOB_PART.size)] if count else b""
        about = data[at : (at := at + about_size)]
        signature = _signature(digest, data, at)
        if sha256(DOMAIN_MANIFEST + manifest).digest() != digest:
            _refuse(digest, "its manifest has another digest")
        if not 0 < descriptor_size <= enc.DESCRIPTOR_LIMIT:
            _refuse(digest, "its descriptor is empty or too long")
        storage_blob = None
        if outside:
            storage, storage_blob = None, _storage_blob(digest, storage)
        elif storage_size > enc.INLINE_LIMIT or not storage_size:
            _refuse(digest, "its storage form is missing or too long")
        listed: tuple[tuple[BlobId, int], ...] = ()
        own = storage_size
        if count or outside:
            listed = tuple(_BLOB_PART.iter_unpack(blobs))
            _check_blobs(digest, listed)
            own = (storage_blob[1] if storage_blob else storage_size) + sum(n for _, n in listed)
        if own != size:
            _refuse(digest, "its size is not that of its parts")
        return cls(
            ResolvedDigest(digest), manifest, descriptor, _text(digest, kind), size,
            storage, storage_blob, listed, about, signature,
        )  # fmt: skip


class PlannedEntry(NamedTuple):
    """The claim that a planned digest is a resolved one, given what its inputs were."""

    planned: PlannedDigest
    resolved: ResolvedDigest
    hash: ArtifactHash
    joined: bytes
    """The inputs, as `join_inputs` has them."""
    writer: str
    created: int
    signature: bytes = b""
    """The public key of whoever derived it and the signature, or nothing."""

    @property
    def inputs(self) -> tuple[tuple[PlannedDigest, ArtifactHash], ...]:
        """Planned digest and stable hash of each input."""
        joined = self.joined
        return tuple(
            (PlannedDigest(joined[at : at + 32]), ArtifactHash(joined[at + 32 : at + 64]))
            for at in range(0, len(joined), 64)
        )

    def to_bytes(self) -> bytes:
        """Return the entry: checksum and body."""
        return _planned_bytes(*self)

    @classmethod
    def from_bytes(cls, digest: bytes, data: bytes) -> PlannedEntry:
        """Decode the planned entry that is kept under a digest, believing nothing.

        Raises
        ------
        IntegrityError
            If the bytes are damaged, or belong under another digest.
        """
        _check(digest, data, _PLANNED, _PLANNED_HEAD)
        _, count, created, name_size = _PLANNED_HEAD.unpack_from(data, _BODY)
        at = _BODY + _PLANNED_HEAD.size
        resolved, artifact = data[at : at + 32], data[at + 32 : at + 64]
        joined = data[at + 64 : (at := at + 64 + 64 * count)]
        name = data[at : (at := at + name_size)]
        signature = _signature(digest, data, at)
        if resolved == digest:
            _refuse(digest, "it points to itself")
        return cls(
            PlannedDigest(digest), ResolvedDigest(resolved), ArtifactHash(artifact),
            joined, _text(digest, name), created, signature,
        )  # fmt: skip


def _planned_bytes(
    planned: bytes, resolved: bytes, artifact: bytes, joined: bytes, writer: str, created: int,
    signature: bytes = b"",
) -> bytes:  # fmt: skip
    name = writer.encode(errors="backslashreplace")
    head = _PLANNED_HEAD.pack(_PLANNED, len(joined) // 64, created, len(name))
    body = b"".join((head, resolved, artifact, joined, name, signature))
    return _checksum(planned, body) + body


def join_inputs(inputs: Iterable[tuple[PlannedDigest, ArtifactHash]]) -> bytes:
    """Return planned digests and stable hashes of inputs as one run of bytes."""
    return b"".join([part for pair in inputs for part in pair])


class Found(NamedTuple):
    """What a store answers for a digest; `entry` if it was asked by planned digest."""

    record: Record
    entry: PlannedEntry | None
    vouched: bool = False
    """Whether keys that are trusted here vouch for both; see `store.trust`."""
    tier: str = ""
    """The tier of a chain that had it; empty for a store alone."""


def parse_entry(digest: bytes, data: bytes) -> Record | PlannedEntry:
    """Decode whatever is kept under a digest.

    Raises
    ------
    IntegrityError
        If the bytes are damaged, or belong under another digest.
    """
    if data.startswith(_PLANNED, _BODY):
        return PlannedEntry.from_bytes(digest, data)
    return Record.from_bytes(digest, data)


Sign = Callable[[bytes], bytes]
"""Returns the signature block of a statement: public key and signature."""


def statement(digest: bytes, data: bytes, *, signed: bool) -> bytes:
    """Return what the signature of an entry is over; `signed` says whether it has one already."""
    domain = DOMAIN_SIGNED_PLANNED if data.startswith(_PLANNED, _BODY) else DOMAIN_SIGNED_RECORD
    end = len(data) - SIGNATURE_SIZE if signed else len(data)
    return domain + sha256(digest + data[_BODY:end]).digest()


def sign_entry(digest: bytes, data: bytes, sign: Sign) -> tuple[bytes, bytes]:
    """Return an entry that has no signature yet with one, and the signature."""
    signature = sign(statement(digest, data, signed=False))
    body = data[_BODY:] + signature
    return _checksum(digest, body) + body, signature


def has_signature(head: bytes, size: int) -> bool:
    """Return whether an entry of a size carries a signature, by the bytes behind its checksum.

    Nothing is verified; what is damaged may say anything.
    """
    if head.startswith(_RECORD) and len(head) >= _RECORD_HEAD.size:
        _, manifest, descriptor, kind, storage, _, blobs, about, _ = _RECORD_HEAD.unpack_from(head)
        fields: int = manifest + descriptor + kind + storage + blobs * _BLOB_PART.size + about
        return size == _BODY + _RECORD_HEAD.size + fields + SIGNATURE_SIZE
    if head.startswith(_PLANNED) and len(head) >= _PLANNED_HEAD.size:
        _, inputs, _, name = _PLANNED_HEAD.unpack_from(head)
        fields = 64 + 64 * inputs + name
        return size == _BODY + _PLANNED_HEAD.size + fields + SIGNATURE_SIZE
    return False


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
    if storage.count(_BLOB) == len(record.blobs) and all(
        enc.blob_reference(length, blob) in storage for blob, length in record.blobs
    ):
        if enc.hash_of_identity(storage) == record.hash:
            return
        identity = identity_of(storage)
        if identity is not None and enc.hash_of_identity(identity) == record.hash:
            return

    def fetch(blob: BlobId, _length: int) -> Buffer:
        if blob not in blobs:
            _refuse(record.resolved, f"it does not list blob {blob.hex()[:12]}")
        return blobs[blob]

    verify(storage, record.hash, fetch=fetch)


def _whole(descriptor: bytes) -> bool:
    return not descriptor.startswith(cbor.HASHED_HEAD) and _BLOB not in descriptor


_BLOB = cbor.tagged(cbor.TAG_BLOB, 2)
_PLAIN_KINDS: dict[type, str] = {SealedList: "list", SealedDict: "dict"}


def kind_of(value: object) -> str:
    """Return the name of a value's type as records show it."""
    cls = type(value)
    return _PLAIN_KINDS.get(cls, cls.__name__)


def planned_row(
    planned: PlannedDigest,
    record: Record,
    artifact: ArtifactHash,
    inputs: Sequence[tuple[PlannedDigest, ArtifactHash]],
    about: About,
    sign: Sign | None = None,
) -> EntryRow:
    """Return the planned entry of a record as a row; `about` says who claims it, and when."""
    data = _planned_bytes(
        planned, record.resolved, artifact, join_inputs(inputs), about.writer, about.created
    )
    if sign is not None:
        data, _ = sign_entry(planned, data, sign)
    return EntryRow(planned, data, about.op, about.created, record.resolved)


def _checksum(digest: bytes, body: bytes) -> bytes:
    # The key is hashed too: an entry copied under another digest does not check.
    return sha256(DOMAIN_ENTRY + digest + body).digest()


def _check(digest: bytes, data: bytes, mark: bytes, head: Struct) -> None:
    if len(data) > ENTRY_LIMIT:
        _refuse(digest, f"its {len(data)} bytes are more than an entry may have")
    # The digest and the body behind it: one slice less than taking the body first.
    if sha256(DOMAIN_ENTRY + digest + data[_BODY:]).digest() != data[:_BODY]:
        _refuse(digest, "its checksum does not hold")
    if not data.startswith(mark, _BODY) or len(data) < _BODY + head.size:
        _refuse(digest, "it is of another format or kind")


def _signature(digest: bytes, data: bytes, at: int) -> bytes:
    if at == len(data):
        return b""
    if at + SIGNATURE_SIZE != len(data):
        _refuse(digest, "its fields do not fill it")
    return data[at:]


def _storage_blob(digest: bytes, field: bytes | None) -> tuple[BlobId, int]:
    if field is None or len(field) != _BLOB_PART.size:
        _refuse(digest, "it must have a storage form or the blob of one")
    blob, length = _BLOB_PART.unpack(field)
    if length <= enc.INLINE_LIMIT:
        _refuse(digest, "a storage form this short is no blob")
    return BlobId(blob), length


def _check_blobs(digest: bytes, blobs: tuple[tuple[BlobId, int], ...]) -> None:
    if any(length <= enc.INLINE_LIMIT for _, length in blobs):
        _refuse(digest, "a buffer this short is no blob")
    if any(first[0] >= second[0] for first, second in pairwise(blobs)):
        _refuse(digest, "its blobs are repeated or out of order")


def _text(digest: bytes, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        _refuse(digest, "a name in it is not text")


def _refuse(digest: bytes, why: str) -> NoReturn:
    raise IntegrityError(f"entry {digest.hex()[:12]} is damaged: {why}")
