"""The standard library of ops, `stdlib:<name>`: numbers, values and, here, text.

Every op is exact and has a declared version, so that a release of this package empties no cache;
a change of what an op returns raises its entry in `VERSIONS`.
"""

from __future__ import annotations

import datetime as dt
import decimal
import re
import string
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from invariant_dask.ops import numeric, values
from invariant_dask.ops.numeric import Number, exact_decimals, integer, number, sequence
from invariant_dask.ops.numeric import text as checked

VERSION = "1"

VERSIONS: Mapping[str, str] = {}
"""Versions of those ops whose results have changed since the first release."""

INLINE = frozenset({"identity", "dict_get", "get_item"})
"""Ops as good as free: evaluated while compiling, or inside each consumer."""

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)


# --- text ----------------------------------------------------------------------------------------


def join(items: list[str], separator: str = "") -> str:
    """Return texts end to end, with a separator between them."""
    texts = [checked(item, f"items[{at}]") for at, item in enumerate(sequence(items, "items"))]
    return checked(separator, "separator").join(texts)


def split(text: str, separator: str | None = None, limit: int = -1) -> list[str]:
    """Return the parts of a text between separators, by default between runs of white space."""
    if separator is not None and not checked(separator, "separator"):
        msg = "separator is empty; leave it out to split at white space"
        raise ValueError(msg)
    return checked(text, "text").split(separator, integer(limit, "limit"))


def replace(text: str, old: str, new: str) -> str:
    """Return the text with each `old` replaced by `new`."""
    if not checked(old, "old"):
        msg = "old is empty; there is nothing to replace"
        raise ValueError(msg)
    return checked(text, "text").replace(old, checked(new, "new"))


def upper(text: str) -> str:
    """Return the text in upper case."""
    return checked(text, "text").upper()


def lower(text: str) -> str:
    """Return the text in lower case."""
    return checked(text, "text").lower()


def strip(text: str, characters: str | None = None) -> str:
    """Return the text without white space, or the given characters, at its ends."""
    return checked(text, "text").strip(
        None if characters is None else checked(characters, "characters")
    )


def starts_with(text: str, prefix: str) -> bool:
    """Return whether a text starts with another."""
    return checked(text, "text").startswith(checked(prefix, "prefix"))


def ends_with(text: str, suffix: str) -> bool:
    """Return whether a text ends with another."""
    return checked(text, "text").endswith(checked(suffix, "suffix"))


def contains(text: str, part: str) -> bool:
    """Return whether a text is within another."""
    return checked(part, "part") in checked(text, "text")


def format_(template: str, **kwargs: Any) -> str:
    """Return the template with each `{name}` replaced by that parameter, as `to_str` writes it."""
    parts = []
    for literal, name, spec, conversion in string.Formatter().parse(checked(template, "template")):
        parts.append(literal)
        if name is None:
            continue
        if spec or conversion or not name.isidentifier():
            msg = f"template: only {{name}} is understood, not {{{name}{spec and ':' + spec}}}"
            raise ValueError(msg)
        if name not in kwargs:
            msg = (
                f"template: no parameter {name!r}; there are {', '.join(sorted(kwargs)) or 'none'}"
            )
            raise KeyError(msg)
        parts.append(to_str(kwargs[name]))
    return "".join(parts)


# --- conversions ---------------------------------------------------------------------------------


def to_str(value: Any) -> str:
    """Return a value as text: `true`, `12`, `0.10`, `1/3`, dates in ISO form."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        # str(int) is limited to some number of digits that a process can choose; Decimal's is not.
        return str(value) if value.bit_length() < 1000 else f"{Decimal(value):f}"
    if kind is Decimal:
        with decimal.localcontext(numeric.DECIMAL_CONTEXT):
            return str(number(value, "value"))
    if kind is Fraction:
        return f"{to_str(value.numerator)}/{to_str(value.denominator)}"
    if kind in {dt.date, dt.time, dt.datetime}:
        return value.isoformat()  # type: ignore[no-any-return]
    msg = f"value is {kind.__name__}, which has no single form as text"
    raise TypeError(msg)


def to_int(value: Number | str | bool) -> int:
    """Return an int: of a whole number, of decimal digits, of True (1) or False (0)."""
    if type(value) is bool:
        return int(value)
    if type(value) is str:
        text = value.strip(string.whitespace)
        if not _INTEGER.fullmatch(text):
            raise ValueError(_unreadable(value, "an int"))
        return int(Decimal(text))
    ratio = numeric.as_fraction(number(value, "value"))
    if ratio.denominator != 1:
        msg = f"value {to_str(value)} is not whole; use stdlib:floor, ceil or round"
        raise ValueError(msg)
    return ratio.numerator


def to_decimal(value: Number | str) -> Decimal:
    """Return a Decimal, exactly: of a number, or of text such as `0.10`, which keeps its zeros."""
    if type(value) is str:
        text = value.strip(string.whitespace)
        if not _DECIMAL.fullmatch(text):
            raise ValueError(_unreadable(value, "a Decimal"))
        with decimal.localcontext(numeric.DECIMAL_CONTEXT):
            return Decimal(text)
    x = number(value, "value")
    if type(x) is Fraction:
        with exact_decimals(f"to_decimal of {to_str(x):.60}"):
            return Decimal(x.numerator) / Decimal(x.denominator)
    return Decimal(x) if type(x) is int else x  # type: ignore[return-value]


def to_fraction(value: Number | str) -> Fraction:
    """Return a Fraction, exactly: of a number, or of text such as `1/3` or `0.1`."""
    if type(value) is str:
        above, slash, below = value.partition("/")
        if not slash:
            return numeric.as_fraction(to_decimal(value))
        divisor = to_int(below)
        if divisor == 0:
            raise ZeroDivisionError(f"value {value!r:.60} divides by zero")
        return Fraction(to_int(above), divisor)
    return numeric.as_fraction(number(value, "value"))


def _unreadable(text: str, kind: str) -> str:
    return f"value {text!r:.60} does not read as {kind}"


OPS: dict[str, Callable[..., Any]] = {
    **numeric.OPS,
    **values.OPS,
    "contains": contains,
    "ends_with": ends_with,
    "format": format_,
    "join": join,
    "lower": lower,
    "replace": replace,
    "split": split,
    "starts_with": starts_with,
    "strip": strip,
    "to_decimal": to_decimal,
    "to_fraction": to_fraction,
    "to_int": to_int,
    "to_str": to_str,
    "upper": upper,
}
