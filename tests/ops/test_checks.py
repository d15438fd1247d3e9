"""What fits a type hint, and what does not."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import numbers
import os
import typing
from collections import abc
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Protocol, TypedDict, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
import pytest

from invariant_dask import ICacheable, cacheable, ref
from invariant_dask.core.sealed import SealedDict, SealedList
from invariant_dask.ops.checks import check
from invariant_dask.ops.contracts import contract_of, unread_hints


@cacheable(version="1")
@dataclass(frozen=True)
class Point:
    x: int


class Unregistered:
    pass


class Mode(enum.IntEnum):
    FAST = 1


class Pair(typing.NamedTuple):
    a: int
    b: int


class Size(TypedDict):
    w: int
    h: typing.NotRequired[int]


@runtime_checkable
class HasX(Protocol):
    x: int


class Unseen(Protocol):
    y: int


Count = NewType("Count", int)
T = TypeVar("T")
Bounded = TypeVar("Bounded", bound=int)
Chosen = TypeVar("Chosen", int, str)
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

# ruff: noqa: UP006, UP007, UP045  old spellings are hints too

FITS = [
    (None, None), (True, bool), (1, int), ("a", str), (b"a", bytes), (b"a", bytearray),
    (Decimal(1), Decimal), (1, Decimal), (Fraction(1, 2), Fraction), (1, Fraction),
    (Decimal("0.5"), float), (1, complex), (NOW, dt.datetime), (NOW, dt.date),
    (NOW.date(), dt.date), (NOW.time(), dt.time), (dt.timedelta(1), dt.timedelta),
    ([1], list), ((1,), list), ([1], tuple), (SealedList([1]), list[int]),
    ([1, "a"], tuple[int, str]), ((1, 2), tuple[int, ...]), ((1, 2), list[int]), ((), tuple[()]),
    ({"a": [1]}, dict[str, list[int]]), (SealedDict(a=1), dict), ({"a": 1}, abc.Mapping[str, int]),
    ([1], abc.Sequence[int]), ("ab", abc.Sequence[str]), (b"ab", abc.Sequence[int]),
    ([1], abc.Iterable[int]), ({"a": 1}, abc.Collection), ([], typing.List), ([], typing.Tuple),
    ([1], collections.deque), ({}, collections.OrderedDict), ({}, collections.Counter),
    (None, int | None), (1, typing.Optional[int]), (1, typing.Union[int, str]),
    ("a", Literal["a", 1]), (1, Literal["a", 1]), (object(), Any), ([], object), ([], abc.Hashable),
    (1, T), (1, Bounded), ("a", Chosen), (1, Annotated[int, "x"]), (1, Count),
    (Point(1), Point), (Point(1), HasX), (Point(1), Unseen), (1, Unseen), (1, Mode),
    ([1, 2], Pair), ({"w": 1}, Size), ({"w": 1, "h": 2, "z": 3}, Size),
    (np.zeros(2), np.ndarray), (np.zeros(2), npt.NDArray[np.float64]), (np.zeros(2), npt.ArrayLike),
    (1, np.int64), (1, numbers.Number), (Decimal(1), numbers.Real), ("a/b", Path),
    ("a/b", str | os.PathLike[str]), ([1], set[int]), (1, abc.Callable[[int], int]),
    (1, abc.Iterator[int]), (1, typing.Self), (1, "never evaluated"), (1, 12),
]  # fmt: skip

DOES_NOT = [
    (0, None, "it must be None, not the int 0"),
    (1, bool, "it must be bool, not the int 1"),
    (True, int, "it must be int, not the bool True"),
    ("1", int, "it must be int, not the str '1'"),
    (Decimal(1), int, "it must be int, not the Decimal 1"),
    (Fraction(1, 2), Decimal, "it must be decimal.Decimal, not the Fraction 1/2"),
    ("x" * 100, int, f"it must be int, not the str '{'x' * 40}'..."),
    (10**1000, str, "it must be str, not an int of 3322 bits"),
    (b"a", str, "it must be str, not the bytes b'a'"),
    (NOW.date(), dt.datetime, "it must be datetime.datetime, not a datetime.date"),
    ({}, list, "it must be list, not a dict of 0"),
    ("ab", list[str], "it must be list[str], not the str 'ab'"),
    ("ab", abc.Sequence[int], "it must be collections.abc.Sequence[int], not the str 'ab'"),
    ([1, "2"], list[int], "[1] must be int, not the str '2'"),
    ([1], tuple[int, str], "it must be tuple[int, str], not a list of 1"),
    ([1, 2], tuple[int, str], "[1] must be str, not the int 2"),
    ({"a": [1, None]}, dict[str, list[int]], "['a'][1] must be int, not None"),
    ({"a": 1}, dict[int, int], " key 'a' must be int, not the str 'a'"),
    ([], dict, "it must be dict, not a list of 0"),
    (1, str | None, "it must be str | None, not the int 1"),
    ([1, "a"], list[int] | None, "[1] must be int, not the str 'a'"),
    (True, Literal[1], "it must be Literal[1], not the bool True"),
    ("b", Literal["a"], "it must be Literal['a'], not the str 'b'"),
    ("a", Bounded, "it must be int, not the str 'a'"),
    (None, Chosen, "it must be Union[int, str], not None"),
    ("a", Count, "it must be int, not the str 'a'"),
    ("a", Annotated[int, "x"], "it must be int, not the str 'a'"),
    ({"x": 1}, Point, "it must be {module}.Point, not a dict of 1"),
    (Point(1), int, "it must be int, not a {module}.Point"),
    (1, Unregistered, "it must be {module}.Unregistered, not the int 1"),
    (1, HasX, "it must be {module}.HasX, not the int 1"),
    ("a", Mode, "it must be {module}.Mode, not the str 'a'"),
    ({"h": 1}, Size, "it must be {module}.Size with a 'w', not a dict of 1"),
    ({"w": "1"}, Size, "['w'] must be int, not the str '1'"),
    (1, ICacheable, "it must be invariant_dask.core.types.ICacheable, not the int 1"),
    ([1], np.ndarray, "it must be numpy.ndarray, not a list of 1"),
    (1, Path, "it must be pathlib.Path, not the int 1"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "hint"), FITS, ids=str)
def test_value_fits(value, hint) -> None:
    assert check(value, hint) is None


@pytest.mark.parametrize(("value", "hint", "problem"), DOES_NOT, ids=lambda each: str(each)[:40])
def test_value_does_not_fit_and_the_place_is_told(value, hint, problem) -> None:
    assert check(value, hint) == problem.replace("{module}", __name__)


def test_marker_fits_whatever_stands_for_it() -> None:
    assert check([1, ref("x")], list[int]) is None
    assert check([ref("x"), "a"], list[int]) == "[1] must be int, not the str 'a'"


def test_class_made_anew_by_a_reload_is_the_same_class() -> None:
    again = type("Point", (), {"__module__": __name__, "__qualname__": "Point"})
    assert check(Point(1), again) is None


def test_recursive_alias_is_followed(tmp_path) -> None:
    if not hasattr(typing, "TypeAliasType"):
        pytest.skip("type statements are new in Python 3.12")
    namespace: dict[str, Any] = {}
    exec("type Tree = int | list[Tree]", namespace)
    assert check([1, [2, [3]]], namespace["Tree"]) is None
    assert check([1, [2, ["x"]]], namespace["Tree"]) is not None


def test_op_without_hints_has_no_contract() -> None:
    assert contract_of(lambda x: x) is None

    def loose(x: Any, *, y: object = None, **more: Any) -> T: ...

    assert contract_of(loose) is None


def test_default_fits_whatever_its_hint_says() -> None:
    def scaled(x, size: int = None) -> int: ...  # noqa: RUF013

    contract = contract_of(scaled)
    assert contract is not None
    size = contract.of("size")
    assert size(None) is None
    assert size(3) is None
    assert size("3").expected == "int | NoneType"


def test_hint_that_cannot_be_evaluated_is_told_and_the_others_count() -> None:
    def scaled(x: int, ghost: Ghost) -> list[Ghost]: ...  # noqa: F821

    contract = contract_of(scaled)
    assert contract is not None
    assert list(contract.parameters) == ["x"]
    assert unread_hints(scaled) == {"ghost": "Ghost", "return": "list[Ghost]"}


def test_no_type_check_turns_checks_off() -> None:
    @typing.no_type_check
    def loose(x: int) -> str: ...

    assert contract_of(loose) is None
