"""Values to bytes and back."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from invariant_dask.core.decode import decode
from invariant_dask.core.digest import LEAF_SIZE, blob_id, blob_id_of_leaves, sha256
from invariant_dask.core.encode import encode

VALUES = {
    "int": 7,
    "text": "a few words of text",
    "decimal": Decimal("0.125"),
    "small dict": {"name": "a", "at": [1, 2, 3], "size": (4, None)},
    "list of 10k": list(range(10_000)),
    "tree of 1k": [{"a": [number, str(number)]} for number in range(1000)],
    "array of 8 kB": np.arange(1000.0),
    "array of 8 MB": np.arange(1_000_000.0),
}


def same(left: object, right: object) -> bool:
    if isinstance(left, np.ndarray):
        return isinstance(right, np.ndarray) and np.array_equal(left, right)
    return left == right


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_encode(benchmark, value) -> None:
    encoded = benchmark(encode, value)
    again = decode(encoded.storage, fetch=lambda blob, _: encoded.blobs[blob])
    assert same(again, value)


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_decode(benchmark, value) -> None:
    encoded = encode(value)
    again = benchmark(decode, encoded.storage, fetch=lambda blob, _: encoded.blobs[blob])
    assert same(again, value)


@pytest.mark.parametrize("leaves", [1, 16, 64])
def test_hash_of_a_blob(benchmark, leaves) -> None:
    data = np.random.default_rng(0).bytes(leaves * LEAF_SIZE)
    blob = benchmark(blob_id, data)
    hashes = [sha256(data[at : at + LEAF_SIZE]).digest() for at in range(0, len(data), LEAF_SIZE)]
    assert blob == blob_id_of_leaves(len(data), hashes)
