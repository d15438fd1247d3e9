"""Hypothesis strategies for what the format can hold."""

from __future__ import annotations

import datetime as dt
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from invariant_dask.core.files import File
from invariant_dask.graph.markers import Cel, Ref

# How long an example takes says more of the machine's other work than of ours.
settings.register_profile("invariant", deadline=None)
settings.load_profile("invariant")

DTYPES = (
    "|b1", "|i1", "<i2", ">i4", "<i8", "|u1", "<u2", ">u8", "<f2", "<f4", ">f8", "<c8", "<c16",
    "<M8[D]", "<M8[us]", "<m8[3s]", "|S1", "|S5", "<U1", ">U3",
)  # fmt: skip

integers = st.one_of(
    st.integers(),
    st.sampled_from([23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1, 2**64, -(2**64)]),
    st.integers(-(2**200), 2**200),
)
text = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
zones = st.builds(
    dt.timezone,
    st.timedeltas(
        dt.timedelta(days=-1, microseconds=1), dt.timedelta(days=1) - dt.timedelta(microseconds=1)
    ),
)
decimals = st.builds(
    lambda sign, coefficient, exponent: Decimal(
        (sign, tuple(map(int, str(coefficient))), exponent)
    ),
    st.integers(0, 1),
    st.integers(0, 10**60),
    st.integers(-400, 400),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    integers,
    text,
    st.binary(max_size=200),
    decimals,
    st.fractions(),
    st.dates(),
    st.times(timezones=st.one_of(st.none(), zones)),
    st.datetimes(timezones=zones),
    st.timedeltas(),
)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Arrays of every dtype, from any bytes (so with every NaN), in either memory order."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    size = int(np.prod(shape, dtype=int)) * dtype.itemsize
    if dtype.kind == "U":
        points = st.lists(st.integers(0, 0x7F), min_size=size // 4, max_size=size // 4)
        data = np.array(draw(points), dtype.byteorder + "u4").tobytes()
    elif dtype.kind == "b":
        data = bytes(draw(st.lists(st.integers(0, 1), min_size=size, max_size=size)))
    else:
        data = draw(st.binary(min_size=size, max_size=size))
    array: np.ndarray[Any, Any] = np.ndarray(shape, dtype, buffer=data)
    return array.copy("F") if draw(st.booleans()) else array


def cacheable_values(*, with_arrays: bool = True) -> st.SearchStrategy[Any]:
    """Anything that has a canonical form, but for files and registered types."""
    leaves = st.one_of(scalars, arrays()) if with_arrays else scalars
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=5),
            st.lists(inner, max_size=5).map(tuple),
            st.dictionaries(text, inner, max_size=5),
        ),
        max_leaves=12,
    )


def document_values() -> st.SearchStrategy[Any]:
    """Parameters that a graph document can hold, markers of a node `a` and all."""
    keys = st.one_of(
        text, st.sampled_from(["$ref", "$cel", "$tuple", "$literal", "$bytes", "type"])
    )
    markers = st.one_of(
        st.lists(st.one_of(text, st.integers(0, 9)), max_size=2).map(
            lambda path: Ref("a", tuple(path))
        ),
        st.just(Cel("a + 1")),
        st.builds(File, text.filter(bool), st.booleans()),
    )
    return st.recursive(
        # Text with ${ in it would have to be an expression.
        st.one_of(scalars, markers).filter(lambda x: not (isinstance(x, str) and "${" in x)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.lists(inner, max_size=4).map(tuple),
            st.dictionaries(keys, inner, max_size=2),
        ),
        max_leaves=10,
    )


def same(left: Any, right: Any) -> bool:
    """Return whether two values are equal, with equal types, at every level."""
    if isinstance(left, np.ndarray):
        return (
            type(left) is type(right)
            and left.dtype.newbyteorder("<") == right.dtype.newbyteorder("<")
            and left.shape == right.shape
            and left.astype(left.dtype.newbyteorder("<")).tobytes()
            == right.astype(right.dtype.newbyteorder("<")).tobytes()
        )
    if type(left) is not type(right):
        return False
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if is_dataclass(left):
        return all(same(getattr(left, f.name), getattr(right, f.name)) for f in fields(left))
    if isinstance(left, Decimal):
        return left.as_tuple() == right.as_tuple()
    if isinstance(left, dt.datetime | dt.time):
        return left.replace(tzinfo=None) == right.replace(tzinfo=None) and (
            left.utcoffset() == right.utcoffset()
        )
    return bool(left == right)


__all__ = [
    "DTYPES", "arrays", "cacheable_values", "document_values", "same", "scalars", "text",
]  # fmt: skip
