"""A second implementation of FORMAT.md, written from the page and from nothing of the package.

Slow, small, and only for tests: it leaves all of CBOR to cbor2, and takes registered types and
upstream nodes as the stand-ins below.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import cbor2
import numpy as np

LEAF = 1024 * 1024


@dataclass(frozen=True)
class Fields:
    """A registered type that was taken apart."""

    name: str
    identity: str
    value: Any


@dataclass(frozen=True)
class Stream:
    """A registered type that hashes and writes itself."""

    name: str
    identity: str
    hash: bytes
    data: bytes


@dataclass(frozen=True)
class InputFile:
    """A file whose content was hashed."""

    length: int
    blob: bytes
    suffix: str | None
    location: str


@dataclass(frozen=True)
class Upstream:
    """A node, where its artifact will be."""

    planned: bytes


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def domain(name: str) -> bytes:
    return f"invariant-dask/v1/{name}".encode() + b"\0"


def blob_id(data: bytes) -> bytes:
    leaves = b"".join(sha256(data[at : at + LEAF]) for at in range(0, len(data), LEAF))
    return sha256(domain("blob") + len(data).to_bytes(8, "big") + leaves)


def identity(value: Any) -> bytes:
    return cbor2.dumps(_form(value, storage=False))


def storage(value: Any) -> bytes:
    return cbor2.dumps(_form(value, storage=True))


def stable_hash(value: Any) -> bytes:
    return sha256(domain("value") + identity(value))


def manifest(
    op: list[Any], params: Mapping[str, Any], private: tuple[str, bytes] | None = None
) -> bytes:
    """Return the manifest of an op identity, parameters, and the third item of ephemeral nodes."""
    items = [op, {name: _child(params[name], storage=False) for name in _in_order(params)}]
    items[0] = [*op[:3], {name: op[3][name] for name in _in_order(op[3])}]
    if private is not None:
        items.append(cbor2.CBORTag(48814, list(private)))
    return cbor2.dumps(items)


def manifest_digest(encoded: bytes) -> bytes:
    return sha256(domain("manifest") + encoded)


def bundle_digest(outputs: Mapping[str, bytes]) -> bytes:
    pairs = [[node, outputs[node]] for node in sorted(outputs)]
    return sha256(domain("bundle") + identity(pairs))


def _in_order(keys: Iterable[str]) -> list[str]:
    return sorted(keys, key=cbor2.dumps)


def _form(value: Any, storage: bool) -> Any:
    tag = cbor2.CBORTag
    match value:
        case None | bool() | int() | str():
            return value
        case bytes():
            return _buffer(value)
        case list():
            return [_child(item, storage) for item in value]
        case tuple():
            return tag(48800, [_child(item, storage) for item in value])
        case dict():
            return {key: _child(value[key], storage) for key in _in_order(value)}
        case Decimal():
            sign, digits, exponent = value.as_tuple()
            coefficient = sum(digit * 10**place for place, digit in enumerate(reversed(digits)))
            return tag(48801, [sign, coefficient, exponent])
        case Fraction():
            return tag(30, [value.numerator, value.denominator])
        case dt.datetime():
            day = [value.year, value.month, value.day]
            return tag(48804, [*day, *_clock(value), _offset(value)])
        case dt.date():
            return tag(48802, [value.year, value.month, value.day])
        case dt.time():
            return tag(48803, [*_clock(value), _offset(value)])
        case dt.timedelta():
            return tag(48805, [value.days, value.seconds, value.microseconds])
        case np.ndarray():
            return tag(48806, [_dtype(value.dtype), list(value.shape), _buffer(_elements(value))])
        case Fields():
            return tag(48809, [value.name, value.identity, _child(value.value, storage)])
        case Stream():
            known = [value.name, value.identity, value.hash]
            return tag(48810, [*known, _buffer(value.data)] if storage else known)
        case InputFile():
            known = [value.length, value.blob, value.suffix]
            return tag(48811, [*known, value.location] if storage else known)
        case Upstream() if not storage:
            return tag(48812, value.planned)
    raise NotImplementedError(type(value))


def _child(value: Any, storage: bool) -> Any:
    form = _form(value, storage)
    if storage or len(encoded := cbor2.dumps(form)) <= 128:
        return form
    return cbor2.CBORTag(48808, sha256(domain("value") + encoded))


def _buffer(data: bytes) -> Any:
    return data if len(data) <= 32768 else cbor2.CBORTag(48807, [len(data), blob_id(data)])


def _dtype(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "S" or dtype.itemsize == 1:
        return f"|{dtype.kind}{dtype.itemsize}"
    if dtype.kind in "mM":
        unit, count = np.datetime_data(dtype)
        step = "" if count == 1 else str(count)
        return f"<{dtype.kind}8[{step}{unit}]"
    return f"<{dtype.kind}{dtype.itemsize // 4 if dtype.kind == 'U' else dtype.itemsize}"


def _elements(array: np.ndarray[Any, Any]) -> bytes:
    # Reversed by hand where the bytes are big-endian: not by the call that the package uses.
    raw = array.tobytes(order="C")
    if not array.dtype.str.startswith(">"):
        return raw
    size = array.dtype.itemsize
    width = {"U": 4, "c": size // 2}.get(array.dtype.kind, size)
    return b"".join(raw[at : at + width][::-1] for at in range(0, len(raw), width))


def _clock(value: dt.datetime | dt.time) -> list[int]:
    return [value.hour, value.minute, value.second, value.microsecond]


def _offset(value: dt.datetime | dt.time) -> int | None:
    ahead = value.utcoffset()
    return None if ahead is None else ahead // dt.timedelta(microseconds=1)
