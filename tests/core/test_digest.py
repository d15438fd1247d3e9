"""Large data has one hash, whoever computes it and however many cores there are."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invariant_dask.core.digest import (
    DOMAIN_BLOB,
    LEAF_SIZE,
    blob_id,
    blob_id_of_leaves,
    hash_leaves,
    parse_hex,
)
from invariant_dask.errors import SpecError

SIZES = [0, 1, LEAF_SIZE - 1, LEAF_SIZE, LEAF_SIZE + 1, 4 * LEAF_SIZE, 5 * LEAF_SIZE + 3]


def some_bytes(size: int) -> bytes:
    return np.random.default_rng(size).bytes(size)


def reference(data: bytes) -> bytes:
    whole = b"invariant-dask/v1/blob\0" + len(data).to_bytes(8, "big")
    while data:
        leaf, data = data[: 1024 * 1024], data[1024 * 1024 :]
        whole += hashlib.sha256(leaf).digest()
    return hashlib.sha256(whole).digest()


@pytest.mark.parametrize("size", SIZES)
def test_the_tree_hash_is_what_the_format_says(size) -> None:
    data = some_bytes(size)
    assert blob_id(data) == reference(data)


@pytest.mark.parametrize("size", SIZES)
def test_leaves_hashed_one_by_one_give_the_same_id(size) -> None:
    data = some_bytes(size)
    leaves = [
        hash_leaves(memoryview(data[at : at + LEAF_SIZE]))[0] for at in range(0, size, LEAF_SIZE)
    ]
    assert hash_leaves(memoryview(data)) == leaves
    assert blob_id_of_leaves(size, leaves) == blob_id(data)


def test_any_buffer_is_hashed_by_its_bytes() -> None:
    array = np.arange(1000, dtype="<u4").reshape(10, 100)
    expected = reference(array.tobytes())
    for buffer in (array, memoryview(array), bytearray(array.tobytes()), array.tobytes()):
        assert blob_id(buffer) == expected


@pytest.mark.parametrize("size", SIZES[1:])
def test_every_part_of_the_data_counts(size) -> None:
    data = some_bytes(size)
    seen = {blob_id(data), blob_id(data + b"\0"), blob_id(data[:-1])}
    for at in {0, size // 2, size - 1}:
        changed = bytearray(data)
        changed[at] ^= 1
        seen.add(blob_id(changed))
    assert len(seen) == 3 + len({0, size // 2, size - 1})


def test_leaves_in_another_order_are_other_data() -> None:
    first, second = some_bytes(LEAF_SIZE), bytes(LEAF_SIZE)
    assert blob_id(first + second) != blob_id(second + first)


def test_the_domain_and_leaf_size_are_part_of_the_format() -> None:
    assert DOMAIN_BLOB == b"invariant-dask/v1/blob\0"
    assert LEAF_SIZE == 1_048_576


@given(st.binary(min_size=32, max_size=32))
def test_a_digest_is_read_back_from_its_hex(digest) -> None:
    assert parse_hex(digest.hex()) == digest


@pytest.mark.parametrize(
    "text",
    ["", "ab", "ab" * 31, "ab" * 33, "AB" * 32, "zz" * 32, " " + "ab" * 31 + " ", "ab " * 21 + "a",
     "ab" * 16 + " " * 32, "ab" * 32 + "\n", "\uff11" * 64, "0x" + "ab" * 31],
)  # fmt: skip
def test_what_is_not_a_digest_is_refused(text) -> None:
    with pytest.raises(SpecError, match="not a digest"):
        parse_hex(text)
