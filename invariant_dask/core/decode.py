"""Decode the storage form, strictly: what is not canonical is refused.

The input may come from a stranger. Nothing is imported because bytes name it, lengths are checked
against what is there before anything is allocated, and depth is bounded.
"""

from __future__ import annotations

import datetime as dt
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

from invariant_dask.core import cbor, scalars, types
from invariant_dask.core import encode as enc
from invariant_dask.core.digest import BlobId
from invariant_dask.core.files import FileContent
from invariant_dask.core.reader import Reader
from invariant_dask.core.sealed import SealedDict, SealedList
from invariant_dask.errors import EncodingError, IntegrityError, NotCacheableError, UnknownTypeError

if TYPE_CHECKING:
    from typing_extensions import Buffer

Fetch: TypeAlias = "Callable[[BlobId, int], Buffer]"
"""Returns the *verified* bytes of a blob of a given length."""

Slots: TypeAlias = Sequence[Callable[[], Any]]
"""Make the values of slots, each time a new one."""


@dataclass(frozen=True, slots=True)
class Hashed:
    """A value of which only the hash is in the bytes at hand."""

    hash: bytes

    def __repr__(self) -> str:
        return f"#{self.hash.hex()[:12]}"


@dataclass(frozen=True, slots=True)
class PlannedRef:
    """An upstream node, named by its planned digest, in a planned manifest."""

    digest: bytes

    def __repr__(self) -> str:
        return f"ref {self.digest.hex()[:12]}"


def _no_blobs(blob: BlobId, _length: int) -> Buffer:
    msg = f"blob {blob.hex()[:12]} is not at hand"
    raise IntegrityError(msg)


def decode(
    data: bytes,
    *,
    fetch: Fetch = _no_blobs,
    slots: Slots = (),
    open_file: Callable[[FileContent], Any] | None = None,
    sealed: bool = False,
) -> Any:
    """Decode one value.

    Parameters
    ----------
    data
        The storage form of a value, and nothing behind it.
    fetch
        Where blobs come from.
    slots
        What makes the values that stand where a template has slots; called for each occurrence,
        so that two places never hold one object.
    open_file
        What an op gets for an input file; by default its `FileContent`.
    sealed
        Return containers that refuse to change.

    Raises
    ------
    EncodingError
        If `data` is not canonical.
    UnknownTypeError
        If it names a type that is not registered here.
    IntegrityError
        If a value does not have the hash that it claims.
    """
    if 0 < len(data) <= 9:
        # Numbers, most of all small ones, are most of what small nodes pass on.
        if data in _COMMON:
            return _COMMON[data]
        size, least = _INTEGERS.get(data[0] & 0xDF, (0, 0))
        if len(data) == size and (number := int.from_bytes(data[1:], "big")) >= least:
            return number if data[0] < 0x20 else -1 - number
    decoder = _Decoder(data, fetch, slots, open_file, sealed)
    value = decoder.item(0)
    if decoder.at != len(data):
        decoder.fail(f"{len(data) - decoder.at} trailing bytes")
    return value


def verify(data: bytes, expected: bytes, *, fetch: Fetch) -> Any:
    """Decode a value, sealed, and check that its stable hash is the expected one.

    Raises
    ------
    IntegrityError
        If it is not, besides all that `decode` raises.
    """
    value = decode(data, fetch=fetch, sealed=True)
    if enc.hash_of_identity(data) != expected:
        # The two forms of this value differ, or the bytes were tampered with: encoding tells.
        try:
            actual = enc.encode(value).hash
        except NotCacheableError as error:
            raise EncodingError(str(error)) from error
        if actual != expected:
            msg = f"value has hash {actual.hex()[:12]}, expected {expected.hex()[:12]}"
            raise IntegrityError(msg)
    return value


class _Decoder(Reader):
    tags: dict[int, Callable[[Any, int], Any]]

    def __init__(
        self,
        data: bytes,
        fetch: Fetch,
        slots: Slots,
        open_file: Callable[[FileContent], Any] | None,
        sealed: bool,
    ) -> None:
        super().__init__(data)
        self.fetch = fetch
        self.slots = slots
        self.open_file = open_file
        self.sealed = sealed

    def item(self, depth: int) -> Any:
        major, number = self.head()
        if major == 0:
            return number
        if major == 1:
            return -1 - number
        if major == 2:
            return self.short(self.take(number))
        if major == 3:
            return self.text(number)
        if major == 4:
            items = self.items(number, depth)
            return SealedList(items) if self.sealed else items
        if major == 5:
            return self.map(number, depth)
        if major == 6:
            return self.tagged(number, depth)
        if number in _SIMPLE:
            return _SIMPLE[number]
        return self.fail("floats and other simple values have no place in the format")

    def enter(self, depth: int) -> None:
        # As the encoder counts: a container, whatever its number of CBOR levels, is one level.
        if depth >= enc.MAX_DEPTH:
            self.fail("nested too deeply")

    def items(self, count: int, depth: int) -> list[Any]:
        self.enter(depth)
        if count > len(self.data) - self.at:
            self.fail(f"{count} items declared in {len(self.data) - self.at} bytes")
        return [self.item(depth + 1) for _ in range(count)]

    def map(self, count: int, depth: int) -> dict[str, Any]:
        self.enter(depth)
        if count > len(self.data) - self.at:
            self.fail(f"{count} items declared in {len(self.data) - self.at} bytes")
        result: dict[str, Any] = {}
        last = b""
        for _ in range(count):
            start = self.at
            major, size = self.head()
            if major != 3:
                self.fail("a map key is not text")
            key = self.text(size)
            encoded = self.data[start : self.at]
            if encoded <= last:
                self.fail("map keys are repeated or out of order")
            last = encoded
            result[key] = self.item(depth + 1)
        return SealedDict(result) if self.sealed else result

    def tagged(self, tag: int, depth: int) -> Any:
        method = self.tags.get(tag)
        if method is None:
            self.fail(f"unknown tag {tag}")
            raise AssertionError
        return method(self, depth)

    def buffer(self) -> Buffer:
        """Return a byte string, or the blob that stands for one."""
        if self.data[self.at : self.at + len(_BLOB_TAG)] == _BLOB_TAG:
            self.at += len(_BLOB_TAG)
            return self.blob(0)
        return self.short(self.raw())

    def short(self, raw: bytes) -> bytes:
        if len(raw) > enc.INLINE_LIMIT:
            self.fail("a buffer this long must be a blob")
        return raw

    # --- tagged values ---

    def tuple(self, depth: int) -> tuple[Any, ...]:
        major, count = self.head()
        if major != 4:
            self.fail("expected the array of a tuple")
        return tuple(self.items(count, depth))

    def decimal(self, _depth: int) -> Decimal:
        sign, coefficient, exponent = self.integers(3)
        if sign not in {0, 1} or coefficient < 0 or not scalars.is_bounded(coefficient):
            self.fail("not a decimal")
        try:
            value = Decimal((sign, Decimal(coefficient).as_tuple().digits, exponent))
        except (ValueError, ArithmeticError):
            self.fail("not a decimal")
            raise
        if value.as_tuple().exponent != exponent:
            self.fail("a decimal out of range")
        return value

    def fraction(self, _depth: int) -> Fraction:
        numerator, denominator = self.integers(2)
        if denominator < 1 or not all(map(scalars.is_bounded, (numerator, denominator))):
            self.fail("not a fraction")
        value = Fraction(numerator, denominator)
        if value.denominator != denominator:
            self.fail("a fraction is not in lowest terms")
        return value

    def moment(self, make: Callable[..., Any], *numbers: Any, **kwargs: Any) -> Any:
        try:
            return make(*numbers, **kwargs)
        except (TypeError, ValueError, OverflowError) as error:
            return self.fail(str(error))

    def date(self, _depth: int) -> dt.date:
        return self.moment(dt.date, *self.integers(3))  # type: ignore[no-any-return]

    def time(self, _depth: int) -> dt.time:
        self.array_of(5)
        numbers = [self.integer() for _ in range(4)]
        zone = None if self.absent() else self.zone(self.integer())
        return self.moment(dt.time, *numbers, tzinfo=zone)  # type: ignore[no-any-return]

    def datetime(self, _depth: int) -> dt.datetime:
        *numbers, offset = self.integers(8)
        return self.moment(dt.datetime, *numbers, tzinfo=self.zone(offset))  # type: ignore[no-any-return]

    def zone(self, microseconds: int) -> dt.timezone:
        if abs(microseconds) >= 86_400_000_000:
            self.fail("not an offset from UTC")
        return self.moment(dt.timezone, dt.timedelta(microseconds=microseconds))  # type: ignore[no-any-return]

    def timedelta(self, _depth: int) -> dt.timedelta:
        days, seconds, micros = self.integers(3)
        value = self.moment(dt.timedelta, days, seconds, micros)
        if (value.days, value.seconds, value.microseconds) != (days, seconds, micros):
            self.fail("a duration is not normalised")
        return value  # type: ignore[no-any-return]

    def array(self, _depth: int) -> Any:
        import numpy as np

        self.array_of(3)
        text = self.string()
        if _DTYPE.fullmatch(text) is None:  # numpy itself evaluates parts of what it is given
            self.fail(f"not a canonical dtype: {text[:40]!r}")
        dtype = self.moment(np.dtype, text)
        plain = dtype.char not in "gG" and dtype.itemsize > 0
        if not plain or dtype.newbyteorder("<").str != text:
            self.fail(f"not a canonical dtype: {text[:40]!r}")
        major, ndim = self.head()
        if major != 4 or ndim > 64:
            self.fail("not an array shape")
        shape = tuple(self.integer() for _ in range(ndim))
        if any(n < 0 for n in shape):
            self.fail("not an array shape")
        buffer = memoryview(self.buffer()).cast("B").toreadonly()
        if prod(shape) * dtype.itemsize != len(buffer):
            self.fail("an array's shape does not fit its data")
        # ndarray(buffer=) rather than frombuffer: it also takes datetimes and text, and no data.
        return self.moment(np.ndarray, shape, dtype, buffer=buffer)

    def blob(self, _depth: int) -> Buffer:
        self.array_of(2)
        length = self.integer()
        if length <= enc.INLINE_LIMIT:
            self.fail("a buffer this short must not be a blob")
        blob = BlobId(self.raw(32))
        data = self.fetch(blob, length)
        if memoryview(data).nbytes != length:
            msg = f"blob {blob.hex()[:12]} has {memoryview(data).nbytes} bytes, not {length}"
            raise IntegrityError(msg)
        return data

    def bytes_blob(self, depth: int) -> bytes:
        return bytes(self.blob(depth))

    def fields(self, depth: int) -> Any:
        self.enter(depth)
        self.array_of(3)
        name, identity = self.string(), self.string()
        binding = types.find(name, identity)
        if binding.from_value is None:
            raise UnknownTypeError(name=name, identity=identity)
        inner = self.item(depth + 1)
        try:
            return binding.from_value(inner)
        except Exception as error:
            msg = f"{name} refuses its stored fields: {error}"
            raise IntegrityError(msg) from error

    def stream(self, _depth: int) -> Any:
        self.array_of(4)
        name, identity, claimed = self.string(), self.string(), self.raw(32)
        binding = types.find(name, identity)
        if not binding.is_stream:
            raise UnknownTypeError(name=name, identity=identity)
        data = bytes(self.buffer())
        try:
            value = binding.cls.from_stream(io.BytesIO(data))  # type: ignore[attr-defined]
            actual = enc.stream_hash(value, name)
        except Exception as error:
            msg = f"{name}.from_stream refuses its stored bytes: {error}"
            raise IntegrityError(msg) from error
        if actual != claimed:
            msg = f"{name} came back with hash {actual.hex()[:12]}, stored as {claimed.hex()[:12]}"
            raise IntegrityError(msg)
        return value

    def file(self, _depth: int) -> Any:
        self.array_of(4)
        length, blob = self.integer(), BlobId(self.raw(32))
        suffix = None if self.absent() else self.string()
        if length < 0:
            self.fail("not a file")
        content = FileContent(length, blob, suffix, self.string())
        return content if self.open_file is None else self.open_file(content)

    def slot(self, _depth: int) -> Any:
        index = self.integer()
        if not 0 <= index < len(self.slots):
            self.fail("a slot without a value")
        return self.slots[index]()


_DTYPE = re.compile(r"[<|][biufcSU][0-9]{1,9}|<[mM]8\[[0-9]{0,9}[A-Za-z]{1,2}\]")
_SIMPLE = {20: False, 21: True, 22: None}
_COMMON: dict[bytes, Any] = {
    **{scalars.encode_int(n): n for n in range(-256, 1025)},
    **{cbor.head(7, number): value for number, value in _SIMPLE.items()},
}
# Head of a non-negative integer: length of the whole, least number in this length.
_INTEGERS = {0x18: (2, 24), 0x19: (3, 1 << 8), 0x1A: (5, 1 << 16), 0x1B: (9, 1 << 32)}
_BLOB_TAG = cbor.head(6, cbor.TAG_BLOB)
_TAGS: dict[int, Callable[[_Decoder, int], Any]] = {
    cbor.TAG_POSITIVE_BIGNUM: lambda decoder, _: decoder.bignum(negative=False),
    cbor.TAG_NEGATIVE_BIGNUM: lambda decoder, _: decoder.bignum(negative=True),
    cbor.TAG_FRACTION: _Decoder.fraction,
    cbor.TAG_TUPLE: _Decoder.tuple,
    cbor.TAG_DECIMAL: _Decoder.decimal,
    cbor.TAG_DATE: _Decoder.date,
    cbor.TAG_TIME: _Decoder.time,
    cbor.TAG_DATETIME: _Decoder.datetime,
    cbor.TAG_TIMEDELTA: _Decoder.timedelta,
    cbor.TAG_ARRAY: _Decoder.array,
    cbor.TAG_BLOB: _Decoder.bytes_blob,
    cbor.TAG_FIELDS: _Decoder.fields,
    cbor.TAG_STREAM: _Decoder.stream,
    cbor.TAG_FILE: _Decoder.file,
    cbor.TAG_SLOT: _Decoder.slot,
}
_Decoder.tags = _TAGS
