"""The identity form follows from the storage form alone."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import cacheable_values

from invariant_dask.core.digest import BlobId
from invariant_dask.core.encode import encode
from invariant_dask.core.files import FileContent
from invariant_dask.core.forms import identity_of
from invariant_dask.errors import EncodingError
from invariant_dask.testing import sample_values


@given(cacheable_values())
def test_identity_form_of_any_value_is_found_without_making_it(value) -> None:
    encoded = encode(value)
    assert identity_of(encoded.storage) == encoded.identity


@given(cacheable_values())
def test_identity_form_of_nested_values_too(value) -> None:
    encoded = encode([{"a": [value, value], "b": (value, "x" * 200)}, [[value] * 3]])
    assert identity_of(encoded.storage) == encoded.identity


@pytest.mark.parametrize("name", sample_values())
def test_identity_form_of_values_with_blobs(name) -> None:
    encoded = encode([sample_values()[name], dt.date(2020, 1, 1)])
    assert identity_of(encoded.storage) == encoded.identity


def test_where_a_file_was_is_left_out() -> None:
    file = FileContent(5, BlobId(b"b" * 32), ".txt", "/somewhere/else.txt")
    encoded = encode([file, "x" * 200])
    assert identity_of(encoded.storage) == encoded.identity
    assert b"somewhere" not in encoded.identity


def test_registered_values_that_are_taken_apart() -> None:
    pandas = pytest.importorskip("pandas")
    encoded = encode({"frame": pandas.DataFrame({"a": np.arange(20_000), "b": ["x"] * 20_000})})
    assert identity_of(encoded.storage) == encoded.identity != encoded.storage


@given(cacheable_values())
@settings(max_examples=50)
def test_what_is_cut_off_is_refused(value) -> None:
    storage = encode([value, "end"]).storage
    for at in range(len(storage)):
        with pytest.raises(EncodingError):
            identity_of(storage[:at])


def test_bytes_that_nest_without_end_are_refused() -> None:
    for nested in (b"\x81" * 5000, b"\xc1" * 5000, b"\xd9\xbe\xa6" * 5000):
        with pytest.raises(EncodingError):
            identity_of(nested)


def test_the_deepest_values_are_followed() -> None:
    value = "x" * 200
    for level in range(100):
        value = (value,) if level % 2 else {"k": value}
    encoded = encode(value)
    assert identity_of(encoded.storage) == encoded.identity
