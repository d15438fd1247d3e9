"""Golden vectors: what was hashed once is hashed alike for ever, by us and by others.

Vectors are only ever added: whoever changes one breaks every store that is out there. A second,
tiny implementation of FORMAT.md checks that the page, and not just our encoder, gives these bytes.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import cacheable_values, same, text

from invariant_dask.core.decode import decode
from invariant_dask.core.digest import BlobId
from invariant_dask.core.encode import encode, stable_hash
from invariant_dask.core.files import FileContent

NAMESPACE = {
    "D": Decimal, "F": Fraction, "dt": dt, "np": np, "FileContent": FileContent, "BlobId": BlobId,
}  # fmt: skip
PATH = Path(__file__).parents[1] / "vectors" / "values.json"
VECTORS = {vector["name"]: vector for vector in json.loads(PATH.read_text())}


def value_of(name: str) -> Any:
    return eval(VECTORS[name]["value"], dict(NAMESPACE))


@pytest.mark.parametrize("name", VECTORS)
def test_vector(name) -> None:
    vector = VECTORS[name]
    encoded = encode(value_of(name))
    assert encoded.identity.hex() == vector["identity"]
    assert encoded.storage.hex() == vector.get("storage", vector["identity"])
    assert encoded.hash.hex() == vector["hash"]


@pytest.mark.parametrize("name", VECTORS)
def test_vector_comes_back(name) -> None:
    value = value_of(name)
    encoded = encode(value)
    again = decode(encoded.storage, fetch=lambda blob, _length: encoded.blobs[blob])
    assert same(again, value)


def test_vectors_are_only_ever_added() -> None:
    # Raise the number with the file; never lower it.
    assert len(VECTORS) >= 111
    assert len({vector["hash"] for vector in VECTORS.values()}) == len(VECTORS)


# --- a second implementation, from FORMAT.md alone ------------------------------------------------


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def plain(value: Any, storage: bool) -> Any:
    """Return what another CBOR library encodes as the value's form."""
    tagged = cbor2.CBORTag
    match value:
        case None | bool() | int() | str():
            return value
        case bytes() if len(value) <= 32768:
            return value
        case bytes():
            leaves = b"".join(sha256(value[at : at + 2**20]) for at in range(0, len(value), 2**20))
            size = len(value).to_bytes(8, "big")
            return tagged(48807, [len(value), sha256(b"invariant-dask/v1/blob\0" + size + leaves)])
        case list():
            return [child(item, storage) for item in value]
        case tuple():
            return tagged(48800, [child(item, storage) for item in value])
        case dict():
            keys = sorted(value, key=cbor2.dumps)
            return {key: child(value[key], storage) for key in keys}
        case Decimal():
            sign, digits, exponent = value.as_tuple()
            coefficient = sum(digit * 10**place for place, digit in enumerate(reversed(digits)))
            return tagged(48801, [sign, coefficient, exponent])
        case Fraction():
            return tagged(30, [value.numerator, value.denominator])
        case dt.datetime():
            moment = [value.year, value.month, value.day, *clock(value), offset(value)]
            return tagged(48804, moment)
        case dt.date():
            return tagged(48802, [value.year, value.month, value.day])
        case dt.time():
            return tagged(48803, [*clock(value), offset(value)])
        case dt.timedelta():
            return tagged(48805, [value.days, value.seconds, value.microseconds])
        case np.ndarray():
            little = np.ascontiguousarray(value.astype(value.dtype.newbyteorder("<")))
            name = little.dtype.kind + little.dtype.str[2:]
            order = "|" if value.dtype.kind in "bS" or value.dtype.itemsize == 1 else "<"
            data = plain(little.tobytes(), storage)
            return tagged(48806, [order + name, list(value.shape), data])
        case FileContent():
            known = [value.length, value.blob, value.suffix]
            return tagged(48811, [*known, value.location] if storage else known)
    raise NotImplementedError(type(value))


def clock(value: dt.datetime | dt.time) -> list[int]:
    return [value.hour, value.minute, value.second, value.microsecond]


def offset(value: dt.datetime | dt.time) -> int | None:
    ahead = value.utcoffset()
    return None if ahead is None else ahead // dt.timedelta(microseconds=1)


def child(value: Any, storage: bool) -> Any:
    form = plain(value, storage)
    if storage or len(identity := cbor2.dumps(form)) <= 128:
        return form
    return cbor2.CBORTag(48808, sha256(b"invariant-dask/v1/value\0" + identity))


def assert_agrees(value: Any) -> None:
    encoded = encode(value)
    identity = cbor2.dumps(plain(value, storage=False))
    assert encoded.identity == identity
    assert encoded.storage == cbor2.dumps(plain(value, storage=True))
    assert encoded.hash == sha256(b"invariant-dask/v1/value\0" + identity)


@pytest.mark.parametrize("name", VECTORS)
def test_another_implementation_gives_the_same_bytes(name) -> None:
    assert_agrees(value_of(name))


@given(cacheable_values())
def test_another_implementation_gives_the_same_bytes_for_any_value(value) -> None:
    assert_agrees(value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | text | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(text, inner),
        max_leaves=20,
    )
)
def test_plain_data_is_stored_as_canonical_cbor(value) -> None:
    assert encode(value).storage == cbor2.dumps(value, canonical=True)


# --- the boundaries -------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "collapsed"), [(126, False), (127, True)])
def test_a_child_above_128_bytes_is_replaced_by_its_hash(size, collapsed) -> None:
    item = b"x" * size  # and a head of two bytes
    identity = encode([item]).identity
    assert len(encode(item).identity) == size + 2
    if collapsed:
        assert identity == b"\x81" + bytes.fromhex("d9bea85820") + stable_hash(item)
    else:
        assert identity == b"\x81" + encode(item).identity


@pytest.mark.parametrize(("size", "count"), [(32768, 0), (32769, 1)])
def test_a_buffer_above_32_kib_becomes_a_blob(size, count) -> None:
    for value in (bytes(size), np.zeros(size, np.uint8)):
        encoded = encode(value)
        assert list(encoded.blobs.values()) == [bytes(size)] * count
        assert (len(encoded.storage) < 100) == bool(count)


def test_the_hash_of_a_list_depends_on_the_hashes_of_its_items_alone() -> None:
    items = ["a" * 500, np.arange(50_000), {"k": b"z" * 200}]
    head = bytes.fromhex("d9bea85820")
    expected = b"\x83" + b"".join(head + stable_hash(item) for item in items[:1])
    array, mapping = encode(items[1]), encode(items[2])
    assert len(array.identity) <= 128
    expected += array.identity + mapping.descriptor
    assert encode(items).identity == expected
