"""Comparing, choosing and arranging values: those ops of the standard library.

What is equal and what comes first is decided here, not by Python's operators, for which True is 1
and an array has no truth. Nothing depends on the order in which a dict was filled.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from functools import cmp_to_key
from typing import Any, TypeVar

from invariant_dask.core.encode import describe
from invariant_dask.core.scalars import encode_str
from invariant_dask.ops.numeric import brief, integer, is_number, sequence, text

T = TypeVar("T")

MAX_RANGE = 10_000_000
"""Most items that `range` makes."""

_ORDERED = (str, bytes, dt.date, dt.time, dt.datetime, dt.timedelta)


# --- equality and order --------------------------------------------------------------------------


def same(a: Any, b: Any) -> bool:
    """Return whether two values are equal; numbers are compared across int, Decimal, Fraction."""
    if is_number(a) and is_number(b):
        return a == b
    for kind in (list, tuple):
        if isinstance(a, kind) and isinstance(b, kind):
            return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    # Whatever else there is, arrays and registered types: equal if nothing can tell them apart.
    return describe(a) == describe(b)


def compare(a: Any, b: Any) -> int:
    """Return a negative number, zero or a positive one: how `a` is ordered against `b`.

    Raises
    ------
    TypeError
        If there is no order between the two, as between text and a number.
    """
    if is_number(a) and is_number(b):
        return int(a > b) - int(a < b)
    if type(a) is type(b) and isinstance(a, _ORDERED):
        return int(a > b) - int(a < b)
    for kind in (list, tuple):
        if isinstance(a, kind) and isinstance(b, kind):
            for x, y in zip(a, b, strict=False):
                if order := compare(x, y):
                    return order
            return len(a) - len(b)
    msg = (
        f"there is no order between {type(a).__name__} and {type(b).__name__}; numbers, text, "
        "bytes, dates and lists of these can be compared, each with their like"
    )
    raise TypeError(msg)


def equal(a: Any, b: Any) -> bool:
    """Return whether a and b are equal: 1 equals Decimal("1.0"), and nothing equals True but it."""
    return same(a, b)


def not_equal(a: Any, b: Any) -> bool:
    """Return whether a and b are not equal."""
    return not same(a, b)


def less(a: Any, b: Any) -> bool:
    """Return whether a comes before b."""
    return compare(a, b) < 0


def less_or_equal(a: Any, b: Any) -> bool:
    """Return whether a comes before b or equals it."""
    return compare(a, b) <= 0


def greater(a: Any, b: Any) -> bool:
    """Return whether a comes after b."""
    return compare(a, b) > 0


def greater_or_equal(a: Any, b: Any) -> bool:
    """Return whether a comes after b or equals it."""
    return compare(a, b) >= 0


def minimum(a: Any = None, b: Any = None, items: list[Any] | None = None) -> Any:
    """Return the smaller of a and b, or the smallest of a list; the first of equal ones."""
    return _extreme("min", a, b, items, -1)


def maximum(a: Any = None, b: Any = None, items: list[Any] | None = None) -> Any:
    """Return the larger of a and b, or the largest of a list; the first of equal ones."""
    return _extreme("max", a, b, items, 1)


def _extreme(name: str, a: Any, b: Any, items: list[Any] | None, sign: int) -> Any:
    pair = [x for x in (a, b) if x is not None]
    if len(pair) != (2 if items is None else 0):
        msg = f"{name} takes either a and b, or items"
        raise TypeError(msg)
    values = pair if items is None else sequence(items, "items")
    if not values:
        msg = f"{name}: items is empty"
        raise ValueError(msg)
    best = values[0]
    for value in values:
        if compare(value, best) * sign > 0:
            best = value
    return best


# --- choosing ------------------------------------------------------------------------------------


def identity(value: T) -> T:
    """Return the value itself."""
    return value


def coalesce(values: list[Any]) -> Any:
    """Return the first of a list of values that is not None, or None."""
    return next((value for value in sequence(values, "values") if value is not None), None)


def if_else(condition: bool, then: Any, otherwise: Any) -> Any:
    """Return `then` if the condition is True, `otherwise` if it is False."""
    return then if _truth(condition, "condition") else otherwise


def not_(value: bool) -> bool:
    """Return the opposite of a bool."""
    return not _truth(value, "value")


def and_(a: bool, b: bool) -> bool:
    """Return whether both are True."""
    return _truth(a, "a") & _truth(b, "b")


def or_(a: bool, b: bool) -> bool:
    """Return whether at least one is True."""
    return _truth(a, "a") | _truth(b, "b")


def all_(items: list[bool]) -> bool:
    """Return whether no item of a list is False."""
    return all(_truths(items))


def any_(items: list[bool]) -> bool:
    """Return whether an item of a list is True."""
    return any(_truths(items))


# --- dictionaries --------------------------------------------------------------------------------


def dict_get(
    dict_obj: dict[str, T], key: str, default: T | None = None, required: bool = True
) -> Any:
    """Return what a dict holds under a key; for an absent one the default, if it is not None.

    With `required=False` an absent key gives the default even if that is None.
    """
    mapping = _mapping(dict_obj, "dict_obj")
    if key in mapping:
        return mapping[key]
    if default is None and required:
        raise KeyError(_no_key(mapping, key) + "; pass default=, or required=False for None")
    return default


def dict_merge(dicts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one dict of all entries; of equal keys the last wins."""
    merged: dict[str, Any] = {}
    for at, mapping in enumerate(sequence(dicts, "dicts")):
        merged |= _mapping(mapping, f"dicts[{at}]")
    return merged


def dict_set(dict_obj: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return the dict with one entry added or replaced."""
    return {**_mapping(dict_obj, "dict_obj"), text(key, "key"): value}


def dict_delete(dict_obj: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the dict without an entry, which must be there."""
    mapping = _mapping(dict_obj, "dict_obj")
    if key not in mapping:
        raise KeyError(_no_key(mapping, key))
    return {name: value for name, value in mapping.items() if name != key}


def dict_has(dict_obj: dict[str, Any], key: str) -> bool:
    """Return whether a dict has a key."""
    return key in _mapping(dict_obj, "dict_obj")


def dict_keys(dict_obj: dict[str, Any]) -> list[str]:
    """Return the keys of a dict in canonical order: shorter ones first, then bytewise."""
    return sorted(_mapping(dict_obj, "dict_obj"), key=encode_str)


def dict_values(dict_obj: dict[str, Any]) -> list[Any]:
    """Return the values of a dict in the order of `dict_keys`."""
    return [dict_obj[key] for key in dict_keys(dict_obj)]


def make_dict(**kwargs: Any) -> dict[str, Any]:
    """Return a dict of all parameters."""
    return kwargs


# --- sequences -----------------------------------------------------------------------------------


def make_list(items: list[T]) -> list[T]:
    """Return the items as a list."""
    return list(sequence(items, "items"))


def concat(parts: list[Any]) -> Any:
    """Return lists, tuples, texts or bytes, all of one kind, end to end."""
    parts = list(sequence(parts, "parts"))
    if not parts:
        return []
    for kind in (list, tuple, str, bytes):
        if all(isinstance(part, kind) for part in parts):
            if kind in {str, bytes}:
                return kind().join(parts)
            return kind(item for part in parts for item in part)
    kinds = ", ".join(sorted({type(part).__name__ for part in parts}))
    msg = f"parts are {kinds}; expected lists, tuples, texts or bytes, all of one kind"
    raise TypeError(msg)


def length(value: Any) -> int:
    """Return how many items, characters, bytes or entries a value has."""
    if not isinstance(value, Sized):
        raise TypeError(f"value is {type(value).__name__}, which has no length")
    return len(value)


def get_item(items: Sequence[Any], index: int) -> Any:
    """Return one item; a negative index counts from the end."""
    found, at = _indexable(items), integer(index, "index")
    if not -len(found) <= at < len(found):
        raise IndexError(f"index is {at}, but items has {len(found)}")
    return found[at]


def slice_(
    items: Sequence[T], start: int | None = None, stop: int | None = None, step: int | None = None
) -> Sequence[T]:
    """Return the items from start up to, but without, stop."""
    bounds = {"start": start, "stop": stop, "step": step}
    for name, bound in bounds.items():
        if bound is not None:
            integer(bound, name)
    return _indexable(items)[start:stop:step]


def sort(items: list[Any], reverse: bool = False, by: str | None = None) -> list[Any]:
    """Return the items in order, dicts by one of their keys; equal ones keep theirs."""
    values = sequence(items, "items")
    if by is None:
        return sorted(values, key=cmp_to_key(compare), reverse=_truth(reverse, "reverse"))
    for at, value in enumerate(values):
        if by not in _mapping(value, f"items[{at}]"):
            raise KeyError(f"items[{at}]: " + _no_key(value, by))
    key = cmp_to_key(compare)
    return sorted(values, key=lambda value: key(value[by]), reverse=_truth(reverse, "reverse"))


def unique(items: list[T]) -> list[T]:
    """Return the items without repetitions; 1 and Decimal(1) are two, as in every identity."""
    found: dict[bytes, T] = {}
    for item in sequence(items, "items"):
        found.setdefault(describe(item), item)
    return list(found.values())


def reverse_(items: Sequence[T]) -> Sequence[T]:
    """Return the items from last to first."""
    return _indexable(items)[::-1]


def flatten(items: list[Any], depth: int = 1) -> list[Any]:
    """Return the items of lists within a list, as many levels deep as asked."""
    flat = list(sequence(items, "items"))
    for _ in range(integer(depth, "depth")):
        if not any(isinstance(item, (list, tuple)) for item in flat):
            break
        flat = [x for item in flat for x in (item if isinstance(item, (list, tuple)) else (item,))]
    return flat


def zip_(lists: list[list[Any]]) -> list[list[Any]]:
    """Return the first items of all lists, then the second ones, ...; they must be equally long."""
    columns = [
        sequence(column, f"lists[{at}]") for at, column in enumerate(sequence(lists, "lists"))
    ]
    if len({len(column) for column in columns}) > 1:
        raise ValueError(f"lists have {', '.join(str(len(column)) for column in columns)} items")
    return [list(row) for row in zip(*columns, strict=True)]


def range_(stop: int, start: int = 0, step: int = 1) -> list[int]:
    """Return the ints from start up to, but without, stop."""
    if integer(step, "step") == 0:
        raise ValueError("step is 0")
    numbers = range(integer(start, "start"), integer(stop, "stop"), step)
    # Not len(): that fails for what does not fit a machine word.
    if numbers and abs(numbers[-1] - numbers[0]) // abs(numbers.step) >= MAX_RANGE:
        raise OverflowError(f"range of more than {MAX_RANGE} items")
    return list(numbers)


# --- checks --------------------------------------------------------------------------------------


def _truth(value: object, name: str) -> bool:
    if type(value) is not bool:
        msg = f"{name} is {brief(value)}, expected True or False"
        raise TypeError(msg)
    return value


def _truths(items: object) -> list[bool]:
    return [_truth(x, f"items[{at}]") for at, x in enumerate(sequence(items, "items"))]


def _indexable(value: Any) -> Sequence[Any]:
    if isinstance(value, list):
        return list(value)
    if not isinstance(value, (tuple, str, bytes)):
        raise TypeError(f"items is {type(value).__name__}, expected a list, tuple, text or bytes")
    return value


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        msg = f"{name} is {type(value).__name__}, expected a dict"
        raise TypeError(msg)
    return value


def _no_key(mapping: Mapping[str, Any], key: object) -> str:
    known: Iterable[str] = sorted(mapping, key=encode_str)[:20]
    return f"no key {key!r} in a dict of {len(mapping)} ({', '.join(map(repr, known))})"


OPS: dict[str, Callable[..., Any]] = {
    "all": all_,
    "and": and_,
    "any": any_,
    "coalesce": coalesce,
    "concat": concat,
    "dict_delete": dict_delete,
    "dict_get": dict_get,
    "dict_has": dict_has,
    "dict_keys": dict_keys,
    "dict_merge": dict_merge,
    "dict_set": dict_set,
    "dict_values": dict_values,
    "equal": equal,
    "flatten": flatten,
    "get_item": get_item,
    "greater": greater,
    "greater_or_equal": greater_or_equal,
    "identity": identity,
    "if_else": if_else,
    "length": length,
    "less": less,
    "less_or_equal": less_or_equal,
    "make_dict": make_dict,
    "make_list": make_list,
    "max": maximum,
    "min": minimum,
    "not": not_,
    "not_equal": not_equal,
    "or": or_,
    "range": range_,
    "reverse": reverse_,
    "slice": slice_,
    "sort": sort,
    "unique": unique,
    "zip": zip_,
}
