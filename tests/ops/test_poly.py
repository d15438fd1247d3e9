"""Polynomials: an immutable value with one form, and ops that keep to ints."""

from __future__ import annotations

import io
import pickle
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

import invariant_dask as inv
from invariant_dask.core.decode import decode
from invariant_dask.core.encode import encode
from invariant_dask.ops.poly import OPS, VERSIONS, Polynomial
from invariant_dask.ops.registry import OpRegistry

coefficients = st.lists(st.integers(-(10**6), 10**6), max_size=6)
wide = st.lists(st.integers(-(2**200), 2**200), max_size=6)
polynomials = coefficients.map(Polynomial)


def run(name, **params):
    return OPS[name](**params)


def stream_of(polynomial):
    stream = io.BytesIO()
    polynomial.to_stream(stream)
    return stream.getvalue()


# --- the type ------------------------------------------------------------------------------------


def test_zeros_at_the_end_make_no_difference():
    assert Polynomial([1, 2, 0, 0]).coefficients == (1, 2)
    assert Polynomial([1, 2, 0]) == Polynomial((1, 2))
    assert len({Polynomial([1]), Polynomial([1, 0])}) == 1


@pytest.mark.parametrize("given", [[], [0], [0, 0]])
def test_nothing_and_zeros_are_the_zero_polynomial(given):
    assert Polynomial(given).coefficients == (0,)


@pytest.mark.parametrize("bad", [True, Decimal(1), "1", None, 1.0])
def test_coefficients_are_ints_and_nothing_else(bad):
    with pytest.raises(TypeError, match=r"coefficients\[1\] is .*expected an int"):
        Polynomial([1, bad])


def test_a_polynomial_cannot_change():
    polynomial = Polynomial([1, 2])
    with pytest.raises(AttributeError, match="cannot change"):
        polynomial.coefficients = (3,)
    with pytest.raises(AttributeError, match="cannot change"):
        del polynomial.coefficients
    with pytest.raises(AttributeError):
        polynomial.other = 1


def test_it_shows_its_coefficients():
    assert repr(Polynomial((1, -2))) == "Polynomial([1, -2])"


def test_it_equals_no_list():
    assert Polynomial([1]) != [1]


@given(wide.map(Polynomial))
def test_streams_and_pickles_give_it_back(polynomial):
    data = stream_of(polynomial)
    back = Polynomial.from_stream(io.BytesIO(data))
    assert back == polynomial
    assert back.get_stable_hash() == polynomial.get_stable_hash()
    assert pickle.loads(pickle.dumps(polynomial)) == polynomial


@given(wide, wide)
def test_equal_hashes_mean_equal_polynomials(a, b):
    x, y = Polynomial(a), Polynomial(b)
    assert (x.get_stable_hash() == y.get_stable_hash()) == (x == y)


def test_the_form_of_streams_and_hashes_does_not_change():
    small = Polynomial([1, -2])
    assert stream_of(small).hex() == "0000000000000002" + "0000000000000001" + "ff" * 7 + "fe"
    # SHA-256 of "1,-2"
    expected = "36696405e97b33e6d59e446b45f5c8fab1b813f5f4eeb324a864cd67ea6fcf79"
    assert small.get_stable_hash() == expected
    wide = Polynomial([1, 2**63])
    assert stream_of(wide).hex() == (
        "8000000000000002" + "0000000000000001" + "01" + "0000000000000009" + "00" + "80" + "00" * 7
    )


def test_its_identity_does_not_depend_on_the_release_of_this_package():
    encoded = encode(Polynomial([1, 2]))
    assert b"invariant_dask.Polynomial" in encoded.identity
    assert inv.__version__.encode() not in encoded.identity
    assert decode(encoded.storage) == Polynomial([1, 2])


@pytest.mark.parametrize("cut", [0, 7, 8, 15])
def test_a_stream_that_ends_early_is_refused(cut):
    data = stream_of(Polynomial([1, 2]))[:cut]
    with pytest.raises(ValueError, match="ends after"):
        Polynomial.from_stream(io.BytesIO(data))


def test_a_stream_that_promises_too_much_is_refused():
    for data in (b"\x7f" + b"\xff" * 7, b"\xff" * 16):
        with pytest.raises(ValueError, match="ends after"):
            Polynomial.from_stream(io.BytesIO(data))


@given(wide.map(Polynomial))
def test_json_gives_it_back(polynomial):
    assert Polynomial.from_json_value(polynomial.to_json_value()) == polynomial


@pytest.mark.parametrize("bad", [{}, [1], {"coefficients": [1], "more": 2}])
def test_json_of_another_shape_is_refused(bad):
    with pytest.raises(ValueError, match="a polynomial in JSON is"):
        Polynomial.from_json_value(bad)


@pytest.mark.parametrize("bad", ["12", 1, [1.0]])
def test_json_with_other_coefficients_is_refused(bad):
    with pytest.raises(TypeError, match="coefficients"):
        Polynomial.from_json_value({"coefficients": bad})


def test_coefficients_longer_than_python_writes_by_default_are_fine():
    polynomial = Polynomial([10**5000])
    assert Polynomial.from_stream(io.BytesIO(stream_of(polynomial))) == polynomial
    assert repr(polynomial).endswith("000])")


# --- the ops -------------------------------------------------------------------------------------


def test_every_op_is_found_in_a_registry_and_says_what_it_does():
    registry = OpRegistry()
    for name, function in OPS.items():
        entry = registry.get(f"poly:{name}")
        assert entry.function is function
        assert entry.identity().kind == "version"
        assert function.__doc__.startswith("Return ")
    assert OPS.keys() >= VERSIONS.keys()
    assert "poly:add" not in OpRegistry(stdlib=False)


@pytest.mark.parametrize(
    ("name", "params", "result"),
    [
        ("from_coefficients", {"coefficients": [1, 2, 0]}, Polynomial([1, 2])),
        ("add", {"a": Polynomial([1, 2, 3]), "b": Polynomial([1])}, Polynomial([2, 2, 3])),
        ("add", {"a": Polynomial([1, 2]), "b": Polynomial([0, -2])}, Polynomial([1])),
        ("multiply", {"a": Polynomial([1, 1]), "b": Polynomial([-1, 1])}, Polynomial([-1, 0, 1])),
        ("multiply", {"a": Polynomial([1, 1]), "b": Polynomial([])}, Polynomial([0])),
        ("scale", {"poly": Polynomial([1, 2]), "scalar": 3}, Polynomial([3, 6])),
        ("scale", {"poly": Polynomial([1, 2]), "scalar": 0}, Polynomial([0])),
        ("derivative", {"poly": Polynomial([5, 3, 2])}, Polynomial([3, 4])),
        ("derivative", {"poly": Polynomial([5])}, Polynomial([0])),
        ("evaluate", {"poly": Polynomial([1, 2, 3]), "x": 2}, 17),
        ("evaluate", {"poly": Polynomial([1, 2]), "x": Decimal("0.25")}, Decimal("1.50")),
        ("evaluate", {"poly": Polynomial([1, 2]), "x": Fraction(1, 3)}, Fraction(5, 3)),
    ],
)
def test_results(name, params, result):
    found = run(name, **params)
    assert found == result
    assert type(found) is type(result)


@given(polynomials, polynomials, polynomials, st.integers(-50, 50))
def test_evaluation_respects_sums_and_products(p, q, r, x):
    left = run("multiply", a=run("add", a=p, b=q), b=r)
    right = run("add", a=run("multiply", a=p, b=r), b=run("multiply", a=q, b=r))
    assert left == right
    assert run("evaluate", poly=left, x=x) == (
        run("evaluate", poly=p, x=x) + run("evaluate", poly=q, x=x)
    ) * run("evaluate", poly=r, x=x)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("from_coefficients", {"coefficients": "12"}, "coefficients is str"),
        ("from_coefficients", {"coefficients": [True]}, r"coefficients\[0\] is bool"),
        ("add", {"a": [1], "b": Polynomial([1])}, "a is list .*expected a Polynomial"),
        ("scale", {"poly": Polynomial([1]), "scalar": True}, "scalar is bool"),
        ("scale", {"poly": Polynomial([1]), "scalar": Decimal(2)}, "scalar is Decimal"),
        ("evaluate", {"poly": Polynomial([1]), "x": True}, "booleans are not numbers"),
        ("evaluate", {"poly": Polynomial([1]), "x": 0.5}, "floats are not exact"),
    ],
)
def test_what_is_no_polynomial_or_no_number_is_refused(name, params, message):
    with pytest.raises(TypeError, match=message):
        run(name, **params)


def test_a_graph_of_polynomials_is_stored_and_read_back(tmp_path):
    graph = inv.Graph()
    p = graph.add("p", "poly:from_coefficients", coefficients=[1, 2])
    graph.add("sum", "poly:add", a=p, b=Polynomial([1]))
    store = inv.DiskStore(tmp_path)
    assert inv.compile(graph, ["sum"], store=store).compute() == Polynomial([2, 2])
    assert inv.compile(graph, ["sum"], store=store).compute() == Polynomial([2, 2])
