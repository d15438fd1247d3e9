"""The standard library: exact, the same in any surroundings, and clear about what it refuses."""

from __future__ import annotations

import datetime as dt
import decimal
import math
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from invariant_dask.core.encode import encode
from invariant_dask.core.sealed import SealedDict, SealedList
from invariant_dask.ops import OpRegistry
from invariant_dask.ops.numeric import DECIMAL_CONTEXT
from invariant_dask.ops.stdlib import INLINE, OPS, VERSIONS

D, F = Decimal, Fraction

small_decimals = st.decimals(-(10**9), 10**9, allow_nan=False, places=6)
numbers = st.integers(-(10**12), 10**12) | small_decimals | st.fractions(max_denominator=10**6)
nonzero = numbers.filter(lambda x: x != 0)

# What an ambient context may do to naive code: round, raise, or spell numbers differently.
HOSTILE = decimal.Context(
    prec=1, rounding=decimal.ROUND_UP, Emin=-1, Emax=1, capitals=0, clamp=1, traps=[decimal.Inexact]
)


def run(name, **params):
    return OPS[name](**params)


def exact(value):
    return type(value), value.as_tuple() if type(value) is Decimal else value


def outcome(name, params):
    try:
        result = run(name, **params)
    except (ArithmeticError, ValueError, TypeError) as error:
        return type(error), str(error)
    return encode(result).identity


# --- the table -----------------------------------------------------------------------------------


def test_every_op_can_be_registered_and_says_what_it_does():
    registry = OpRegistry()
    for name, function in OPS.items():
        assert registry.get(f"stdlib:{name}").function is function
        assert function.__doc__
        assert function.__doc__.startswith("Return ")
    assert OPS.keys() >= INLINE | VERSIONS.keys()


@pytest.mark.parametrize(
    ("name", "params", "result"),
    [
        ("identity", {"value": 3}, 3),
        ("add", {"a": 1, "b": 2}, 3),
        ("multiply", {"a": 3, "b": 2}, 6),
        ("dict_get", {"dict_obj": {"k": 1}, "key": "k"}, 1),
        ("make_dict", {"a": 1, "b": 2}, {"a": 1, "b": 2}),
        ("make_list", {"items": [1, 2]}, [1, 2]),
        ("coalesce", {"values": [None, 0, 1]}, 0),
        ("coalesce", {"values": [None]}, None),
    ],
)
def test_upstream_names_and_parameters_work(name, params, result):
    assert run(name, **params) == result


CASES = [
    ("subtract", {"a": 1, "b": D("0.10")}, D("0.90")),
    ("divide", {"a": 6, "b": 3}, 2),
    ("divide", {"a": 1, "b": 3}, F(1, 3)),
    ("divide", {"a": D(1), "b": D(8)}, D("0.125")),
    ("divide", {"a": 1, "b": D(8)}, D("0.125")),
    ("divide", {"a": D(1), "b": F(3)}, F(1, 3)),
    ("floor_divide", {"a": -7, "b": 2}, -4),
    ("floor_divide", {"a": D("-7.5"), "b": 2}, -4),
    ("modulo", {"a": -7, "b": 2}, 1),
    ("modulo", {"a": D("-7.5"), "b": D(2)}, D("0.5")),
    ("power", {"base": 2, "exponent": 10}, 1024),
    ("power", {"base": 2, "exponent": -2}, F(1, 4)),
    ("power", {"base": D("0.1"), "exponent": 3}, D("0.001")),
    ("power", {"base": D(0), "exponent": 0}, D(1)),
    ("negate", {"value": D("1.50")}, D("-1.50")),
    ("absolute", {"value": F(-1, 3)}, F(1, 3)),
    ("round", {"value": D("2.5")}, D(2)),
    ("round", {"value": D("0.125"), "digits": 2}, D("0.12")),
    ("round", {"value": F(2, 3), "digits": 4}, D("0.6667")),
    ("round", {"value": D("-0.4")}, D(0)),
    ("round", {"value": 25, "digits": -1}, 20),
    ("round", {"value": D(1250), "digits": -2}, D("1.2E+3")),
    ("floor", {"value": D("-0.5")}, -1),
    ("ceil", {"value": F(1, 3)}, 1),
    ("sum", {"items": []}, 0),
    ("sum", {"items": [1, D("0.10"), D("0.2")]}, D("1.30")),
    ("product", {"items": [2, F(1, 4)]}, F(1, 2)),
    ("product", {"items": []}, 1),
    ("min", {"a": 2, "b": D("1.5")}, D("1.5")),
    ("max", {"items": ["a", "b"]}, "b"),
    ("equal", {"a": 1, "b": D("1.0")}, True),
    ("equal", {"a": True, "b": 1}, False),
    ("equal", {"a": [1, True], "b": [1, 1]}, False),
    ("equal", {"a": (1,), "b": [1]}, False),
    ("equal", {"a": {"x": F(1, 2)}, "b": {"x": D("0.5")}}, True),
    ("equal", {"a": "1", "b": 1}, False),
    ("equal", {"a": None, "b": None}, True),
    ("not_equal", {"a": b"1", "b": "1"}, True),
    ("less", {"a": F(1, 3), "b": D("0.34")}, True),
    ("less_or_equal", {"a": "a", "b": "a"}, True),
    ("greater", {"a": [1, 2], "b": [1]}, True),
    ("greater_or_equal", {"a": dt.date(2020, 1, 1), "b": dt.date(2021, 1, 1)}, False),
    ("not", {"value": True}, False),
    ("and", {"a": True, "b": False}, False),
    ("or", {"a": True, "b": False}, True),
    ("all", {"items": []}, True),
    ("any", {"items": [False, True]}, True),
    ("if_else", {"condition": False, "then": 1, "otherwise": 2}, 2),
    ("dict_get", {"dict_obj": {}, "key": "k", "default": 3}, 3),
    ("dict_get", {"dict_obj": {}, "key": "k", "required": False}, None),
    ("dict_get", {"dict_obj": {"k": None}, "key": "k"}, None),
    ("dict_merge", {"dicts": [{"a": 1, "b": 1}, {"b": 2}]}, {"a": 1, "b": 2}),
    ("dict_set", {"dict_obj": {"a": 1}, "key": "b", "value": 2}, {"a": 1, "b": 2}),
    ("dict_delete", {"dict_obj": {"a": 1, "b": 2}, "key": "a"}, {"b": 2}),
    ("dict_has", {"dict_obj": {"a": None}, "key": "a"}, True),
    ("dict_keys", {"dict_obj": {"bb": 1, "c": 2, "a": 3}}, ["a", "c", "bb"]),
    ("dict_values", {"dict_obj": {"bb": 1, "c": 2, "a": 3}}, [3, 2, 1]),
    ("concat", {"parts": [[1], [2, 3]]}, [1, 2, 3]),
    ("concat", {"parts": [(1,), (2,)]}, (1, 2)),
    ("concat", {"parts": ["a", "b"]}, "ab"),
    ("concat", {"parts": [b"a", b"b"]}, b"ab"),
    ("concat", {"parts": []}, []),
    ("length", {"value": "abc"}, 3),
    ("length", {"value": {"a": 1}}, 1),
    ("get_item", {"items": [1, 2, 3], "index": -1}, 3),
    ("slice", {"items": [1, 2, 3, 4], "start": 1, "step": 2}, [2, 4]),
    ("slice", {"items": "abc", "stop": 2}, "ab"),
    ("sort", {"items": [3, D("1.5"), 2]}, [D("1.5"), 2, 3]),
    ("sort", {"items": ["b", "a"], "reverse": True}, ["b", "a"]),
    ("sort", {"items": [{"n": 2}, {"n": 1}], "by": "n"}, [{"n": 1}, {"n": 2}]),
    ("unique", {"items": [2, 1, 2, [1], [1]]}, [2, 1, [1]]),
    ("reverse", {"items": (1, 2)}, (2, 1)),
    ("flatten", {"items": [[1, [2]], 3]}, [1, [2], 3]),
    ("flatten", {"items": [[1, [2]], 3], "depth": 5}, [1, 2, 3]),
    ("zip", {"lists": [[1, 2], ["a", "b"]]}, [[1, "a"], [2, "b"]]),
    ("zip", {"lists": []}, []),
    ("range", {"stop": 3}, [0, 1, 2]),
    ("range", {"start": 5, "stop": 0, "step": -2}, [5, 3, 1]),
    ("join", {"items": ["a", "b"], "separator": "-"}, "a-b"),
    ("split", {"text": "a b  c"}, ["a", "b", "c"]),
    ("split", {"text": "a,b,c", "separator": ",", "limit": 1}, ["a", "b,c"]),
    ("replace", {"text": "aXbX", "old": "X", "new": "-"}, "a-b-"),
    ("upper", {"text": "aé"}, "AÉ"),
    ("lower", {"text": "AÉ"}, "aé"),
    ("strip", {"text": " a "}, "a"),
    ("strip", {"text": "xax", "characters": "x"}, "a"),
    ("starts_with", {"text": "abc", "prefix": "ab"}, True),
    ("ends_with", {"text": "abc", "suffix": "ab"}, False),
    ("contains", {"text": "abc", "part": "b"}, True),
    ("format", {"template": "{a}x{b} {{}}", "a": 3, "b": D("0.10")}, "3x0.10 {}"),
    ("to_str", {"value": True}, "true"),
    ("to_str", {"value": F(1, 3)}, "1/3"),
    ("to_str", {"value": dt.date(2020, 1, 2)}, "2020-01-02"),
    ("to_str", {"value": D("1E+5")}, "1E+5"),
    ("to_int", {"value": " -12 "}, -12),
    ("to_int", {"value": D("3.00")}, 3),
    ("to_int", {"value": True}, 1),
    ("to_decimal", {"value": "0.10"}, D("0.10")),
    ("to_decimal", {"value": F(1, 8)}, D("0.125")),
    ("to_decimal", {"value": 3}, D(3)),
    ("to_fraction", {"value": "1/3"}, F(1, 3)),
    ("to_fraction", {"value": "0.25"}, F(1, 4)),
]


@pytest.mark.parametrize(("name", "params", "result"), CASES)
def test_results_to_the_last_bit(name, params, result):
    # Encoded, so that 1, True and Decimal(1), or 1.0 and 1.00, are told apart.
    assert encode(run(name, **params)).identity == encode(result).identity


@pytest.mark.parametrize(("name", "params", "result"), CASES)
def test_results_do_not_depend_on_the_ambient_decimal_context(name, params, result):
    with decimal.localcontext(HOSTILE):
        actual = run(name, **params)
    assert encode(actual).identity == encode(result).identity


@pytest.mark.parametrize(("name", "params", "result"), CASES)
def test_sealed_containers_are_taken_like_plain_ones(name, params, result):
    sealed = {key: seal(value) for key, value in params.items()}
    assert encode(run(name, **sealed)).identity == encode(result).identity


def seal(value):
    if type(value) is list:
        return SealedList(map(seal, value))
    if type(value) is dict:
        return SealedDict({key: seal(item) for key, item in value.items()})
    return value


def test_every_op_has_a_case():
    covered = {name for name, _, _ in CASES}
    assert covered >= OPS.keys() - {
        "identity",
        "add",
        "multiply",
        "make_dict",
        "make_list",
        "coalesce",
    }


# --- exactness -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["add", "subtract", "multiply"])
@given(a=numbers, b=numbers)
def test_arithmetic_agrees_with_that_of_fractions(name, a, b):
    operator = {"add": F.__add__, "subtract": F.__sub__, "multiply": F.__mul__}[name]
    result = run(name, a=a, b=b)
    assert F(result) == operator(F(a), F(b))
    kinds = {type(a), type(b)}
    assert type(result) is (F if F in kinds else D if D in kinds else int)


@given(a=numbers, b=nonzero)
@example(a=D(1), b=D(3))
def test_division_is_exact_or_an_error(a, b):
    quotient = F(a) / F(b)
    in_decimals = {type(a), type(b)} in ({D}, {D, int})
    if in_decimals and not _terminates(quotient):
        with pytest.raises(ArithmeticError, match="stdlib:to_fraction"):
            run("divide", a=a, b=b)
    else:
        # With at most 16 digits on either side, what terminates does so within 100 digits.
        result = run("divide", a=a, b=b)
        assert F(result) == quotient
        assert type(result) is D or not in_decimals


def _terminates(ratio):
    rest = ratio.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


@given(a=numbers, b=nonzero)
def test_floor_division_and_modulo_belong_together(a, b):
    quotient, rest = run("floor_divide", a=a, b=b), run("modulo", a=a, b=b)
    assert type(quotient) is int
    assert quotient == math.floor(F(a) / F(b))
    assert F(rest) == F(a) - F(b) * quotient
    assert abs(F(rest)) < abs(F(b))
    assert rest == 0 or (rest > 0) == (b > 0)


@given(base=st.integers(-99, 99) | st.decimals(-99, 99, places=2), exponent=st.integers(0, 12))
def test_powers_agree_with_those_of_fractions(base, exponent):
    result = run("power", base=base, exponent=exponent)
    assert F(result) == F(base) ** exponent
    assert type(result) is type(base)


@given(value=numbers, digits=st.integers(-3, 8))
def test_rounding_is_half_to_even(value, digits):
    result = run("round", value=value, digits=digits)
    assert F(result) == round(F(value) * F(10) ** digits) / F(10) ** digits or (
        type(value) is int and digits >= 0 and result == value
    )
    if type(value) is not int:
        assert result.as_tuple().exponent == -digits


@given(st.lists(numbers, max_size=8), st.randoms())
def test_sums_do_not_depend_on_order(items, random):
    shuffled = random.sample(items, len(items))
    assert exact(run("sum", items=items)) == exact(run("sum", items=shuffled))
    assert F(run("sum", items=items)) == sum(map(F, items), F(0))


@given(st.lists(numbers, min_size=1))
def test_order_across_kinds_of_numbers(items):
    result = run("sort", items=items)
    assert list(map(F, result)) == sorted(map(F, items))
    assert run("min", items=items) == result[0]
    assert run("max", items=items) == result[-1]


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "modulo"])
@given(a=numbers, b=nonzero)
def test_arithmetic_does_not_depend_on_the_ambient_context(name, a, b):
    calm = outcome(name, {"a": a, "b": b})
    with decimal.localcontext(HOSTILE):
        assert outcome(name, {"a": a, "b": b}) == calm


def test_a_hundred_digits_fit_and_one_more_is_an_error_that_names_the_cure():
    long = D("9" * 100)
    assert run("add", a=long, b=0) == long
    assert DECIMAL_CONTEXT.prec == 100
    with pytest.raises(ArithmeticError, match=r"at most 100 digits.*stdlib:to_fraction"):
        run("add", a=long, b=D("0.1"))
    assert run("add", a=F(long), b=D("0.1")) == F(long) + F(1, 10)


def test_the_context_is_never_changed_by_use():
    for _ in range(2):
        with pytest.raises(ArithmeticError):
            run("divide", a=D(1), b=D(3))
    assert not any(DECIMAL_CONTEXT.flags.values())


# --- text and numbers ----------------------------------------------------------------------------


@given(st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.fractions())
def test_numbers_as_text_come_back(value):
    back = {int: "to_int", D: "to_decimal", F: "to_fraction"}[type(value)]
    assert exact(run(back, value=run("to_str", value=value))) == exact(value)


def test_long_ints_pass_whatever_the_limit_of_the_process():
    code = (
        "from invariant_dask.ops.stdlib import to_str, to_int, to_decimal\n"
        "n = 7 ** 9000\n"
        "assert to_int(to_str(n)) == n and to_int(to_decimal(to_str(n))) == n\n"
        "print(to_str(n)[:5])"
    )
    done = subprocess.run(
        [sys.executable, "-X", "int_max_str_digits=640", "-c", code],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip()) == 5


@pytest.mark.parametrize("text", ["", "1_000", "١٢", "1.5", "0x10", "--1", "1 2"])
def test_only_plain_digits_are_an_int(text):
    with pytest.raises(ValueError, match="does not read as an int"):
        run("to_int", value=text)


@pytest.mark.parametrize("text", ["", "NaN", "Infinity", "1_0", "1e", ".", "٣"])
def test_only_plain_finite_numbers_are_a_decimal(text):
    with pytest.raises(ValueError, match="does not read as a Decimal"):
        run("to_decimal", value=text)


def test_a_fraction_without_exact_decimal_is_refused_with_the_cure():
    with pytest.raises(ArithmeticError, match="stdlib:round"):
        run("to_decimal", value=F(1, 3))


@given(st.lists(st.text("ab,", max_size=4), min_size=1))
def test_join_undoes_split(parts):
    text = ",".join(parts)
    assert run("join", items=run("split", text=text, separator=","), separator=",") == text


@given(st.lists(st.integers(0, 3) | st.sampled_from(["a", D(1), True])))
def test_unique_keeps_the_first_of_each(items):
    result = run("unique", items=items)
    keys = [encode(item).identity for item in items]
    assert [encode(item).identity for item in result] == list(dict.fromkeys(keys))


@given(st.dictionaries(st.text(max_size=4), st.integers()), st.randoms())
def test_dict_ops_do_not_depend_on_how_a_dict_was_filled(mapping, random):
    assume(len(mapping) > 1)
    shuffled = dict(random.sample(list(mapping.items()), len(mapping)))
    for name in ("dict_keys", "dict_values"):
        assert run(name, dict_obj=mapping) == run(name, dict_obj=shuffled)


# --- what is given is never changed --------------------------------------------------------------


def test_inputs_are_never_changed():
    mapping, items = {"a": 1}, [3, 1, 2]
    run("dict_set", dict_obj=mapping, key="b", value=2)
    run("dict_merge", dicts=[mapping, {"c": 1}])
    run("dict_delete", dict_obj=mapping, key="a")
    run("sort", items=items)
    run("reverse", items=items)
    run("make_list", items=items).append(4)
    run("flatten", items=items).append(4)
    run("concat", parts=[items, items])
    assert mapping == {"a": 1}
    assert items == [3, 1, 2]


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "params", "error", "text"),
    [
        ("add", {"a": True, "b": 1}, TypeError, "a is bool True: booleans are not numbers"),
        ("add", {"a": 1, "b": 0.5}, TypeError, r"pass Decimal\('0.5'\)"),
        ("add", {"a": "1", "b": 2}, TypeError, "stdlib:to_int"),
        ("add", {"a": None, "b": 2}, TypeError, "expected an int, Decimal or Fraction"),
        ("add", {"a": D("NaN"), "b": 2}, ValueError, "not a finite number"),
        ("sum", {"items": [1, True]}, TypeError, r"items\[1\] is bool"),
        ("sum", {"items": 3}, TypeError, "items is int, expected a list"),
        ("divide", {"a": 1, "b": 0}, ZeroDivisionError, "divide: b is zero"),
        ("divide", {"a": 1, "b": D("0.0")}, ZeroDivisionError, "b is zero"),
        ("floor_divide", {"a": 1, "b": F(0)}, ZeroDivisionError, "b is zero"),
        ("modulo", {"a": 1, "b": 0}, ZeroDivisionError, "b is zero"),
        ("power", {"base": 0, "exponent": -1}, ZeroDivisionError, "b is zero"),
        ("power", {"base": 2, "exponent": D(2)}, TypeError, "exponent is Decimal"),
        ("power", {"base": 10, "exponent": 10**9}, OverflowError, "more than"),
        ("power", {"base": D("1.1"), "exponent": 10**9}, OverflowError, "more than"),
        ("power", {"base": D("1E+5"), "exponent": 10**30}, OverflowError, "too large an exponent"),
        ("power", {"base": D("1.1"), "exponent": 200}, ArithmeticError, "100 digits"),
        ("to_fraction", {"value": "1e999999999"}, OverflowError, "too large to write out"),
        ("floor", {"value": D("1e-999999999")}, OverflowError, "too large to write out"),
        ("round", {"value": D(1), "digits": 10**9}, OverflowError, "digits"),
        ("to_int", {"value": D("1.5")}, ValueError, "not whole.*stdlib:floor"),
        ("to_str", {"value": None}, TypeError, "NoneType"),
        ("to_str", {"value": [1]}, TypeError, "list"),
        ("to_fraction", {"value": "1/0"}, ZeroDivisionError, "divides by zero"),
        ("min", {}, TypeError, "either a and b, or items"),
        ("min", {"a": 1}, TypeError, "either a and b, or items"),
        ("min", {"a": 1, "b": 2, "items": [1]}, TypeError, "either a and b, or items"),
        ("max", {"items": []}, ValueError, "items is empty"),
        ("less", {"a": 1, "b": "a"}, TypeError, "no order between int and str"),
        ("less", {"a": True, "b": False}, TypeError, "no order between bool and bool"),
        ("sort", {"items": [1, "a"]}, TypeError, "no order"),
        ("sort", {"items": [{"a": 1}], "by": "b"}, KeyError, "no key 'b'"),
        ("and", {"a": 1, "b": True}, TypeError, "a is int 1, expected True or False"),
        ("all", {"items": [False, 1]}, TypeError, r"items\[1\]"),
        ("if_else", {"condition": None, "then": 1, "otherwise": 2}, TypeError, "condition"),
        ("dict_get", {"dict_obj": {"a": 1}, "key": "b"}, KeyError, r"no key 'b'.*\('a'\)"),
        ("dict_get", {"dict_obj": [1], "key": "b"}, TypeError, "expected a dict"),
        ("dict_delete", {"dict_obj": {}, "key": "b"}, KeyError, "no key 'b'"),
        ("dict_set", {"dict_obj": {}, "key": 1, "value": 1}, TypeError, "key is int"),
        ("dict_merge", {"dicts": [{}, 3]}, TypeError, r"dicts\[1\] is int"),
        ("coalesce", {"values": 3}, TypeError, "expected a list"),
        ("concat", {"parts": [[1], "a"]}, TypeError, "parts are list, str"),
        ("length", {"value": 3}, TypeError, "has no length"),
        ("get_item", {"items": [1], "index": 1}, IndexError, "index is 1, but items has 1"),
        ("get_item", {"items": [1], "index": True}, TypeError, "expected an int"),
        ("get_item", {"items": {}, "index": 0}, TypeError, "expected a list"),
        ("slice", {"items": [1], "start": "0"}, TypeError, "start is str"),
        ("zip", {"lists": [[1], []]}, ValueError, "1, 0 items"),
        ("range", {"stop": 10**30}, OverflowError, "range of more than"),
        ("range", {"stop": 1, "step": 0}, ValueError, "step is 0"),
        ("join", {"items": ["a", 1]}, TypeError, r"items\[1\] is int 1.*stdlib:to_str"),
        ("split", {"text": "a", "separator": ""}, ValueError, "separator is empty"),
        ("replace", {"text": "a", "old": "", "new": "b"}, ValueError, "old is empty"),
        ("upper", {"text": b"a"}, TypeError, "text is bytes"),
        ("format", {"template": "{x}"}, KeyError, "no parameter 'x'"),
        ("format", {"template": "{x.__class__}", "x": 1}, ValueError, "only {name}"),
        ("format", {"template": "{x:>9}", "x": 1}, ValueError, "only {name}"),
        ("format", {"template": "{x!r}", "x": 1}, ValueError, "only {name}"),
        ("format", {"template": "{}", "x": 1}, ValueError, "only {name}"),
    ],
)
def test_what_is_refused_and_why(name, params, error, text):
    with pytest.raises(error, match=text):
        run(name, **params)
