"""Values on their way into CEL and back.

Lists and tuples are lists, mappings are maps, and an object with a stable hash is a map of its
public attributes. Doubles may pass through, but never come out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any

from invariant_dask.core.files import FileContent
from invariant_dask.core.sealed import SealedDict, SealedList
from invariant_dask.core.types import ICacheable
from invariant_dask.errors import ExpressionError
from invariant_dask.graph.cel_values import in_range

_PLAIN = (bool, str, bytes, Decimal, type(None), float)


def to_cel(value: Any) -> Any:
    """Return what an expression sees of a value.

    Raises
    ------
    ExpressionError
        If an integer has more than 64 bits.
    """
    cls = type(value)
    if cls is int:
        return in_range(value)
    if cls in _PLAIN:
        return value
    if cls in (list, tuple, SealedList):
        return [to_cel(item) for item in value]
    if cls in (dict, SealedDict):
        return {key: to_cel(item) for key, item in value.items()}
    if cls is FileContent:
        return Opaque(value)  # where it lies is no part of its identity
    names = dict(_public(value))
    return names if names or isinstance(value, ICacheable) else Opaque(value)


class Opaque:
    """A value of a type that CEL does not know; it can only be handed on."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    @property
    def foreign_type(self) -> str:
        """What Python calls its type."""
        return type(self.value).__name__


def _public(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the public attributes of an object, as CEL sees them."""
    if is_dataclass(value) and not isinstance(value, type):
        for each in fields(value):
            if not each.name.startswith("_"):
                yield each.name, to_cel(getattr(value, each.name))
    if not isinstance(value, ICacheable):
        return
    for name in dir(value):
        if not name.startswith("_"):
            found = getattr(value, name, None)
            if not callable(found):
                yield name, to_cel(found)


def to_python(value: Any) -> Any:
    """Return the value of an expression as a parameter.

    A map with an entry `value` stands for that: so objects that hold one value can be named alone.

    Raises
    ------
    ExpressionError
        If it is, or has in it, a double.
    """
    if isinstance(value, dict) and "value" in value:
        value = value["value"]
    return _plain(value)


def _plain(value: Any) -> Any:
    if type(value) is float:
        msg = (
            f"the value is a double ({value!r}), whose digits are not the same everywhere; "
            'use decimal("0.5") for numbers with a fraction'
        )
        raise ExpressionError(msg)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        made = {key if type(key) is str else str(key): _plain(item) for key, item in value.items()}
        if len(made) < len(value):
            raise ExpressionError(
                "two keys of the map are the same text; parameters have text as keys"
            )
        return made
    return value.value if isinstance(value, Opaque) else value
