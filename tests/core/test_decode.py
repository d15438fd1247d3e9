"""Decoding gives back what was encoded, and refuses every other run of bytes."""

from __future__ import annotations

import random
import tracemalloc
from decimal import Decimal
from typing import Any

import cbor2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import cacheable_values, same

from invariant_dask.core import cbor
from invariant_dask.core import encode as enc
from invariant_dask.core.decode import decode, verify
from invariant_dask.core.digest import BlobId, blob_id
from invariant_dask.core.encode import Encoded, encode
from invariant_dask.errors import (
    EncodingError,
    IntegrityError,
    NotCacheableError,
    UnknownTypeError,
)


def fetch_from(encoded: Encoded):
    return lambda blob, _length: encoded.blobs[blob]


def tag(number: int, content: Any) -> bytes:
    return cbor2.dumps(cbor2.CBORTag(number, content))


# --- there and back -------------------------------------------------------------------------------


@given(cacheable_values())
def test_a_value_comes_back_with_its_types(value) -> None:
    encoded = encode(value)
    again = decode(encoded.storage, fetch=fetch_from(encoded))
    assert same(value, again)
    assert encode(again) == encoded


@given(cacheable_values())
def test_a_verified_value_is_sealed_and_encodes_alike(value) -> None:
    encoded = encode(value)
    again = verify(encoded.storage, encoded.hash, fetch=fetch_from(encoded))
    assert encode(again) == encoded


@given(cacheable_values(), cacheable_values())
def test_a_value_is_not_verified_under_the_hash_of_another(value, other) -> None:
    encoded, wrong = encode(value), encode(other)
    if encoded.hash != wrong.hash:
        with pytest.raises(IntegrityError):
            verify(encoded.storage, wrong.hash, fetch=fetch_from(encoded))


@given(cacheable_values(), cacheable_values())
def test_distinct_values_have_distinct_identities(left, right) -> None:
    assert (encode(left).identity == encode(right).identity) == same(left, right)


def shuffled(value: Any, source: random.Random) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(shuffled(item, source) for item in value)
    if isinstance(value, dict):
        keys = list(value)
        source.shuffle(keys)
        return {key: shuffled(value[key], source) for key in keys}
    return value


@given(cacheable_values(), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(value, source) -> None:
    assert encode(shuffled(value, source)) == encode(value)


def test_large_buffers_come_back_through_fetch() -> None:
    value = {"raw": bytes(40_000), "pixels": np.arange(10_000.0), "small": b"x"}
    encoded = encode(value)
    asked: list[int] = []

    def fetch(blob: BlobId, length: int) -> bytes:
        asked.append(length)
        return encoded.blobs[blob]

    assert len(encoded.storage) < 200
    assert same(decode(encoded.storage, fetch=fetch), value)
    assert sorted(asked) == [40_000, 80_000]


# --- every other run of bytes ---------------------------------------------------------------------


@settings(max_examples=300)
@given(cacheable_values(), st.data())
def test_a_changed_byte_is_refused_or_is_another_canonical_value(value, data) -> None:
    storage = bytearray(encode(value).storage)
    at = data.draw(st.integers(0, len(storage) - 1))
    storage[at] ^= data.draw(st.integers(1, 255))
    assert_refused_or_canonical(bytes(storage))


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_are_a_canonical_value(data) -> None:
    assert_refused_or_canonical(data)


@settings(max_examples=300)
@given(
    st.sampled_from([n for name, n in vars(enc).items() if name.startswith("TAG_")]),
    st.lists(cacheable_values(), max_size=8),
)
def test_any_content_of_a_tag_is_refused_or_is_canonical(number, content) -> None:
    assert_refused_or_canonical(cbor.head(6, number) + encode(content).storage)


def assert_refused_or_canonical(data: bytes) -> None:
    try:
        value = decode(data)
    except IntegrityError:
        return
    assert encode(value).storage == data


@given(cacheable_values(), st.data())
def test_a_truncated_value_is_refused(value, data) -> None:
    storage = encode(value).storage
    with pytest.raises(IntegrityError):
        decode(storage[: data.draw(st.integers(0, len(storage) - 1))])


@given(cacheable_values(), st.binary(min_size=1, max_size=3))
def test_trailing_bytes_are_refused(value, more) -> None:
    with pytest.raises(EncodingError, match="not canonical at byte"):
        decode(encode(value).storage + more)


# A control for the list below: these differ from refused ones in one point only.
ACCEPTED = {
    "two keys in order": "a2616101616202",
    "24 in two bytes": "1818",
    "2**64": "c249010000000000000000",
    "a decimal": "d9bea183010203",
    "a fraction": "d81e820103",
    "an array": "d9bea683637c75318102" + "420102",
    "an array of no items": "d9bea683637c7531820003" + "40",
    "a time without a zone": "d9bea38500000000f6",
    "100 levels": "81" * 99 + "80",
    "a leaf below 100 levels": "81" * 100 + "4101",
    "100 levels of tuples": "d9bea081" * 99 + "d9bea080",
}

REFUSED = {
    "nothing": "",
    "an indefinite array": "9f01ff",
    "an indefinite map": "bf616101ff",
    "indefinite bytes": "5f4101ff",
    "indefinite text": "7f6161ff",
    "a break": "ff",
    "reserved heads": "1c",
    "23 in two bytes": "1817",
    "255 in three bytes": "1900ff",
    "65535 in five bytes": "1a0000ffff",
    "2**32 - 1 in nine bytes": "1b00000000ffffffff",
    "-1 in two bytes": "3800",
    "a length not in its shortest form": "58024142",
    "a tag not in its shortest form": "d8024101",
    "a long tag number not in its shortest form": "da0000bea080",
    "a repeated key": "a2616101616102",
    "keys out of order": "a2616201616101",
    "a long key before a short one": "a262616101616202",
    "a key that is a number": "a10102",
    "a key that is bytes": "a1416102",
    "a key without a value": "a16161",
    "tag 0, a date as text": tag(0, "2024-01-01T00:00:00Z").hex(),
    "tag 1, a timestamp": "c101",
    "tag 4, a decimal": "c48200182a",
    "tag 5, a bigfloat": "c58200182a",
    "tag 24, embedded CBOR": "d8184101",
    "tag 28, shareable": "d81c80",
    "tag 29, a reference": "d81d00",
    "tag 35, a regular expression": "d8236161",
    "tag 37, a UUID": "d82550" + "00" * 16,
    "tag 258, a set": "d9010280",
    "tag 55799, self-described": "d9d9f701",
    "tag 48808, a hash in place of a value": "d9bea85820" + "00" * 32,
    "tag 48812, a planned reference": "d9beac5820" + "00" * 32,
    "a slot where there is none": "d9bead00",
    "a half float": "f93c00",
    "a float": "fa3f800000",
    "a double": "fb3ff0000000000000",
    "undefined": "f7",
    "another simple value": "e0",
    "false in two bytes": "f814",
    "a bignum below 2**64": "c248ffffffffffffffff",
    "a negative bignum below 2**64": "c348ffffffffffffffff",
    "a bignum with a leading zero": "c24a00010000000000000000",
    "an empty bignum": "c240",
    "a bignum of text": "c26161",
    "text that is not UTF-8": "61ff",
    "text with a surrogate": "63eda080",
    "text in an overlong form": "62c080",
    "a fraction not in lowest terms": "d81e820204",
    "a fraction over zero": "d81e820100",
    "a fraction over a negative number": "d81e820120",
    "zero with a denominator": "d81e820002",
    "a fraction of three": "d81e83010203",
    "a fraction of text": "d81e82616101",
    "a decimal of sign 2": "d9bea183020101",
    "a decimal of negative coefficient": "d9bea183002001",
    "a decimal of a boolean": "d9bea183f40101",
    "a decimal of an exponent beyond all bounds": "d9bea18300011b7fffffffffffffff",
    "a decimal of an exponent that is a bignum": "d9bea1830001c249010000000000000000",
    "a decimal of two": "d9bea1820001",
    "a tuple that is no array": "d9bea001",
    "a tuple that is a map": "d9bea0a0",
    "the 30th of February": tag(48802, [2024, 2, 30]).hex(),
    "the year 10000": tag(48802, [10000, 1, 1]).hex(),
    "a year beyond all bounds": tag(48802, [2**70, 1, 1]).hex(),
    "hour 24": tag(48803, [24, 0, 0, 0, None]).hex(),
    "a time with a whole day's offset": tag(48803, [1, 0, 0, 0, 86_400_000_000]).hex(),
    "a time with a boolean offset": tag(48803, [1, 0, 0, 0, False]).hex(),
    "a datetime without an offset": tag(48804, [2024, 1, 1, 0, 0, 0, 0, None]).hex(),
    "a datetime of seven": tag(48804, [2024, 1, 1, 0, 0, 0, 0]).hex(),
    "a duration of too many seconds": tag(48805, [0, 86400, 0]).hex(),
    "a duration of negative microseconds": tag(48805, [0, 0, -1]).hex(),
    "a duration beyond all bounds": tag(48805, [10**9, 0, 0]).hex(),
    "an array of less data than its shape": tag(48806, ["|u1", [3], b"12"]).hex(),
    "an array of more data than its shape": tag(48806, ["|u1", [3], b"1234"]).hex(),
    "an array of a negative shape": tag(48806, ["|u1", [-1], b""]).hex(),
    "an array of two negative sizes": tag(48806, ["|u1", [-1, -2], b"12"]).hex(),
    "an array of a shape of text": tag(48806, ["|u1", ["1"], b"1"]).hex(),
    "an array of 65 dimensions": tag(48806, ["|u1", [0] * 65, b""]).hex(),
    "an array of text in place of bytes": tag(48806, ["|u1", [1], "a"]).hex(),
    "an array of a list": tag(48806, ["|u1", [1], [1]]).hex(),
    **{
        f"an array of dtype {name!r}": tag(48806, [name, [0], b""]).hex()
        for name in (
            ">i4", "i4", "=i4", "int32", "u1", "<u1", "|u2", "|O", "O", "<f16", "<c32", "|V8", "V8",
            "i4,i4", "(2,)i4", "(2,f4", "{'names':[]}", "a5", "", "<U0", "|S0", "<U99999999999",
            "<M8[7x]", "<M8[1s]", "<M8[99999999999s]", "<M8", "<m8",
            "<m8[]", "<M8[generic]", "<m4[s]", "<i4 ", "<i4\0", "<U\uff11", "T", "nonsense",
        )
    },
    "blob of 32 KiB": tag(48807, [32768, bytes(32)]).hex(),
    "blob with a short id": tag(48807, [40_000, bytes(31)]).hex(),
    "long bytes inline": encode(b"").storage.hex() and cbor2.dumps(bytes(32769)).hex(),
    "a file of negative length": tag(48811, [-1, bytes(32), None, "a"]).hex(),
    "a file with a number as suffix": tag(48811, [1, bytes(32), 1, "a"]).hex(),
    "2**60 items": "9b1000000000000000",
    "2**60 items of a map": "bb1000000000000000",
    "2**60 bytes": "5b1000000000000000",
    "2**60 bytes of text": "7b1000000000000000",
    "2**60 dimensions": "d9bea683637c75319b1000000000000000",
    "an empty array of 2**62 columns": tag(48806, ["<f8", [0, 2**62], b""]).hex(),
    "an empty array of 2**64 columns": tag(48806, ["<f8", [0, 2**64], b""]).hex(),
    "an array of 2**62 items of no bytes": tag(48806, ["<U0", [2**62], b""]).hex(),
    "a shape whose product wraps around": tag(48806, ["|u1", [2**32, 2**32], b""]).hex(),
    "101 levels": "81" * 100 + "80",
    "101 levels of tuples": "d9bea081" * 100 + "d9bea080",
    "101 levels of maps": "a16161" * 100 + "a0",
    "10,000 levels of lists": "81" * 10_000 + "80",
    "10,000 levels of maps": "a16161" * 10_000 + "a0",
    "10,000 levels of tuples": "d9bea081" * 10_000 + "80",
    "10,000 levels of decimals": "d9bea183" * 10_000,
    "10,000 levels of fractions": "d81e82" * 10_000,
    "10,000 levels of times": "d9bea38500000000" * 10_000,
    "10,000 levels of files": ("d9beab84005820" + "00" * 32) * 10_000,
    "10,000 levels of shapes": "d9bea683637c753181" * 10_000,
    "10,000 levels of arrays": "d9bea683637c75318101" * 10_000,
    "10,000 levels of bignums": "c2" * 10_000,
}  # fmt: skip


@pytest.mark.parametrize("data", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(data) -> None:
    raw = bytes.fromhex(data)
    assert encode(decode(raw)).storage == raw


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_refused(data) -> None:
    with pytest.raises(IntegrityError):
        decode(bytes.fromhex(data))


def test_declared_lengths_allocate_nothing() -> None:
    tracemalloc.start()
    for data in ("9a3fffffff", "ba3fffffff", "5a3fffffff", "9a000fffff" + "80" * 10):
        with pytest.raises(IntegrityError):
            decode(bytes.fromhex(data))
    with pytest.raises(IntegrityError):
        decode(tag(48806, ["<f8", [2**27], b""]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_the_error_says_where() -> None:
    with pytest.raises(EncodingError, match="at byte 5: floats"):
        decode(bytes.fromhex("8201f93c00"))


def test_a_type_that_is_not_registered_is_named() -> None:
    with pytest.raises(UnknownTypeError) as caught:
        decode(tag(48809, ["nowhere.Thing", "1", 5]))
    assert (caught.value.name, caught.value.identity) == ("nowhere.Thing", "1")


def test_a_blob_of_another_length_is_refused() -> None:
    data = bytes(40_000)
    encoded = encode(data)
    with pytest.raises(IntegrityError, match="39999 bytes, not 40000"):
        decode(encoded.storage, fetch=lambda _blob, _length: data[1:])


def test_a_blob_that_is_not_at_hand_is_named() -> None:
    data = bytes(40_000)
    with pytest.raises(IntegrityError, match=blob_id(data).hex()[:12]):
        decode(encode(data).storage)


def test_a_value_is_not_verified_in_another_form() -> None:
    # The child of a list may be replaced by its hash where hashes are formed, never in storage.
    value = ["x" * 200]
    with pytest.raises(IntegrityError):
        verify(encode(value).identity, encode(value).hash, fetch=lambda *_: b"")


# --- what cannot be encoded cannot be decoded -----------------------------------------------------


def nested(levels: int, wrap=lambda inner: [inner]) -> Any:
    value = wrap(1)
    for _ in range(levels - 1):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    "wrap", [lambda x: [x], lambda x: (x,), lambda x: {"a": x}], ids=["list", "tuple", "dict"]
)
def test_containers_nest_100_levels(wrap) -> None:
    deepest = nested(100, wrap)
    assert decode(encode(deepest).storage) == deepest
    for levels in (101, 1000):
        with pytest.raises(NotCacheableError, match="nested deeper than 100 levels"):
            encode(nested(levels, wrap))


def test_a_list_that_contains_itself_is_refused() -> None:
    value: list[Any] = [1]
    value.append(value)
    with pytest.raises(NotCacheableError, match="hold itself"):
        encode(value)


def test_a_dict_that_contains_itself_is_refused() -> None:
    value: dict[str, Any] = {}
    value["a"] = [value]
    with pytest.raises(NotCacheableError, match="hold itself"):
        encode(value)


def test_long_decimals_come_back_exactly() -> None:
    value = Decimal((1, (1, 2, 3) * 2000, -7))
    assert decode(encode(value).storage).as_tuple() == value.as_tuple()
