"""Parameters are read once, checked all at once, and ordered canonically."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import partial

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invariant_dask.errors import ParameterError, RegistrationError
from invariant_dask.ops.signature import Signature, signature_of
from invariant_dask.ops.types import cacheable


def blur(image, sigma=Decimal(2), *, edge="wrap"):
    return image, sigma, edge


def collect(first, **rest):
    return first, rest


def test_fields_are_in_the_order_of_their_encoded_keys():
    signature = signature_of("t:blur", blur)
    assert [name for name, _ in signature.fields] == ["edge", "image", "sigma"]
    assert [cbor2.loads(key) for _, key in signature.fields] == ["edge", "image", "sigma"]
    assert signature.required == {"image"}
    assert signature.defaults == {"sigma": Decimal(2), "edge": "wrap"}
    assert not signature.open


@given(st.sets(st.text("abcdefé_", min_size=1, max_size=30), max_size=8))
def test_the_order_is_that_of_deterministic_cbor(names):
    signature = Signature(names, {})
    plain = cbor2.dumps(dict.fromkeys(sorted(names), 0), canonical=True)
    assert [name for name, _ in signature.fields] == list(cbor2.loads(plain))


def test_bind_fills_defaults_in_and_orders_canonically():
    signature = signature_of("t:blur", blur)
    bound = signature.bind({"sigma": 5, "image": b"x"}, node="n", op="t:blur")
    assert list(bound.items()) == [("edge", "wrap"), ("image", b"x"), ("sigma", 5)]
    omitted = signature.bind({"image": 1}, node="n", op="t:blur")
    explicit = signature.bind(
        {"edge": "wrap", "sigma": Decimal(2), "image": 1}, node="n", op="t:blur"
    )
    assert list(omitted.items()) == list(explicit.items())


def test_an_op_with_keywords_takes_any_name_in_canonical_order():
    signature = signature_of("t:collect", collect)
    bound = signature.bind({"zz": 1, "first": 2, "b": 3, "not a name": 4}, node="n", op="t:c")
    assert list(bound) == ["b", "zz", "first", "not a name"]
    with pytest.raises(ParameterError, match="missing 'first'"):
        signature.check({"b": 1}, node="n", op="t:c")


def test_all_that_is_wrong_is_said_at_once():
    signature = signature_of("t:blur", blur)
    with pytest.raises(ParameterError) as caught:
        signature.check({"imgae": 1, "sgima": 2, "qqq": 3}, node="soft", op="t:blur")
    text = str(caught.value)
    assert "node 'soft'" in text
    assert "missing 'image'" in text
    assert "unknown 'imgae' (did you mean 'image'?)" in text
    assert "unknown 'sgima' (did you mean 'sigma'?)" in text
    assert "unknown 'qqq'" in text
    assert "op 't:blur' takes image, edge='wrap', sigma=Decimal('2')" in text


@pytest.mark.parametrize("params", [{}, {"image": 1, "surplus": 2}, {"sigma": 1}])
def test_missing_and_surplus_parameters_are_refused(params):
    with pytest.raises(ParameterError):
        signature_of("t:blur", blur).check(params, node="n", op="t:blur")


def test_parameter_names_that_are_not_text_are_refused():
    with pytest.raises(ParameterError, match="not 3"):
        signature_of("t:collect", collect).check({"first": 1, 3: 2}, node="n", op="t:c")


def test_an_op_without_parameters_says_so():
    with pytest.raises(ParameterError, match="takes no parameters"):
        signature_of("t:nothing", lambda: 1).check({"a": 1}, node="n", op="t:nothing")


def test_star_args_are_refused_with_the_cure():
    with pytest.raises(RegistrationError, match=r"takes \*images.*take a list instead"):
        signature_of("t:bad", lambda *images: images)


def test_positional_only_parameters_are_refused_with_the_cure():
    def bad(image, /):
        return image

    with pytest.raises(RegistrationError, match=r"'image' is positional-only.*drop the '/'"):
        signature_of("t:bad", bad)


def test_a_callable_without_readable_parameters_is_refused():
    with pytest.raises(RegistrationError, match="cannot be read; wrap it"):
        signature_of("t:bad", type("Opaque", (), {"__signature__": 3, "__call__": print})())


async def _coroutine(value):
    return value


def _generator(value):
    yield value


@pytest.mark.parametrize(
    ("function", "text"), [(_coroutine, "async function"), (_generator, "is a generator")]
)
def test_functions_that_do_not_return_values_are_refused(function, text):
    with pytest.raises(RegistrationError, match=text):
        signature_of("t:bad", function)


@pytest.mark.parametrize("default", [0.5, {1, 2}, [1, 2.5], object(), Decimal("NaN"), print])
def test_a_default_without_identity_is_refused_by_name(default):
    def bad(image, amount=default):
        return image, amount

    with pytest.raises(RegistrationError, match="the default of amount") as caught:
        signature_of("t:bad", bad)
    assert "t:bad" in str(caught.value)


def test_defaults_are_private_copies():
    shared = [1, [2]]

    def collect(items=shared):
        return items

    signature = signature_of("t:collect", collect)
    shared[1].append(3)
    assert signature.defaults == {"items": [1, [2]]}
    with pytest.raises(TypeError, match="finished artifact"):
        signature.defaults["items"].append(4)


def test_a_large_default_is_kept():
    def op(data=b"x" * 100_000):
        return data

    assert signature_of("t:op", op).defaults == {"data": b"x" * 100_000}


def test_a_default_of_a_registered_type_is_not_hashed_before_its_module_is_complete():
    seen = []

    @dataclass(frozen=True)
    class Size:
        width: int

    cacheable(Size, version="1", to_value=seen.append, from_value=Size)

    def op(sizes=[Size(3)]):  # noqa: B006
        return sizes

    assert signature_of("t:op", op).defaults == {"sizes": [Size(3)]}
    assert seen == []


def test_bound_arguments_of_a_partial_are_defaults_or_gone():
    assert signature_of("t:p", partial(blur, sigma=3)).defaults == {"sigma": 3, "edge": "wrap"}
    assert signature_of("t:p", partial(blur, 1)).names == {"sigma", "edge"}


def test_annotations_are_never_evaluated():
    namespace: dict[str, object] = {}
    exec(  # a module without `from __future__ import annotations`
        compile("def op(image: 'NotThere', size: 'AlsoNot' = 1): pass", "<t>", "exec"), namespace
    )
    assert signature_of("t:op", namespace["op"]).names == {"image", "size"}


def test_a_parameter_name_without_utf8_form_is_refused():
    with pytest.raises(ParameterError, match=r"node .n.: .*UTF-8 form, not .\\ud800"):
        signature_of("t:c", collect).bind({"first": 1, "\ud800": 2}, node="n", op="t:c")
