"""Encode values canonically: one value, one run of bytes, one hash.

Two forms come out of one walk. The *identity* form is what is hashed: deterministic CBOR in which
a child longer than `DESCRIPTOR_LIMIT` is replaced by its hash, so a list of large artifacts is
hashed from the hashes of its items. The *storage* form holds everything needed to decode; buffers
above `INLINE_LIMIT` leave it as blobs. The two are the same bytes for most values. FORMAT.md is
the specification.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from invariant_dask.core import types
from invariant_dask.core.arrays import plain_array
from invariant_dask.core.cbor import (
    HASHED_HEAD,
    NULL,
    TAG_BLOB,
    TAG_FIELDS,
    TAG_FILE,
    TAG_STREAM,
    TAG_TUPLE,
    byte_string,
    head,
    tagged,
)
from invariant_dask.core.digest import DOMAIN_VALUE, ArtifactHash, BlobId, blob_id, sha256
from invariant_dask.core.files import FileContent
from invariant_dask.core.refusals import why_not
from invariant_dask.core.scalars import SCALARS, encode_int, encode_str
from invariant_dask.core.sealed import SealedDict, SealedList
from invariant_dask.errors import NotCacheableError

if TYPE_CHECKING:
    import numpy as np

DESCRIPTOR_LIMIT = 128
"""Longest identity form, in bytes, that enters a parent or a manifest as it is."""

INLINE_LIMIT = 32768
"""Longest buffer, in bytes, that stays inside the storage form."""

MAX_DEPTH = 100
"""Deepest nesting of containers."""

Blobs = dict[BlobId, bytes]
Pair = tuple[bytes, bytes]
Handler = Callable[[Any], Pair]
"""What an extra type becomes: its identity form and its storage form."""
Keep = Callable[[memoryview], tuple[BlobId, memoryview] | None]
"""Returns the id of bytes and a copy that cannot change, or None if it does not want them."""


@dataclass(frozen=True, slots=True)
class Described:
    """Stands for a value of which only the descriptor is at hand."""

    descriptor: bytes


class Encoded:
    """A value in canonical form; `blobs` holds the buffers that left `storage`."""

    __slots__ = ("_descriptor", "_hash", "behind", "blobs", "identity", "storage")

    def __init__(self, identity: bytes, storage: bytes, blobs: Blobs) -> None:
        self.identity = identity
        self.storage = storage
        self.blobs = blobs
        self._descriptor = self._hash = b""
        self.behind: frozenset[str] = frozenset()
        """Of a hidden value, the texts of the secrets that it was made from."""

    @property
    def hash(self) -> ArtifactHash:
        """The stable hash of the value."""
        if not self._hash:
            self._hash = hash_of_descriptor(self.descriptor)
        return ArtifactHash(self._hash)

    @property
    def descriptor(self) -> bytes:
        """What stands for the value in manifests and containers; at most `DESCRIPTOR_LIMIT`."""
        if not self._descriptor:
            self._descriptor = descriptor_of(self.identity)
        return self._descriptor

    @property
    def size(self) -> int:
        """Bytes of the storage form and its blobs together."""
        size = len(self.storage)
        return size + sum(map(len, self.blobs.values())) if self.blobs else size

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Encoded):
            return NotImplemented
        return (self.identity, self.storage, self.blobs) == (
            other.identity, other.storage, other.blobs,
        )  # fmt: skip

    __hash__ = None  # type: ignore[assignment]


def encode(value: object, handlers: Mapping[type, Handler] | None = None) -> Encoded:
    """Encode a value in both forms.

    Parameters
    ----------
    value
        Anything the format allows (FORMAT.md, "Values").
    handlers
        What to do with further exact types, such as markers.

    Raises
    ------
    NotCacheableError
        If any part of the value has no canonical form; the error has the path to it.
    """
    blobs: Blobs = {}
    result = _encode(value, blobs, handlers, 0)
    identity, storage = (result, result) if isinstance(result, bytes) else result
    return Encoded(identity, storage, blobs)


def encode_keeping(value: object, keep: Keep) -> Encoded:
    """Encode a value whose larger arrays may be kept by somebody while they are hashed.

    Parameters
    ----------
    value
        Anything the format allows.
    keep
        Takes the data of an array longer than `INLINE_LIMIT`; what it returns must never change.

    Raises
    ------
    NotCacheableError
        As `encode` does.
    """
    numpy = sys.modules.get("numpy")
    if numpy is None or type(value) in SCALARS:
        return encode(value)
    blobs: Blobs = {}

    def array(value: np.ndarray[Any, Any]) -> Pair:
        start, plain = plain_array(value)
        kept = None
        if plain.nbytes > INLINE_LIMIT:
            view = memoryview(numpy.ascontiguousarray(plain).reshape(-1).view(numpy.uint8))
            kept = keep(view)
        if kept is None:
            data = start + _buffer(plain.tobytes(), blobs)
        else:
            blobs[kept[0]] = kept[1]  # type: ignore[assignment]
            data = start + blob_reference(len(kept[1]), kept[0])
        return data, data

    encoded = encode(value, {numpy.ndarray: array})
    encoded.blobs.update(blobs)
    return encoded


def describe(value: object) -> bytes:
    """Return the descriptor of a value: its identity form if short, else its tagged hash."""
    scalar = SCALARS.get(type(value))
    if scalar is not None:
        return descriptor_of(scalar(value))
    return encode(value).descriptor


def stable_hash(value: object) -> ArtifactHash:
    """Return the stable hash of a value.

    Examples
    --------
    >>> stable_hash(1).hex()[:12], stable_hash("1").hex()[:12]
    ('7aad8b8f1c1e', '22a647152b70')
    """
    return encode(value).hash


def descriptor_of(identity: bytes) -> bytes:
    """Return what stands for an identity form in its parent."""
    if len(identity) <= DESCRIPTOR_LIMIT:
        return identity
    return HASHED_HEAD + sha256(DOMAIN_VALUE + identity).digest()


def hidden(encoded: Encoded, behind: Iterable[str] = ()) -> Encoded:
    """Return the same value with an identity form that tells no more than a hash.

    Parameters
    ----------
    encoded
        The value.
    behind
        Texts of the secrets that it was made from, if it was.
    """
    identity = encoded.identity
    if not identity.startswith(HASHED_HEAD):
        identity = HASHED_HEAD + sha256(DOMAIN_VALUE + identity).digest()
    made = Encoded(identity, encoded.storage, encoded.blobs)
    made.behind = frozenset(behind)
    return made


def is_hidden(encoded: Encoded) -> bool:
    """Whether a value was `hidden`: no other identity form is a hash."""
    return encoded.identity.startswith(HASHED_HEAD)


def hash_of_identity(identity: bytes) -> ArtifactHash:
    """Return the stable hash of the value with this identity form."""
    return ArtifactHash(sha256(DOMAIN_VALUE + identity).digest())


def hash_of_descriptor(descriptor: bytes) -> ArtifactHash:
    """Return the stable hash of the value with this descriptor."""
    if descriptor.startswith(HASHED_HEAD):
        return ArtifactHash(descriptor[len(HASHED_HEAD) :])
    return hash_of_identity(descriptor)


# --- the walk -------------------------------------------------------------------------------------

_TUPLE = head(6, TAG_TUPLE)
_BLOB = tagged(TAG_BLOB, 2)
_FIELDS = tagged(TAG_FIELDS, 3)
_STREAM_IDENTITY = tagged(TAG_STREAM, 3)
_STREAM_STORAGE = tagged(TAG_STREAM, 4)
_FILE_IDENTITY = tagged(TAG_FILE, 3)
_FILE_STORAGE = tagged(TAG_FILE, 4)

_Handlers = Mapping[type, Handler] | None

ARRAY_TYPES: set[type] = set()
"""Subclasses of `numpy.ndarray` that say no more than the plain array, and are encoded as that."""


def _encode(value: Any, blobs: Blobs, handlers: _Handlers, depth: int) -> bytes | Pair:
    cls = type(value)
    scalar = SCALARS.get(cls)
    if scalar is not None:
        return scalar(value)
    container = _CONTAINERS.get(cls)
    if container is not None:
        _enter(depth)
        return container(value, blobs, handlers, depth)
    if cls is bytes:
        return _buffer(value, blobs)
    if handlers is not None and cls in handlers:
        return handlers[cls](value)
    if cls is Described:
        return value.descriptor, b""
    if cls is FileContent:
        return _file(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and (cls is numpy.ndarray or cls in ARRAY_TYPES):
        return _array(value, blobs)
    binding = types.binding_of(cls) or types.claimed(cls)
    if binding is not None:
        return _registered(value, binding, blobs, handlers, depth)
    raise NotCacheableError(reason=why_not(value))


def _enter(depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise NotCacheableError(
            reason=f"nested deeper than {MAX_DEPTH} levels; pass a flatter value "
            "(does a container hold itself?)"
        )


def _list(value: list[Any], blobs: Blobs, handlers: _Handlers, depth: int) -> bytes | Pair:
    return _items(head(4, len(value)), value, blobs, handlers, depth)


def _tuple(value: tuple[Any, ...], blobs: Blobs, handlers: _Handlers, depth: int) -> bytes | Pair:
    return _items(_TUPLE + head(4, len(value)), value, blobs, handlers, depth)


def _items(
    start: bytes, values: list[Any] | tuple[Any, ...], blobs: Blobs, handlers: _Handlers, depth: int
) -> bytes | Pair:
    identity, storage = [start], [start]
    for index, item in enumerate(values):
        try:
            result = _encode(item, blobs, handlers, depth + 1)
        except NotCacheableError as error:
            raise error.within(f"[{index}]") from None
        _append_child(result, identity, storage)
    return _join(identity, storage)


def _dict(value: dict[str, Any], blobs: Blobs, handlers: _Handlers, depth: int) -> bytes | Pair:
    keys: list[tuple[bytes, str]] = []
    for key in value:
        if type(key) is not str:
            raise NotCacheableError(
                reason=f"dict key {key!r} is {type(key).__name__}; keys must be str, "
                "or pass a list of pairs"
            )
        keys.append((encode_str(key), key))
    # Bytewise order of the encoded keys: RFC 8949, section 4.2.1.
    keys.sort()
    identity, storage = [start := head(5, len(keys))], [start]
    for encoded, key in keys:
        identity.append(encoded)
        storage.append(encoded)
        try:
            result = _encode(value[key], blobs, handlers, depth + 1)
        except NotCacheableError as error:
            raise error.within(f".{key}" if key.isidentifier() else f"[{key!r}]") from None
        _append_child(result, identity, storage)
    return _join(identity, storage)


def _append_child(result: bytes | Pair, identity: list[bytes], storage: list[bytes]) -> None:
    own, stored = (result, result) if isinstance(result, bytes) else result
    identity.append(descriptor_of(own))
    storage.append(stored)


def _join(identity: list[bytes], storage: list[bytes]) -> bytes | Pair:
    own, stored = b"".join(identity), b"".join(storage)
    return own if own == stored else (own, stored)


def _buffer(data: bytes, blobs: Blobs) -> bytes:
    if len(data) <= INLINE_LIMIT:
        return byte_string(data)
    blob = blob_id(data)
    blobs[blob] = data
    return blob_reference(len(data), blob)


def blob_reference(length: int, blob: BlobId) -> bytes:
    """Return the encoding that stands for a buffer kept elsewhere."""
    return _BLOB + encode_int(length) + byte_string(blob)


def _file(value: FileContent) -> Pair:
    start = encode_int(value.length) + byte_string(value.blob)
    start += NULL if value.suffix is None else encode_str(value.suffix)
    return _FILE_IDENTITY + start, _FILE_STORAGE + start + encode_str(value.location)


def _array(value: np.ndarray[Any, Any], blobs: Blobs) -> bytes:
    start, plain = plain_array(value)
    # tobytes gives C order whatever the layout; the copy is ours alone, nobody can change it.
    return start + _buffer(plain.tobytes(), blobs)


def _registered(
    value: Any, binding: types.TypeBinding, blobs: Blobs, handlers: _Handlers, depth: int
) -> bytes | Pair:
    name = encode_str(binding.name) + encode_str(binding.identity)
    if binding.to_value is not None:
        _enter(depth)
        identity, storage = [_FIELDS, name], [_FIELDS, name]
        try:
            result = _encode(binding.to_value(value), blobs, handlers, depth + 1)
        except NotCacheableError as error:
            raise error.within(f"<{binding.name}>") from None
        _append_child(result, identity, storage)
        return _join(identity, storage)
    claimed = name + byte_string(stream_hash(value, binding.name))
    stream = io.BytesIO()
    value.to_stream(stream)
    return _STREAM_IDENTITY + claimed, _STREAM_STORAGE + claimed + _buffer(stream.getvalue(), blobs)


def stream_hash(value: Any, name: str) -> bytes:
    """Return the 32 bytes of the hash that a stream type says it has."""
    digest = value.get_stable_hash()
    # Not only fromhex: it skips spaces.
    if not (type(digest) is str and _HEX_DIGEST.fullmatch(digest)):
        raise NotCacheableError(
            reason=f"{name}.get_stable_hash() returned {digest!r}; it must return 64 hex digits"
        )
    return bytes.fromhex(digest)


_HEX_DIGEST = re.compile("[0-9a-fA-F]{64}")
_CONTAINERS: dict[type, Callable[[Any, Blobs, _Handlers, int], bytes | Pair]] = {
    list: _list,
    SealedList: _list,
    tuple: _tuple,
    dict: _dict,
    SealedDict: _dict,
}
