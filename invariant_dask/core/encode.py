"""Encode values canonically: one value, one run of bytes, one hash.

Two forms come out of one walk. The *identity* form is what is hashed: deterministic CBOR in which
a child longer than `DESCRIPTOR_LIMIT` is replaced by its hash, so a list of large artifacts is
hashed from the hashes of its items. The *storage* form holds everything needed to decode; buffers
above `INLINE_LIMIT` leave it as blobs. The two are the same bytes for most values. FORMAT.md is
the specification.
"""

from __future__ import annotations

import datetime as dt
import io
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from invariant_dask.core import types
from invariant_dask.core.digest import DOMAIN_VALUE, ArtifactHash, BlobId, blob_id, sha256
from invariant_dask.core.files import File, FileContent
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

TAG_POSITIVE_BIGNUM, TAG_NEGATIVE_BIGNUM, TAG_FRACTION = 2, 3, 30
TAG_TUPLE = 48800
TAG_DECIMAL = 48801
TAG_DATE = 48802
TAG_TIME = 48803
TAG_DATETIME = 48804
TAG_TIMEDELTA = 48805
TAG_ARRAY = 48806
TAG_BLOB = 48807
TAG_HASHED = 48808
TAG_FIELDS = 48809
TAG_STREAM = 48810
TAG_FILE = 48811
TAG_REF = 48812
TAG_SLOT = 48813
TAG_PRIVATE = 48814
TAG_DERIVED = 48815

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

    __slots__ = ("_descriptor", "_hash", "blobs", "identity", "storage")

    def __init__(self, identity: bytes, storage: bytes, blobs: Blobs) -> None:
        self.identity = identity
        self.storage = storage
        self.blobs = blobs
        self._descriptor = self._hash = b""

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


def hidden(encoded: Encoded) -> Encoded:
    """Return the same value with an identity form that tells no more than a hash."""
    identity = encoded.identity
    if not identity.startswith(HASHED_HEAD):
        identity = HASHED_HEAD + sha256(DOMAIN_VALUE + identity).digest()
    return Encoded(identity, encoded.storage, encoded.blobs)


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


# --- CBOR heads (RFC 8949, section 3; always the shortest: section 4.2.1) -------------------------


def head(major: int, number: int) -> bytes:
    """Return the CBOR head of a major type and an argument below 2**64."""
    if number < 24:
        return bytes((major << 5 | number,))
    if number < 0x100:
        return bytes((major << 5 | 24, number))
    if number < 0x10000:
        return bytes((major << 5 | 25,)) + number.to_bytes(2, "big")
    if number < 0x100000000:
        return bytes((major << 5 | 26,)) + number.to_bytes(4, "big")
    return bytes((major << 5 | 27,)) + number.to_bytes(8, "big")


def tagged(tag: int, items: int) -> bytes:
    """Return the head of an array of `items` behind a tag."""
    return head(6, tag) + head(4, items)


HASHED_HEAD = head(6, TAG_HASHED) + head(2, 32)
REF_HEAD = head(6, TAG_REF) + head(2, 32)

_TUPLE = head(6, TAG_TUPLE)
_DECIMAL = tagged(TAG_DECIMAL, 3)
_FRACTION = tagged(TAG_FRACTION, 2)
_DATE = tagged(TAG_DATE, 3)
_TIME = tagged(TAG_TIME, 5)
_DATETIME = tagged(TAG_DATETIME, 8)
_TIMEDELTA = tagged(TAG_TIMEDELTA, 3)
_ARRAY = tagged(TAG_ARRAY, 3)
_BLOB = tagged(TAG_BLOB, 2)
_FIELDS = tagged(TAG_FIELDS, 3)
_STREAM_IDENTITY = tagged(TAG_STREAM, 3)
_STREAM_STORAGE = tagged(TAG_STREAM, 4)
_FILE_IDENTITY = tagged(TAG_FILE, 3)
_FILE_STORAGE = tagged(TAG_FILE, 4)
_NULL = b"\xf6"


# --- scalars -------------------------------------------------------------------------------------


def encode_none(_value: None) -> bytes:
    return _NULL


def encode_bool(value: bool) -> bytes:
    return b"\xf5" if value else b"\xf4"


_SMALL_INTS = {n: head(0, n) if n >= 0 else head(1, -1 - n) for n in range(-256, 1025)}


def encode_int(value: int) -> bytes:
    small = _SMALL_INTS.get(value)
    if small is not None:
        return small
    major, number = (0, value) if value >= 0 else (1, -1 - value)
    if number < 1 << 64:
        return head(major, number)
    tag = head(6, TAG_NEGATIVE_BIGNUM if major else TAG_POSITIVE_BIGNUM)
    return tag + _byte_string(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def encode_str(value: str) -> bytes:
    try:
        data = value.encode()
    except UnicodeEncodeError:
        raise NotCacheableError(
            reason="text with a lone surrogate has no UTF-8 form; decode it properly first"
        ) from None
    size = len(data)
    return (bytes((0x60 | size,)) if size < 24 else head(3, size)) + data


def is_text(value: object) -> bool:
    """Return whether a value is a str that can be encoded: one without lone surrogates."""
    if type(value) is not str:
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def encode_decimal(value: Decimal) -> bytes:
    sign, digits, exponent = value.as_tuple()
    if isinstance(exponent, str):
        raise NotCacheableError(reason=f"Decimal {value} is not a finite number; pass None or text")
    # int(Decimal) is exact whatever the ambient context, and not bound by the limit on int(str).
    coefficient = int(Decimal((0, digits, 0)))
    return _DECIMAL + encode_int(sign) + encode_int(coefficient) + encode_int(exponent)


def encode_fraction(value: Fraction) -> bytes:
    return _FRACTION + encode_int(value.numerator) + encode_int(value.denominator)


def encode_date(value: dt.date) -> bytes:
    return _DATE + _ints(value.year, value.month, value.day)


def encode_time(value: dt.time) -> bytes:
    offset = _NULL
    if value.tzinfo is not None:
        offset = encode_int(_offset(value.utcoffset(), "time"))
    return _TIME + _ints(value.hour, value.minute, value.second, value.microsecond) + offset


def encode_datetime(value: dt.datetime) -> bytes:
    if value.tzinfo is None:
        raise NotCacheableError(
            reason="a datetime without a time zone means different moments in different places; "
            "pass one with tzinfo, such as datetime(..., tzinfo=UTC)"
        )
    return (
        _DATETIME
        + _ints(value.year, value.month, value.day)
        + _ints(value.hour, value.minute, value.second, value.microsecond)
        + encode_int(_offset(value.utcoffset(), "datetime"))
    )


def encode_timedelta(value: dt.timedelta) -> bytes:
    return _TIMEDELTA + _ints(value.days, value.seconds, value.microseconds)


def _offset(offset: dt.timedelta | None, kind: str) -> int:
    if offset is None:
        raise NotCacheableError(
            reason=f"this {kind}'s time zone has no fixed offset; use datetime.timezone"
        )
    return offset // dt.timedelta(microseconds=1)


def _ints(*numbers: int) -> bytes:
    return b"".join(map(encode_int, numbers))


def _byte_string(data: bytes) -> bytes:
    return head(2, len(data)) + data


# The exact types that encode alike in both forms, without blobs. Looked up by the compiler's
# inner loop too.
SCALARS: dict[type, Callable[[Any], bytes]] = {
    type(None): encode_none,
    bool: encode_bool,
    int: encode_int,
    str: encode_str,
    Decimal: encode_decimal,
    Fraction: encode_fraction,
    dt.date: encode_date,
    dt.time: encode_time,
    dt.datetime: encode_datetime,
    dt.timedelta: encode_timedelta,
}


# --- everything else -----------------------------------------------------------------------------

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
    raise NotCacheableError(reason=_why_not(value))


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
        return _byte_string(data)
    blob = blob_id(data)
    blobs[blob] = data
    return blob_reference(len(data), blob)


def blob_reference(length: int, blob: BlobId) -> bytes:
    """Return the encoding that stands for a buffer kept elsewhere."""
    return _BLOB + encode_int(length) + _byte_string(blob)


def _file(value: FileContent) -> Pair:
    start = encode_int(value.length) + _byte_string(value.blob)
    start += _NULL if value.suffix is None else encode_str(value.suffix)
    return _FILE_IDENTITY + start, _FILE_STORAGE + start + encode_str(value.location)


def _array(value: np.ndarray[Any, Any], blobs: Blobs) -> bytes:
    start, plain = plain_array(value)
    # tobytes gives C order whatever the layout; the copy is ours alone, nobody can change it.
    return start + _buffer(plain.tobytes(), blobs)


def plain_array(value: np.ndarray[Any, Any]) -> tuple[bytes, np.ndarray[Any, Any]]:
    """Return how the encoding of an array begins, and the array in little-endian order.

    What follows is its data, in C order, as a byte string or a reference to a blob.
    """
    dtype = value.dtype
    if dtype.hasobject:
        raise NotCacheableError(reason="an array of Python objects; give it a numeric dtype")
    if dtype.metadata:
        raise NotCacheableError(reason="its dtype carries metadata; pass x.astype(plain dtype)")
    if dtype.kind not in "biufcmMSU" or dtype.char in "gG":
        raise NotCacheableError(
            reason=f"arrays of dtype {dtype} have no portable form; "
            "pass a dict of plain arrays, or a dtype of fixed size"
        )
    if not dtype.itemsize:
        raise NotCacheableError(reason=f"items of dtype {dtype} have no bytes; pass one that has")
    if dtype.kind in "mM" and "[" not in dtype.str:
        raise NotCacheableError(
            reason=f"moments of dtype {dtype} have no unit; give them one, as in x.astype('M8[us]')"
        )
    little = dtype.newbyteorder("<")
    shape = head(4, value.ndim) + _ints(*value.shape)
    return _ARRAY + encode_str(little.str) + shape, value.astype(little, copy=False)


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
    claimed = name + _byte_string(stream_hash(value, binding.name))
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


def _why_not(value: object) -> str:
    cls = type(value)
    name = cls.__name__
    if isinstance(value, float):
        if value != value or value in {float("inf"), float("-inf")}:  # noqa: PLR0124
            return f"float {value!r} is not a number; pass None or text"
        return f"float {value!r} is not exact; pass Decimal({str(value)!r}) or a Fraction"
    cures = {
        "set": "pass a sorted list", "frozenset": "pass a sorted list",
        "complex": "pass its parts as Decimal", "range": "pass a list", "bytearray": "pass bytes",
        "memoryview": "pass bytes", "function": "pass the name of an op", "type": "pass a name",
        "File": "a file's content is read when a graph is compiled; an op returns bytes instead",
        "PosixPath": "pass File(path) for its content, or str(path) for its name",
        "WindowsPath": "pass File(path) for its content, or str(path) for its name",
        "DataFrame": "pass a dict of arrays: {name: df[name].to_numpy() for name in df}",
        "Series": "pass an array: series.to_numpy()", "generator": "pass a list",
        "slice": "pass [start, stop, step]", "Delayed": "make it a node, or compute it first",
        "DelayedLeaf": "make it a node, or compute it first",
        "Array": "compute it first, or make it a node",
        "FileHandle": "return its bytes, or a value made from them",
    }  # fmt: skip
    if cls is File:
        return f"File is not cacheable; {cures['File']}"
    if cls.__module__ == "numpy" and hasattr(value, "item") and hasattr(value, "dtype"):
        if isinstance(value, sys.modules["numpy"].ndarray):
            return f"numpy.{name} is a subclass of ndarray; pass numpy.asarray(x)"
        plain = "a Decimal" if value.dtype.kind in "fc" else f"{value.item()!r} (x.item())"
        return f"numpy scalar {name} is not cacheable; pass {plain} or an array"
    if isinstance(value, sys.modules["numpy"].ndarray) if "numpy" in sys.modules else False:
        return f"{name} is a subclass of numpy.ndarray; pass numpy.asarray(x) of plain arrays"
    for base in (dt.datetime, list, tuple, dict, bytes, *SCALARS):  # a datetime is a date too
        if isinstance(value, base):
            return f"{name} is a subclass of {base.__name__}; pass a plain {base.__name__}"
    cure = cures.get(name, "register its class with @cacheable, or pass plain values")
    return f"{name} is not cacheable; {cure}"
