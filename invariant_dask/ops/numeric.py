"""Exact mathematics: the decimal context of all ops, and the number ops of the standard library.

Numbers are int, Decimal and Fraction; int with Decimal gives Decimal, anything with Fraction gives
Fraction. A result is exact or an error, whatever the ambient decimal context. Booleans are not
numbers here.
"""

from __future__ import annotations

import decimal
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeAlias, TypeGuard

Number: TypeAlias = int | Decimal | Fraction

_Operator = Callable[[Any, Any], Any]

DECIMAL_CONTEXT = decimal.Context(
    prec=100,
    rounding=decimal.ROUND_HALF_EVEN,
    Emin=-999_999,
    Emax=999_999,
    capitals=1,
    clamp=0,
    flags=[],
    traps=[
        decimal.InvalidOperation,
        decimal.DivisionByZero,
        decimal.Overflow,
        decimal.Underflow,
        decimal.Inexact,
    ],
)
"""The context in which every op runs: 100 digits, and an error instead of a rounded result."""

MAX_POWER_BITS = 1 << 23
"""Longest result of `power`, in bits: one mebibyte."""

MAX_EXPONENT = 100_000
"""Largest exponent of a Decimal that is written out in full as an integer or Fraction."""

_INEXACT = (
    "; turn an operand into a Fraction with stdlib:to_fraction, and the result into a Decimal "
    "with stdlib:round"
)


# --- what ops share ------------------------------------------------------------------------------


def is_number(value: object) -> TypeGuard[Number]:
    """Return whether a value is an int, Decimal or Fraction; a bool is none."""
    return type(value) in {int, Decimal, Fraction}


def brief(value: object) -> str:
    """Return kind and beginning of a value, for messages."""
    if type(value) is int and value.bit_length() > 200:
        # Writing it out could fail: the length of str(int) is limited.
        return f"int of {value.bit_length()} bits"
    return f"{type(value).__name__} {value!r:.60}"


def number(value: object, name: str) -> Number:
    """Return a value that must be a finite number; `name` is the parameter it came by."""
    if is_number(value):
        if type(value) is Decimal and not value.is_finite():
            msg = f"{name} is {value}, which is not a finite number"
            raise ValueError(msg)
        return value
    cure = {
        bool: "booleans are not numbers; turn it into one with stdlib:to_int",
        float: f"floats are not exact; pass Decimal('{value}') or a Fraction",
        str: "turn it into a number with stdlib:to_int, to_decimal or to_fraction",
    }.get(type(value), "expected an int, Decimal or Fraction")
    msg = f"{name} is {brief(value)}: {cure}"
    raise TypeError(msg)


def integer(value: object, name: str) -> int:
    """Return a value that must be an int and no bool."""
    if type(value) is not int:
        msg = f"{name} is {brief(value)}, expected an int"
        raise TypeError(msg)
    return value


def text(value: object, name: str) -> str:
    """Return a value that must be text."""
    if type(value) is not str:
        cure = "; use stdlib:to_str" if is_number(value) else ""
        msg = f"{name} is {brief(value)}, expected text{cure}"
        raise TypeError(msg)
    return value


def sequence(value: object, name: str) -> Sequence[Any]:
    """Return a value that must be a list or a tuple."""
    if not isinstance(value, (list, tuple)):
        msg = f"{name} is {type(value).__name__}, expected a list"
        raise TypeError(msg)
    return value


def as_fraction(value: Number) -> Fraction:
    """Return the same number as a Fraction.

    Raises
    ------
    OverflowError
        If it is a Decimal that would take millions of digits to write out.
    """
    if type(value) is Decimal:
        exponent = value.as_tuple().exponent
        if isinstance(exponent, int) and abs(exponent) > MAX_EXPONENT:
            msg = f"{value:.20g} has an exponent beyond {MAX_EXPONENT}, too large to write out"
            raise OverflowError(msg)
    return Fraction(value)


@contextmanager
def exact_decimals(what: str) -> Iterator[None]:
    """Run a block under `DECIMAL_CONTEXT`; inexact results become an error that names the cure."""
    try:
        with decimal.localcontext(DECIMAL_CONTEXT):
            yield
    except (decimal.Inexact, decimal.Overflow, decimal.Underflow):
        msg = f"{what} has no exact Decimal result of at most {DECIMAL_CONTEXT.prec} digits"
        raise ArithmeticError(msg + _INEXACT) from None


def _combine(name: str, a: object, b: object, function: _Operator) -> Number:
    """Apply an operator to two numbers of any kind, exactly."""
    x, y = number(a, "a"), number(b, "b")
    kinds = {type(x), type(y)}
    if kinds == {Decimal, Fraction}:
        x, y = as_fraction(x), as_fraction(y)
    result: Number
    if Decimal in kinds and Fraction not in kinds:
        with exact_decimals(name):
            result = function(x, y)
    else:
        result = function(x, y)
    return result


def _check_divisor(b: object, name: str) -> None:
    if number(b, "b") == 0:
        msg = f"{name}: b is zero"
        raise ZeroDivisionError(msg)


# --- ops -----------------------------------------------------------------------------------------


def add(a: Number, b: Number) -> Number:
    """Return a + b."""
    return _combine("add", a, b, operator.add)


def subtract(a: Number, b: Number) -> Number:
    """Return a - b."""
    return _combine("subtract", a, b, operator.sub)


def multiply(a: Number, b: Number) -> Number:
    """Return a * b."""
    return _combine("multiply", a, b, operator.mul)


def divide(a: Number, b: Number) -> Number:
    """Return a / b: of ints an int if it is whole, else a Fraction; of Decimals a Decimal."""
    _check_divisor(b, "divide")
    if type(a) is int and type(b) is int:
        ratio = Fraction(a, b)
        return ratio.numerator if ratio.denominator == 1 else ratio
    return _combine("divide", a, b, operator.truediv)


def floor_divide(a: Number, b: Number) -> int:
    """Return the largest int that is not above a / b."""
    _check_divisor(b, "floor_divide")
    if type(a) is int and type(b) is int:
        return a // b
    return as_fraction(number(a, "a")) // as_fraction(b)


def modulo(a: Number, b: Number) -> Number:
    """Return a - b * floor_divide(a, b), which has the sign of b."""
    return subtract(a, multiply(b, floor_divide(a, b)))


def power(base: Number, exponent: int) -> Number:
    """Return base to an int power: a negative one gives what `divide` would give."""
    x, n = number(base, "base"), integer(exponent, "exponent")
    if n < 0:
        return divide(1, power(x, -n))
    if type(x) is Decimal:
        sign, digits, _ = x.as_tuple()
        coefficient = (-1) ** sign * int(Decimal((0, digits, 0)))
        scale = int(x.as_tuple().exponent) * n
        if abs(scale) > decimal.MAX_EMAX:
            raise OverflowError("power: the result has too large an exponent")
        raised = Decimal(_bounded_power(coefficient, n))
        with exact_decimals("power"):
            # Unary plus applies the context, and so refuses what is too long.
            return +Decimal((raised.is_signed(), raised.as_tuple().digits, scale))
    if type(x) is Fraction:
        return Fraction(_bounded_power(x.numerator, n), _bounded_power(x.denominator, n))
    return _bounded_power(int(x), n)


def _bounded_power(base: int, exponent: int) -> int:
    if abs(base) > 1 and (base.bit_length() - 1) * exponent > MAX_POWER_BITS:
        msg = f"power: the result has more than {MAX_POWER_BITS} bits"
        raise OverflowError(msg)
    return int(base**exponent)


def negate(value: Number) -> Number:
    """Return the number with its sign turned."""
    # Decimal's own minus sign rounds to the ambient context.
    x = number(value, "value")
    if type(x) is Decimal:
        return x.copy_negate()
    return -x


def absolute(value: Number) -> Number:
    """Return the number without its sign."""
    x = number(value, "value")
    if type(x) is Decimal:
        return x.copy_abs()
    return x if x >= 0 else -x


def round_(value: Number, digits: int = 0) -> Number:
    """Return the number rounded half to even: an int stays one, all else becomes a Decimal."""
    x, digits = number(value, "value"), integer(digits, "digits")
    if abs(digits) > MAX_EXPONENT:
        msg = f"digits is {digits}, expected at most {MAX_EXPONENT}"
        raise OverflowError(msg)
    if isinstance(x, int):
        return int(round(x, digits)) if digits < 0 else x
    whole: int = round(as_fraction(x) * Fraction(10) ** digits)
    return Decimal((whole < 0, Decimal(abs(whole)).as_tuple().digits, -digits))


def floor(value: Number) -> int:
    """Return the largest int that is not above the number."""
    return as_fraction(number(value, "value")).__floor__()


def ceil(value: Number) -> int:
    """Return the smallest int that is not below the number."""
    return as_fraction(number(value, "value")).__ceil__()


def sum_(items: Sequence[Number]) -> Number:
    """Return the sum of a list of numbers; of an empty one 0."""
    return _fold(items, 0, add)


def product(items: Sequence[Number]) -> Number:
    """Return the product of a list of numbers; of an empty one 1."""
    return _fold(items, 1, multiply)


def _fold(
    items: Sequence[Number], start: int, combine: Callable[[Number, Number], Number]
) -> Number:
    numbers = [number(item, f"items[{at}]") for at, item in enumerate(sequence(items, "items"))]
    if any(type(x) is Fraction for x in numbers):
        # Here rather than on the way: whether a Decimal meets a Fraction early or late must not
        # decide whether the 100 digits are enough.
        numbers = [as_fraction(x) for x in numbers]
    total: Number = start
    for x in numbers:
        total = combine(total, x)
    return total


OPS: dict[str, Callable[..., object]] = {
    "absolute": absolute,
    "add": add,
    "ceil": ceil,
    "divide": divide,
    "floor": floor,
    "floor_divide": floor_divide,
    "modulo": modulo,
    "multiply": multiply,
    "negate": negate,
    "power": power,
    "product": product,
    "round": round_,
    "subtract": subtract,
    "sum": sum_,
}
