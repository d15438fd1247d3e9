"""`stdlib:` and `poly:` against the functions of the same names in `invariant`."""

from __future__ import annotations

import inspect
import io

import invariant.types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from invariant.ops import poly as their_poly
from invariant.ops import stdlib as their_stdlib

from invariant_dask.core.encode import encode
from invariant_dask.ops import poly, stdlib
from invariant_dask.ops.poly import Polynomial

ints = st.integers(-(10**30), 10**30)
decimals = st.decimals(-(10**9), 10**9, places=4)
scalars = st.none() | st.booleans() | ints | st.text(max_size=5) | decimals
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
names = st.text("abcdefgh", min_size=1, max_size=3)
coefficients = st.lists(st.integers(-(10**6), 10**6), max_size=6)
PACKAGES = {"stdlib": (stdlib.OPS, their_stdlib.OPS), "poly": (poly.OPS, their_poly.OPS)}


def plain(value):
    """Return polynomials of either kind as what they say of themselves."""
    if isinstance(value, Polynomial | invariant.types.Polynomial):
        return "polynomial", value.coefficients, value.get_stable_hash(), repr(value)
    return type(value), encode(value).identity


def same(package, name, **params):
    ours, theirs = PACKAGES[package]
    expected = plain(theirs[name](**params))
    assert plain(ours[name](**params)) == expected


@pytest.mark.parametrize("package", PACKAGES)
def test_every_op_is_there_and_takes_the_same_parameters(package):
    ours, theirs = PACKAGES[package]
    assert theirs.keys() <= ours.keys()
    for name, function in theirs.items():
        needed = inspect.signature(function).parameters
        offered = inspect.signature(ours[name]).parameters
        assert list(offered)[: len(needed)] == list(needed)
        added = list(offered.values())[len(needed) :]
        assert all(parameter.default is not parameter.empty for parameter in added)


@given(ints | decimals, ints | decimals)
def test_numbers_are_added_and_multiplied_alike(a, b):
    if len(str(a)) + len(str(b)) < 28:  # theirs rounds beyond that, ours never does
        same("stdlib", "add", a=a, b=b)
        same("stdlib", "multiply", a=a, b=b)


@given(values)
def test_a_value_is_handed_on_alike(value):
    same("stdlib", "identity", value=value)
    same("stdlib", "make_list", items=[value, 1])
    same("stdlib", "coalesce", values=[None, value, None])
    same("stdlib", "dict_get", dict_obj={"k": value}, key="k")


@given(st.dictionaries(names, values, max_size=4))
def test_dicts_are_made_alike(entries):
    same("stdlib", "make_dict", **entries)


def test_a_missing_key_is_the_same_kind_of_error():
    for package in (stdlib, their_stdlib):
        with pytest.raises(KeyError):
            package.OPS["dict_get"](dict_obj={"a": 1}, key="b")


@given(coefficients, coefficients, st.integers(-(10**6), 10**6))
def test_polynomials_are_combined_alike(a, b, x):
    same("poly", "from_coefficients", coefficients=a)
    p, q = invariant.types.Polynomial(a), invariant.types.Polynomial(b)
    # Theirs are taken by ours; what comes out is ours.
    same("poly", "add", a=p, b=q)
    same("poly", "multiply", a=p, b=q)
    same("poly", "scale", poly=p, scalar=x)
    same("poly", "derivative", poly=p)
    same("poly", "evaluate", poly=p, x=x)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=6))
def test_streams_and_json_are_the_same(given):
    ours, theirs = Polynomial(given), invariant.types.Polynomial(given)
    streams = io.BytesIO(), io.BytesIO()
    ours.to_stream(streams[0])
    theirs.to_stream(streams[1])
    assert streams[0].getvalue() == streams[1].getvalue()
    assert ours.to_json_value() == theirs.to_json_value()
    assert Polynomial.from_json_value(theirs.to_json_value()) == ours


# Where ours is stricter on purpose.
STRICTER = [
    ("stdlib", "add", {"a": True, "b": 1}),
    ("stdlib", "add", {"a": "1", "b": "2"}),
    ("stdlib", "add", {"a": [1], "b": [2]}),
    ("stdlib", "multiply", {"a": "ab", "b": 2}),
    ("stdlib", "make_list", {"items": "ab"}),
    ("stdlib", "make_list", {"items": {"a": 1}}),
    ("poly", "from_coefficients", {"coefficients": [True]}),
    ("poly", "scale", {"poly": invariant.types.Polynomial([1]), "scalar": True}),
    ("poly", "evaluate", {"poly": invariant.types.Polynomial([1]), "x": True}),
]


@pytest.mark.parametrize(("package", "name", "params"), STRICTER)
def test_what_is_no_number_or_no_list_is_refused_here_only(package, name, params):
    ours, theirs = PACKAGES[package]
    theirs[name](**params)
    with pytest.raises(TypeError):
        ours[name](**params)
