"""The CBOR that the format is written in: heads, and the tags that are ours.

RFC 8949, section 3; heads are always the shortest, as section 4.2.1 asks. FORMAT.md lists the tags.
"""

from __future__ import annotations

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


def byte_string(data: bytes) -> bytes:
    """Return the encoding of bytes."""
    return head(2, len(data)) + data


HASHED_HEAD = head(6, TAG_HASHED) + head(2, 32)
REF_HEAD = head(6, TAG_REF) + head(2, 32)
NULL = b"\xf6"
