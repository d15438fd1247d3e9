"""Encode scalars: one value, one run of bytes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from invariant_dask.core.cbor import (
    NULL,
    TAG_DATE,
    TAG_DATETIME,
    TAG_DECIMAL,
    TAG_FRACTION,
    TAG_NEGATIVE_BIGNUM,
    TAG_POSITIVE_BIGNUM,
    TAG_TIME,
    TAG_TIMEDELTA,
    byte_string,
    head,
    tagged,
)
from invariant_dask.errors import NotCacheableError

_DECIMAL = tagged(TAG_DECIMAL, 3)
_FRACTION = tagged(TAG_FRACTION, 2)
_DATE = tagged(TAG_DATE, 3)
_TIME = tagged(TAG_TIME, 5)
_DATETIME = tagged(TAG_DATETIME, 8)
_TIMEDELTA = tagged(TAG_TIMEDELTA, 3)

EXACT_LIMIT = 32768
"""Most bytes of the coefficient of a decimal, or of a part of a fraction: taking one takes time
that grows with the square of its length, and stored bytes may come from a stranger."""


def encode_none(_value: None) -> bytes:
    return NULL


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
    return tag + byte_string(number.to_bytes((number.bit_length() + 7) // 8, "big"))


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
    if len(digits) > EXACT_LIMIT * 2.5:  # more than there are in so many bytes
        raise NotCacheableError(reason=_TOO_LONG)
    coefficient = _bounded(int(Decimal((0, digits, 0))))
    return _DECIMAL + encode_int(sign) + encode_int(coefficient) + encode_int(exponent)


def encode_fraction(value: Fraction) -> bytes:
    numerator, denominator = _bounded(value.numerator), _bounded(value.denominator)
    return _FRACTION + encode_int(numerator) + encode_int(denominator)


def is_bounded(number: int) -> bool:
    """Return whether a number is short enough to be a part of a decimal or fraction."""
    return number.bit_length() <= 8 * EXACT_LIMIT


def _bounded(number: int) -> int:
    if not is_bounded(number):
        raise NotCacheableError(reason=_TOO_LONG)
    return number


_TOO_LONG = f"an exact number with parts of more than {EXACT_LIMIT} bytes; pass an int or text"


def encode_date(value: dt.date) -> bytes:
    return _DATE + ints(value.year, value.month, value.day)


def encode_time(value: dt.time) -> bytes:
    offset = NULL
    if value.tzinfo is not None:
        offset = encode_int(_offset(value.utcoffset(), "time"))
    return _TIME + ints(value.hour, value.minute, value.second, value.microsecond) + offset


def encode_datetime(value: dt.datetime) -> bytes:
    if value.tzinfo is None:
        raise NotCacheableError(
            reason="a datetime without a time zone means different moments in different places; "
            "pass one with tzinfo, such as datetime(..., tzinfo=UTC)"
        )
    return (
        _DATETIME
        + ints(value.year, value.month, value.day)
        + ints(value.hour, value.minute, value.second, value.microsecond)
        + encode_int(_offset(value.utcoffset(), "datetime"))
    )


def encode_timedelta(value: dt.timedelta) -> bytes:
    return _TIMEDELTA + ints(value.days, value.seconds, value.microseconds)


def _offset(offset: dt.timedelta | None, kind: str) -> int:
    if offset is None:
        raise NotCacheableError(
            reason=f"this {kind}'s time zone has no fixed offset; use datetime.timezone"
        )
    return offset // dt.timedelta(microseconds=1)


def ints(*numbers: int) -> bytes:
    """Return encoded ints, one after the other."""
    return b"".join(map(encode_int, numbers))


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
