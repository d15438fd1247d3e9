# ruff: noqa: E501, ICN001, UP017
import collections
import datetime
import decimal
import fractions
import math
import pathlib
import re

VALUES = [
    None, True, 1, -1, 2**100, 1.5, -0.0, float("inf"), 1j, "text", b"bytes", (1, [2]), {3, "x"},
    frozenset({(1, 2), 1.5}), {"a": 1, 2: "b", (1,): None}, range(1, 9, 2), slice(1, None), ...,
    NotImplemented, decimal.Decimal("1.50"), fractions.Fraction(1, 3), datetime.date(2024, 2, 29),
    datetime.datetime(2024, 2, 29, 12), datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone.utc),
    datetime.timedelta(days=1, microseconds=5), re.compile(r"\d+", re.IGNORECASE), int, len, str.upper,
    math.floor, pathlib.Path("a/b"), pathlib.PurePosixPath("/etc"), collections.OrderedDict(a=1),
    collections.defaultdict(list, a=[1]), collections.deque([1, 2], maxlen=3), bytearray(b"x"),
    pathlib.Path(__file__).parent / "data", collections.Counter("aab"), list[int],
]  # fmt: skip


def shade(x):
    return VALUES[x]
