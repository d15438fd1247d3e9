"""The values of CEL: what operators and functions do with them.

Integers have 64 bits and overflow is an error; division truncates towards zero. `Decimal` comes in
through `decimal()` and mixes with integers. Everything else follows the language definition
(github.com/google/cel-spec), as far as it is defined there.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from decimal import Decimal, DecimalException
from typing import Any

from invariant_dask.errors import ExpressionError

_LEAST, _MOST = -(2**63), 2**63 - 1
_DIGITS = 20
_NUMBERS = (int, Decimal, float)
_LONGEST = 10_000_000


class TooLongError(ExpressionError):
    """An expression was stopped; no other part of it makes up for that."""


def fail(reason: str) -> ExpressionError:
    """Return the error for an expression that has no value."""
    return ExpressionError(reason)


def type_name(value: object) -> str:
    """Return what CEL calls the type of a value."""
    names = {
        bool: "bool", int: "int", float: "double", str: "string", bytes: "bytes",
        type(None): "null_type", list: "list", dict: "map", Decimal: "decimal",
    }  # fmt: skip
    opaque = getattr(value, "foreign_type", None)
    return names.get(type(value)) or opaque or type(value).__name__


def in_range(value: Any) -> Any:
    """Return a number, if it is not an integer of more than 64 bits."""
    if type(value) is int and not _LEAST <= value <= _MOST:
        raise fail("an integer of CEL has 64 bits, and this one overflows; use decimal()")
    return value


def _no_overload(symbol: str, a: Any, b: Any) -> ExpressionError:
    cure = ""
    kinds = {type(a), type(b)}
    if kinds in ({int, float}, {Decimal, float}):
        cure = '; write numbers with a fraction as decimal("0.5")'
    elif any(getattr(each, "foreign_type", None) for each in (a, b)):
        cure = "; expressions can only hand such a value on: work on it in an op"
    return fail(f"there is no {type_name(a)} {symbol} {type_name(b)}{cure}")


def _are_numbers(a: Any, b: Any) -> bool:
    kinds = {type(a), type(b)}
    return kinds <= {int, Decimal} or kinds == {float}


def add(a: Any, b: Any) -> Any:
    """Return `a + b`: of numbers, strings, bytes or lists."""
    if type(a) is int and type(b) is int:
        return in_range(a + b)
    if type(a) is type(b) and type(a) in (str, bytes, list):
        # A macro within a macro doubles what it is given, and there may be dozens.
        if len(a) + len(b) > _LONGEST:
            raise TooLongError(f"a {type_name(a)} of more than {_LONGEST:,} items or characters")
        return a + b
    if _are_numbers(a, b):
        return _exact(operator.add, a, b)
    raise _no_overload("+", a, b)


def subtract(a: Any, b: Any) -> Any:
    """Return `a - b`."""
    if not _are_numbers(a, b):
        raise _no_overload("-", a, b)
    return in_range(_exact(operator.sub, a, b))


def multiply(a: Any, b: Any) -> Any:
    """Return `a * b`."""
    if not _are_numbers(a, b):
        raise _no_overload("*", a, b)
    return in_range(_exact(operator.mul, a, b))


def divide(a: Any, b: Any) -> Any:
    """Return `a / b`; of integers, without the fraction."""
    if not _are_numbers(a, b):
        raise _no_overload("/", a, b)
    if b == 0 and type(b) is not float:
        raise fail("division by zero")
    if type(a) is int and type(b) is int:
        quotient = abs(a) // abs(b)
        return in_range(quotient if (a < 0) == (b < 0) else -quotient)
    if type(b) is float:
        return a / b if b else math.inf
    return _exact(operator.truediv, Decimal(a), Decimal(b))


def remainder(a: Any, b: Any) -> Any:
    """Return `a % b`, which has the sign of `a`."""
    if not _are_numbers(a, b) or type(a) is float:
        raise _no_overload("%", a, b)
    if b == 0:
        raise fail("modulus by zero")
    if type(a) is int and type(b) is int:
        left = abs(a) % abs(b)
        return left if a >= 0 else -left
    return _exact(operator.mod, Decimal(a), Decimal(b))


def _exact(operation: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    try:
        return operation(a, b)
    except DecimalException as error:
        name = type(error).__name__
        msg = f"{a} and {b}: the result is no exact decimal number ({name}); round with an op"
        raise fail(msg) from None


def negate(value: Any) -> Any:
    """Return `-value`."""
    if type(value) not in _NUMBERS:
        raise fail(f"there is no -{type_name(value)}")
    return in_range(-value)


def negation(value: Any) -> bool:
    """Return `!value`."""
    if type(value) is not bool:
        raise fail(f"there is no !{type_name(value)}; only a bool can be negated")
    return not value


def equal(a: Any, b: Any) -> bool:
    """Return `a == b`; null equals only itself, and other types must be the same."""
    if a is None or b is None:
        return a is None and b is None
    if type(a) is not type(b) and not _are_numbers(a, b):
        raise _no_overload("==", a, b)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    return bool(a == b)


def unequal(a: Any, b: Any) -> bool:
    """Return `a != b`."""
    return not equal(a, b)


def _ordering(symbol: str, compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def ordered(a: Any, b: Any) -> bool:
        same = type(a) is type(b) and type(a) in (str, bytes, bool)
        if not same and not _are_numbers(a, b):
            raise _no_overload(symbol, a, b)
        return compare(a, b)

    return ordered


less = _ordering("<", operator.lt)
at_most = _ordering("<=", operator.le)
greater = _ordering(">", operator.gt)
at_least = _ordering(">=", operator.ge)


def contains(item: Any, container: Any) -> bool:
    """Return `item in container`: of the items of a list, or the keys of a map."""
    if isinstance(container, dict):
        if type(item) not in (str, int):
            raise fail(f"there is no {type_name(item)} in map: its keys are strings and ints")
        return item in container
    if not isinstance(container, list):
        raise fail(f"there is no {type_name(item)} in {type_name(container)}")
    return any(_same(item, each) for each in container)


def _same(a: Any, b: Any) -> bool:
    try:
        return equal(a, b)
    except ExpressionError:
        return False


def item(value: Any, key: Any) -> Any:
    """Return `value[key]`."""
    if isinstance(value, list):
        if type(key) is not int:
            raise fail(f"a list is indexed by an int, not by a {type_name(key)}")
        if not 0 <= key < len(value):
            raise fail(f"there is no item {key} in a list of {len(value)}")
        return value[key]
    if isinstance(value, dict):
        if type(key) not in (str, int) or key not in value:
            raise fail(f"there is no key {key!r}; {_shown_keys(value)}")
        return value[key]
    raise fail(f"a {type_name(value)} has no items")


def field(value: Any, name: str) -> Any:
    """Return `value.name`: of a map."""
    if not isinstance(value, dict):
        raise fail(f"a {type_name(value)} has no field {name!r}")
    if name not in value:
        raise fail(f"there is no field {name!r}; {_shown_keys(value)}")
    return value[name]


def _shown_keys(value: dict[Any, Any]) -> str:
    names = ", ".join(map(repr, list(value)[:10]))
    return f"there are {names}" if names else "there are none"


# --- functions -----------------------------------------------------------------------------------


def size(value: Any) -> int:
    """Return the length of a string in characters, of bytes, a list or a map."""
    if type(value) not in (str, bytes, list, dict):
        raise fail(f"there is no size of a {type_name(value)}")
    return len(value)


def to_decimal(value: Any) -> Decimal:
    """Return the Decimal of an int or of text."""
    if isinstance(value, dict) and "value" in value:
        return to_decimal(value["value"])
    if type(value) is Decimal:
        return value
    if type(value) is int:
        return Decimal(value)
    if type(value) is not str:
        raise fail(f'there is no decimal() of a {type_name(value)}; write decimal("0.5")')
    try:
        number = Decimal(value)
    except DecimalException:
        raise fail(f"{value!r} is no decimal number") from None
    if not number.is_finite():
        raise fail(f"{value!r} is not finite")
    return number


def smaller(a: Any, b: Any) -> Any:
    """Return the smaller of two values; the second, where they are equal."""
    return a if less(_measure(a), _measure(b)) else b


def larger(a: Any, b: Any) -> Any:
    """Return the larger of two values; the second, where they are equal."""
    return a if greater(_measure(a), _measure(b)) else b


def _measure(value: Any) -> Any:
    while isinstance(value, dict) and "value" in value:
        value = value["value"]
    return value


def to_int(value: Any) -> int:
    """Return the int of text, or of a number without its fraction."""
    try:
        if type(value) is str:
            return int(in_range(int(value, 10)))
        if type(value) in _NUMBERS and not (type(value) is Decimal and value.adjusted() > _DIGITS):
            return int(in_range(int(value)))
    except (ValueError, OverflowError):
        raise fail(f"{value!r} is no int") from None
    shown = repr(value) if type(value) is Decimal else f"a {type_name(value)}"
    raise fail(f"there is no int() of {shown}")


def to_string(value: Any) -> str:
    """Return the text of a value."""
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is bytes:
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise fail("the bytes are not UTF-8") from None
    if type(value) not in (str, int, Decimal):
        raise fail(f"there is no string() of a {type_name(value)}")
    return str(value)


def to_double(value: Any) -> float:
    """Return the double of a number or text; no result may be one."""
    if type(value) not in (str, *_NUMBERS):
        raise fail(f"there is no double() of a {type_name(value)}")
    try:
        return float(value)
    except ValueError:
        raise fail(f"{value!r} is no number") from None


def to_bool(value: Any) -> bool:
    """Return the bool of text."""
    if type(value) is bool:
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise fail(f"there is no bool() of {value!r}")


def to_bytes(value: Any) -> bytes:
    """Return the UTF-8 form of text."""
    if type(value) is str:
        return value.encode()
    if type(value) is bytes:
        return value
    raise fail(f"there is no bytes() of a {type_name(value)}")


def _texts(name: str, *values: Any) -> None:
    for value in values:
        if type(value) is not str:
            raise fail(f"{name}() is for strings, not for a {type_name(value)}")


def text_contains(value: Any, part: Any) -> bool:
    _texts("contains", value, part)
    return part in value


def starts_with(value: Any, part: Any) -> bool:
    _texts("startsWith", value, part)
    return bool(value.startswith(part))


def ends_with(value: Any, part: Any) -> bool:
    _texts("endsWith", value, part)
    return bool(value.endswith(part))


def matches(value: Any, pattern: Any) -> bool:
    """Return whether a pattern is found in text: RE2's patterns, which take linear time."""
    import re2

    _texts("matches", value, pattern)
    try:
        return re2.search(pattern, value) is not None
    except re2.error as error:
        raise fail(f"{pattern!r} is no regular expression: {error}") from None


FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "bool": (1, to_bool),
    "bytes": (1, to_bytes),
    "decimal": (1, to_decimal),
    "double": (1, to_double),
    "int": (1, to_int),
    "matches": (2, matches),
    "max": (2, larger),
    "min": (2, smaller),
    "size": (1, size),
    "string": (1, to_string),
}
"""Functions by name, with the number of their arguments."""

METHODS: dict[str, tuple[int, Callable[..., Any]]] = {
    "contains": (2, text_contains),
    "endsWith": (2, ends_with),
    "matches": (2, matches),
    "size": (1, size),
    "startsWith": (2, starts_with),
}
"""Functions that are called as `value.name()`; the value is their first argument."""
