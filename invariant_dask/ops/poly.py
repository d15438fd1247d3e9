"""Polynomials with integer coefficients: the type, and the ops `poly:<name>`.

Names, parameters and results are those of the package `invariant`, whose polynomials are taken as
arguments too. Here coefficients are ints of any size and never booleans.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO, NoReturn, Protocol, Self, runtime_checkable

from invariant_dask.ops import numeric
from invariant_dask.ops.numeric import Number, integer, sequence
from invariant_dask.ops.stdlib import to_str
from invariant_dask.ops.types import cacheable

VERSION = "1"

VERSIONS: Mapping[str, str] = {}
"""Versions of those ops whose results have changed since the first release."""

_WORD = 8
"""Bytes of a number in a stream."""

_LONG = 1 << 63
"""Added to the count of coefficients where each of them is preceded by its length in bytes."""

_UPSTREAM = ("invariant.types", "Polynomial")


@cacheable(name="invariant_dask.Polynomial", version="1")
class Polynomial:
    """A polynomial, given by its coefficients: item `i` belongs to the power `i`.

    Zeros at the end are dropped, so that equal polynomials are equal values; the polynomial without
    any other coefficient is `Polynomial([0])`.

    Parameters
    ----------
    coefficients
        Ints.

    Raises
    ------
    TypeError
        If they are something else.

    Examples
    --------
    >>> Polynomial([1, 2, 0])
    Polynomial([1, 2])
    """

    __slots__ = ("coefficients",)

    coefficients: tuple[int, ...]

    def __init__(self, coefficients: Iterable[int]) -> None:
        given = [integer(c, f"coefficients[{at}]") for at, c in enumerate(coefficients)]
        while given and given[-1] == 0:
            given.pop()
        object.__setattr__(self, "coefficients", tuple(given) or (0,))

    def get_stable_hash(self) -> str:
        """Return the SHA-256 of the coefficients in decimal, with commas between them."""
        return hashlib.sha256(",".join(map(to_str, self.coefficients)).encode()).hexdigest()

    def to_stream(self, stream: BinaryIO) -> None:
        """Write the number of coefficients and each of them, as big-endian words of 8 bytes.

        If one of them does not fit, each is preceded by its length, and the first bit is set.
        """
        longest = max(_length_of(c) for c in self.coefficients)
        count = len(self.coefficients)
        stream.write((count if longest <= _WORD else count | _LONG).to_bytes(_WORD, "big"))
        for coefficient in self.coefficients:
            length = _WORD
            if longest > _WORD:
                length = _length_of(coefficient)
                stream.write(length.to_bytes(_WORD, "big"))
            stream.write(coefficient.to_bytes(length, "big", signed=True))

    @classmethod
    def from_stream(cls, stream: BinaryIO) -> Self:
        """Read what `to_stream` wrote.

        Raises
        ------
        ValueError
            If the stream ends too early.
        """
        count = int.from_bytes(_exactly(stream, _WORD), "big")
        long = count >= _LONG
        coefficients = []
        for _ in range(count & ~_LONG):
            length = int.from_bytes(_exactly(stream, _WORD), "big") if long else _WORD
            coefficients.append(int.from_bytes(_exactly(stream, length), "big", signed=True))
        return cls(coefficients)

    def to_json_value(self) -> dict[str, list[int]]:
        """Return what stands for the polynomial in JSON."""
        return {"coefficients": list(self.coefficients)}

    @classmethod
    def from_json_value(cls, obj: object) -> Self:
        """Return the polynomial that JSON stands for.

        Raises
        ------
        ValueError
            If it is not an object with `coefficients` and nothing else.
        """
        if not isinstance(obj, Mapping) or obj.keys() != {"coefficients"}:
            msg = f"a polynomial in JSON is {{'coefficients': [...]}}, not {obj!r:.80}"
            raise ValueError(msg)
        return cls(sequence(obj["coefficients"], "coefficients"))

    def __setattr__(self, name: str, _value: object = None) -> NoReturn:
        msg = f"a Polynomial cannot change ({name}); make a new one"
        raise AttributeError(msg)

    __delattr__ = __setattr__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Polynomial):
            return NotImplemented
        return self.coefficients == other.coefficients

    def __hash__(self) -> int:
        return hash(self.coefficients)

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[int, ...]]]:
        return type(self), (self.coefficients,)

    def __repr__(self) -> str:
        return f"Polynomial([{', '.join(map(to_str, self.coefficients))}])"


def _length_of(coefficient: int) -> int:
    """Return how many bytes an int takes with its sign."""
    return (coefficient if coefficient >= 0 else ~coefficient).bit_length() // 8 + 1


def _exactly(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(min(length, sys.maxsize))
    if len(data) != length:
        msg = f"a polynomial ends after {len(data)} of {length} bytes"
        raise ValueError(msg)
    return data


# --- ops -----------------------------------------------------------------------------------------


@runtime_checkable
class HasCoefficients(Protocol):
    """What the package `invariant` calls a polynomial."""

    @property
    def coefficients(self) -> tuple[int, ...]: ...


def from_coefficients(coefficients: list[int]) -> Polynomial:
    """Return the polynomial with a list of coefficients, that of the power 0 first."""
    return Polynomial(sequence(coefficients, "coefficients"))


def add(a: Polynomial | HasCoefficients, b: Polynomial | HasCoefficients) -> Polynomial:
    """Return a + b."""
    x, y = sorted((_polynomial(a, "a"), _polynomial(b, "b")), key=len)
    return Polynomial([*map(int.__add__, x, y), *y[len(x) :]])


def multiply(a: Polynomial | HasCoefficients, b: Polynomial | HasCoefficients) -> Polynomial:
    """Return a * b."""
    x, y = _polynomial(a, "a"), _polynomial(b, "b")
    product = [0] * (len(x) + len(y) - 1)
    for i, left in enumerate(x):
        for j, right in enumerate(y):
            product[i + j] += left * right
    return Polynomial(product)


def scale(poly: Polynomial | HasCoefficients, scalar: int) -> Polynomial:
    """Return the polynomial with each coefficient multiplied by an int."""
    factor = integer(scalar, "scalar")
    return Polynomial(c * factor for c in _polynomial(poly, "poly"))


def derivative(poly: Polynomial | HasCoefficients) -> Polynomial:
    """Return the derivative; that of a constant is 0."""
    return Polynomial([power * c for power, c in enumerate(_polynomial(poly, "poly"))][1:])


def evaluate(poly: Polynomial | HasCoefficients, x: Number) -> Number:
    """Return the value at x, exactly: an int at an int."""
    value: Number = 0
    for coefficient in reversed(_polynomial(poly, "poly")):
        value = numeric.add(numeric.multiply(value, x), coefficient)
    return value


def _polynomial(value: Any, name: str) -> tuple[int, ...]:
    cls = type(value)
    if cls is Polynomial:
        return value.coefficients  # type: ignore[no-any-return]
    if (cls.__module__, cls.__qualname__) == _UPSTREAM:
        return Polynomial(value.coefficients).coefficients
    msg = f"{name} is {numeric.brief(value)}, expected a Polynomial"
    raise TypeError(msg)


OPS: dict[str, Callable[..., Any]] = {
    "add": add,
    "derivative": derivative,
    "evaluate": evaluate,
    "from_coefficients": from_coefficients,
    "multiply": multiply,
    "scale": scale,
}
