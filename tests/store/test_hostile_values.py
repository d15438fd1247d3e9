"""Values that are encoded well and make no sense are refused before they take time or memory.

`tests/torture` looks for more of them at random; here are those that were found.
"""

from __future__ import annotations

import tracemalloc
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from invariant_dask.core import cbor
from invariant_dask.core.cbor import TAG_DECIMAL, TAG_FRACTION, tagged
from invariant_dask.core.decode import decode
from invariant_dask.core.encode import Encoded, encode
from invariant_dask.core.scalars import EXACT_LIMIT, encode_int, encode_str
from invariant_dask.core.types import binding_of
from invariant_dask.errors import ArtifactNotFoundError, IntegrityError, NotCacheableError
from invariant_dask.store import About, MemoryStore
from invariant_dask.testing import sample_manifest

ENDLESS = np.empty((2**40, 0))
"""An array without a byte, over which one would go for days."""
FRAME = pd.DataFrame({"x": [1]})
INDEX = ["range", [None], 0, 2**40, 1]


def frame(**fields: Any) -> dict[str, Any]:
    columns = [
        "plain",
        [None],
        ["object text", np.zeros(1, "u1"), np.array([1]), np.array([120], "u1")],
        None,
    ]
    good = {"attrs": {}, "columns": columns, "data": [["numpy", np.array([1])]], "duplicates": True}
    return {**good, "index": ["range", [None], 0, 1, 1], **fields}


def image(**fields: Any) -> dict[str, Any]:
    good = {"data": b"123", "info": {}, "mode": "RGB", "palette": None, "size": [1, 1]}
    return {**good, **fields}


def bytes_of(like: Any, tree: Any) -> Encoded:
    """Return what somebody would store who wants to have a tree decoded as a value of a library."""
    encode(like)
    binding = binding_of(type(like))
    assert binding is not None
    head = cbor.tagged(cbor.TAG_FIELDS, 3) + encode_str(binding.name) + encode_str(binding.identity)
    inner = encode(tree)
    return Encoded(head + inner.identity, head + inner.storage, inner.blobs)


HOSTILE = {
    "a number for a column of a huge frame": (FRAME, frame(data=[["numpy", 5]], index=INDEX)),
    "a huge empty array for the columns": (FRAME, frame(data=ENDLESS)),
    "a huge empty array for a column": (FRAME, frame(data=[ENDLESS])),
    "a huge empty array for an index": (FRAME, frame(index=ENDLESS)),
    "a huge empty array of objects": (FRAME, frame(data=[["objects", ENDLESS, []]])),
    "a huge empty array for a type": (pa.array([1]), [ENDLESS, [0, None, [], []]]),
    "a large image in few bytes": (Image.new("L", (1, 1)), image(size=[2**15, 2**15])),
    "an image of negative size": (Image.new("L", (1, 1)), image(size=[-1, -3])),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_a_library_would_make_huge_is_refused(what: str) -> None:
    encoded = bytes_of(*HOSTILE[what])
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError):
            decode(encoded.storage)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_the_good_ones_that_hostile_ones_are_made_of_are_taken() -> None:
    assert decode(bytes_of(FRAME, frame()).storage).equals(FRAME)
    assert decode(bytes_of(Image.new("L", (1, 1)), image()).storage).tobytes() == b"123"


def test_what_comes_back_as_another_value_is_refused_and_a_miss() -> None:
    encoded = bytes_of(FRAME, frame(surplus=1))
    with pytest.raises(IntegrityError, match="another value"):
        decode(encoded.storage)
    store = MemoryStore()
    record = store.publish(encoded, sample_manifest(), kind="x", about=About("sample:op"))
    with pytest.raises(ArtifactNotFoundError):
        store.get(record.resolved)
    assert store.stats.quarantined == 1
    assert not store.exists(record.resolved)


def test_fixed_lists_with_nulls_take_no_room_that_was_not_stored() -> None:
    tree = [["fixed list", ["item", ["int8"], True, []], 2**30],
            [1, np.array([True]), [], [[0, None, [np.empty(0, "u1")], []]]]]  # fmt: skip
    with pytest.raises(IntegrityError):
        decode(bytes_of(pa.array([None], pa.list_(pa.int8(), 1)), tree).storage)


def test_exact_numbers_are_bounded_in_both_directions() -> None:
    long = (1 << 8 * EXACT_LIMIT) - 1
    for value in (Fraction(long, 2), Fraction(1, long)):
        assert decode(encode(value).storage) == value
    for value in (Fraction(long + 1, 3), Fraction(1, long + 1)):
        with pytest.raises(NotCacheableError, match="32768 bytes"):
            encode(value)
    for parts in ((TAG_FRACTION, long + 1, 3), (TAG_DECIMAL, 0, long + 1, 0)):
        tag, *numbers = parts
        with pytest.raises(IntegrityError):
            decode(tagged(tag, len(numbers)) + b"".join(map(encode_int, numbers)))


def test_explanation_that_cannot_be_read_is_empty() -> None:
    store = MemoryStore()
    record = store.put(sample_manifest(), 1)
    assert record._replace(about_bytes=b"\xff").about == About("")
