"""`Histogram`: an artifact that hashes and writes itself."""

from __future__ import annotations

import io
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from invariant_dask.core.decode import decode, verify
from invariant_dask.core.encode import encode
from invariant_dask.demo.histogram import Histogram
from invariant_dask.demo.ops import histogram

pictures = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


def flat(level: int, size: int = 4) -> Histogram:
    return histogram(np.full((size, size, 3), level, np.uint8))


@given(pictures)
@settings(max_examples=30)
def test_comes_back_from_a_stream_with_the_same_hash(picture: np.ndarray) -> None:
    made = histogram(picture)
    stream = io.BytesIO()
    made.to_stream(stream)
    stream.seek(0)
    back = Histogram.from_stream(stream)
    assert back == made
    assert back.get_stable_hash() == made.get_stable_hash()
    assert pickle.loads(pickle.dumps(made)) == made


@given(pictures, pictures)
@settings(max_examples=30)
def test_hashes_are_equal_exactly_if_counts_are(one: np.ndarray, other: np.ndarray) -> None:
    a, b = histogram(one), histogram(other)
    assert (a.get_stable_hash() == b.get_stable_hash()) == (a.channels == b.channels)


def test_stable_hash_is_the_same_in_every_process_and_release() -> None:
    assert flat(7).get_stable_hash() == (
        "6659801b4fd1acaff2dbf0df076c99374792c27328f28b0783581ca4ec5d40b4"
    )


def test_is_stored_and_verified_like_any_artifact() -> None:
    made = flat(9)
    encoded = encode(made)
    storage, fetch = encoded.storage, lambda blob, _length: encoded.blobs[blob]
    verify(storage, encoded.hash, fetch=fetch)
    assert decode(storage, fetch=fetch) == made
    assert encode(flat(10)).hash != encoded.hash


def test_statistics_are_exact() -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    picture[0, 0] = 255
    made = histogram(picture)
    assert made.pixels == 4
    assert made.mean() == Fraction(255, 4)
    assert made.quantile(Fraction(1, 2)) == 0
    assert made.quantile(Fraction(3, 4)) == 0
    assert made.quantile(Fraction(76, 100)) == 255
    assert made.quantile(Fraction(1)) == 255
    assert flat(255).quantile(Fraction(0)) == 255


def test_cannot_change() -> None:
    with pytest.raises(AttributeError, match="cannot change"):
        flat(1).channels = ()


@pytest.mark.parametrize("channels", [[], [[0] * 256] * 2, [[0] * 255] * 3])
def test_refuses_counts_that_are_no_histogram(channels: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="3 channels of 256"):
        Histogram(channels)
