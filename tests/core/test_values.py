"""What has no canonical form is refused, with the path to it and a cure; nothing else matters."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import json
import locale
import os
import re
import subprocess
import sys
import warnings
import zoneinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import cacheable_values, scalars

from invariant_dask.core.decode import decode
from invariant_dask.core.encode import describe, encode, stable_hash
from invariant_dask.core.files import File
from invariant_dask.errors import NotCacheableError

CURE = re.compile(r"\b(pass|use|give|register|decode|read|return|must)\b")


class Colour(enum.IntEnum):
    RED = 1


class Name(str):
    __slots__ = ()


class Whole(int):
    pass


class Point(NamedTuple):
    x: int


class Unregistered:
    pass


class Picture(np.ndarray):
    pass


class NoOffset(dt.tzinfo):
    def utcoffset(self, _moment):
        return None

    def tzname(self, _moment):
        return "nowhere"

    def dst(self, _moment):
        return None


def structured():
    return np.zeros(2, [("a", "i4"), ("b", "f8")])


def no_unit():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # numpy is about to refuse them too
        return np.zeros(1, "m8")


REFUSED = {
    "float": (lambda: 1.5, "Decimal('1.5')"),
    "float -0.0": (lambda: -0.0, "Decimal('-0.0')"),
    "float NaN": (lambda: float("nan"), "pass None or text"),
    "float infinity": (lambda: float("-inf"), "pass None or text"),
    "set": (lambda: {1}, "pass a sorted list"),
    "frozenset": (lambda: frozenset({1}), "pass a sorted list"),
    "complex": (lambda: 1j, "pass its parts as Decimal"),
    "range": (lambda: range(3), "pass a list"),
    "bytearray": (lambda: bytearray(b"x"), "pass bytes"),
    "memoryview": (lambda: memoryview(b"x"), "pass bytes"),
    "generator": (lambda: iter([1]), "pass plain values"),
    "function": (lambda: print, "pass plain values"),
    "class": (lambda: int, "pass a name"),
    "ellipsis": (lambda: ..., "pass plain values"),
    "IntEnum member": (lambda: Colour.RED, "pass a plain int"),
    "subclass of str": (lambda: Name("a"), "pass a plain str"),
    "subclass of int": (lambda: Whole(1), "pass a plain int"),
    "named tuple": (lambda: Point(1), "pass a plain tuple"),
    "OrderedDict": (collections.OrderedDict, "pass a plain dict"),
    "defaultdict": (lambda: collections.defaultdict(int), "pass a plain dict"),
    "Counter": (collections.Counter, "pass a plain dict"),
    "subclass of Fraction": (lambda: type("Part", (Fraction,), {})(1, 2), "pass a plain Fraction"),
    "subclass of Decimal": (lambda: type("Sum", (Decimal,), {})(1), "pass a plain Decimal"),
    "subclass of timedelta": (lambda: type("Wait", (dt.timedelta,), {})(1), "a plain timedelta"),
    "subclass of time": (lambda: type("Noon", (dt.time,), {})(12), "a plain time"),
    "subclass of date": (lambda: type("Day", (dt.date,), {})(1, 1, 1), "pass a plain date"),
    "subclass of datetime": (
        lambda: type("Moment", (dt.datetime,), {})(2024, 1, 1, tzinfo=dt.UTC), "a plain datetime",
    ),
    "path": (lambda: Path("/a"), "pass File(path)"),
    "unregistered class": (Unregistered, "@cacheable"),
    "File": (lambda: File("a.jpg"), "read when a graph is compiled"),
    "numpy int": (lambda: np.int64(3), "pass 3 (x.item())"),
    "numpy bool": (lambda: np.True_, "pass True (x.item())"),
    "numpy text": (lambda: np.str_("a"), "pass 'a' (x.item())"),
    "numpy bytes": (lambda: np.bytes_(b"a"), "pass b'a' (x.item())"),
    "numpy float": (lambda: np.float32(0.5), "a Decimal"),
    "numpy double, a float too": (lambda: np.float64(0.5), "Decimal('0.5')"),
    "numpy complex": (lambda: np.complex64(1j), "a Decimal"),
    "numpy moment": (lambda: np.datetime64("2024-01-01"), "datetime.date(2024, 1, 1)"),
    "masked array": (lambda: np.ma.masked_array([1], [True]), "numpy.asarray(x)"),
    "subclass of ndarray": (lambda: np.zeros(1).view(Picture), "numpy.asarray(x)"),
    "recarray": (lambda: structured().view(np.recarray), "numpy.asarray(x)"),
    "array of objects": (lambda: np.array([None]), "give it a numeric dtype"),
    "structured array": (structured, "pass a dict of plain arrays"),
    "array of void": (lambda: np.zeros(1, "V3"), "a dtype of fixed size"),
    "array with metadata": (lambda: np.zeros(1, np.dtype("i4", metadata={"a": 1})), "astype"),
    "array of long doubles": (lambda: np.zeros(1, np.longdouble), "have no portable form"),
    "array of long complex": (lambda: np.zeros(1, np.clongdouble), "have no portable form"),
    "array of moments without a unit": (no_unit, "astype"),
    "array of items without bytes": (lambda: np.ndarray(3, "U0", b""), "pass one that has"),
    "naive datetime": (lambda: dt.datetime(2024, 1, 1), "tzinfo=UTC"),
    "datetime of no offset": (lambda: dt.datetime(2024, 1, 1, tzinfo=NoOffset()), "use datetime"),
    "time in a place": (lambda: dt.time(1, tzinfo=zoneinfo.ZoneInfo("Europe/Paris")), "timezone"),
    "lone surrogate": (lambda: "a\ud800", "decode it properly"),
    "Decimal NaN": (lambda: Decimal("NaN"), "pass None or text"),
    "Decimal signalling NaN": (lambda: Decimal("sNaN1"), "pass None or text"),
    "Decimal infinity": (lambda: Decimal("-Infinity"), "pass None or text"),
    "int as dict key": (lambda: {1: 2}, "keys must be str"),
    "None as dict key": (lambda: {None: 2}, "keys must be str"),
    "bytes as dict key": (lambda: {b"a": 2}, "keys must be str"),
    "subclass of str as dict key": (lambda: {Name("a"): 2}, "keys must be str"),
    "surrogate in a dict key": (lambda: {"\ud800": 2}, "decode it properly"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_with_a_cure(make, message) -> None:
    with pytest.raises(NotCacheableError, match=re.escape(message)) as caught:
        encode(make())
    assert caught.value.path == "$"
    assert CURE.search(str(caught.value))
    with pytest.raises(NotCacheableError):
        describe(make())


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_inside_of_others_with_the_path(make, message) -> None:
    value = {"layers": [1, {"size of": (0, make())}]}
    with pytest.raises(NotCacheableError, match=re.escape(message)) as caught:
        encode(value)
    assert caught.value.path == "$.layers[1]['size of'][1]"
    assert str(caught.value).startswith(f"{caught.value.path}: ")


def test_matrix_and_memory_map_are_refused(tmp_path) -> None:
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix([[1]])
    mapped = np.memmap(tmp_path / "a", dtype="u1", mode="w+", shape=3)
    for value in (matrix, mapped):
        with pytest.raises(NotCacheableError, match=r"numpy\.asarray\(x\)"):
            encode(value)


@given(st.floats(), st.recursive(st.just("here"), lambda x: st.one_of(
    st.tuples(scalars, x).map(list), st.tuples(x, scalars), st.fixed_dictionaries({"k": x}),
)))  # fmt: skip
def test_a_float_is_found_at_any_depth(number, place) -> None:
    def put(value):
        if isinstance(value, dict):
            return {"k": put(value["k"])}
        if isinstance(value, list | tuple):
            return type(value)(map(put, value))
        return number if value == "here" else value

    with pytest.raises(NotCacheableError) as caught:
        encode(put(place))
    found = put(place)
    for index, key in re.findall(r"\[(\d+)\]|\.(k)", caught.value.path):
        found = found[key] if key else found[int(index)]
    assert found is number


# --- what looks alike is kept apart ---------------------------------------------------------------

DIFFERENT = {
    "one": [1, True, "1", b"1", Decimal(1), Decimal("1.0"), Fraction(1), [1], (1,), {"1": 1},
            np.array(1), np.array([1]), np.array([1.0]), np.array([1], "i4"), np.array([[1]])],
    "nothing": [None, 0, False, "", b"", [], (), {}, Decimal(0), Decimal("-0"), dt.timedelta(),
                np.zeros(0), np.zeros((0, 1)), np.zeros((1, 0)), np.zeros(0, "f4")],
    "zero": [np.array([0.0]), np.array([-0.0]), np.array([0]), np.array([False])],
    "text": ["é", "e\u0301", "é".encode(), np.array("é"), np.array(["é"])],
    "moments": [
        dt.datetime(2024, 1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))),
        dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        dt.date(2024, 1, 1), "2024-01-01", np.array("2024-01-01", "M8[D]"),
        np.array("2024-01-01", "M8[s]"), dt.time(0), dt.time(0, tzinfo=dt.UTC),
    ],
    "nesting": [[[1], 2], [[1, 2]], [1, [2]], [(1,), 2], {"a": [1, 2]}, [{"a": 1}, 2]],
}  # fmt: skip


@pytest.mark.parametrize("values", DIFFERENT.values(), ids=DIFFERENT)
def test_what_looks_alike_has_hashes_of_its_own(values) -> None:
    assert len({stable_hash(value) for value in values}) == len(values)
    assert len({describe(value) for value in values}) == len(values)


def test_the_layout_of_an_array_does_not_matter() -> None:
    plain = np.arange(12, dtype="<i4").reshape(3, 4)
    padded = np.zeros((6, 4), "<i4")
    padded[::2] = plain
    alike = [
        np.asfortranarray(plain),
        plain.astype(">i4"),
        padded[::2],
        plain[::-1][::-1],
        plain.T.T,
    ]
    assert {stable_hash(array) for array in alike} == {stable_hash(plain)}


@given(cacheable_values())
def test_the_descriptor_is_short_and_names_the_hash(value) -> None:
    encoded = encode(value)
    assert len(encoded.descriptor) <= 128
    assert describe(value) == encoded.descriptor
    if len(encoded.identity) > 128:
        assert encoded.descriptor.endswith(encoded.hash)
    assert encoded.size == len(encoded.storage) + sum(map(len, encoded.blobs.values()))


def test_encoding_takes_a_copy() -> None:
    array = np.zeros(10_000)
    encoded = encode(array)
    array[:] = 1
    assert not decode(encoded.storage, fetch=lambda blob, _: encoded.blobs[blob]).any()


# --- surroundings do not matter -------------------------------------------------------------------


@given(scalars)
def test_the_decimal_context_does_not_matter(value) -> None:
    expected = encode([value])
    traps = [decimal.Inexact, decimal.Rounded, decimal.Subnormal, decimal.FloatOperation]
    for context in (
        decimal.Context(prec=1, Emin=0, Emax=1, clamp=1, traps=traps),
        decimal.Context(prec=50, rounding=decimal.ROUND_UP, capitals=0, traps=[]),
    ):
        with decimal.localcontext(context):
            again = encode([value])
            decoded = decode(expected.storage)
        assert again == expected
        assert encode(decoded) == expected


def test_the_decimal_context_does_not_decide_what_is_refused() -> None:
    beyond = bytes.fromhex("d9bea18300011b7fffffffffffffff")
    for traps in ([], [decimal.InvalidOperation]):
        with (
            decimal.localcontext(decimal.Context(traps=traps)),
            pytest.raises(ValueError, match="decimal"),
        ):
            decode(beyond)


def test_the_limit_on_digits_of_int_does_not_matter() -> None:
    value = [10**5000, Decimal((0, (7,) * 5000, 3)), Fraction(10**5000, 3)]
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        assert decode(encode(value).storage) == value
    finally:
        sys.set_int_max_str_digits(limit)


PROGRAM = """
import json, locale, sys
from decimal import getcontext
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from vectors.names import evaluate
from invariant_dask.core.encode import stable_hash
locale.setlocale(locale.LC_ALL, "")
getcontext().prec = 3
vectors = json.loads(Path(sys.argv[1], "vectors", "values.json").read_text("utf-8"))
hashes = {v["name"]: stable_hash(evaluate(v["value"])).hex() for v in vectors}
words = {f"word {n}": n for n in range(50)}
hashes["keys"] = stable_hash({key: words[key] for key in set(words)}).hex()
print(json.dumps([hash("a"), locale.setlocale(locale.LC_ALL), hashes]))
"""
TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("seed", ["0", "1", "random"])
def test_hashes_are_the_same_in_other_processes(seed) -> None:
    expected = {
        v["name"]: v["hash"] for v in json.loads((TESTS / "vectors" / "values.json").read_text())
    }
    expected["keys"] = stable_hash({f"word {n}": n for n in range(50)}).hex()
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", PROGRAM, str(TESTS)],
        env=os.environ | {"PYTHONHASHSEED": seed, "LC_ALL": other_locale(), "TZ": "Asia/Kathmandu"},
        capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    _, _, hashes = json.loads(done.stdout)
    assert hashes == expected


def other_locale() -> str:
    """Return the name of a locale that this machine has and this process does not use."""
    for name in ("tr_TR.UTF-8", "de_DE.UTF-8", "POSIX", "C.UTF-8"):
        before = locale.setlocale(locale.LC_ALL)
        try:
            locale.setlocale(locale.LC_ALL, name)
        except locale.Error:
            continue
        finally:
            locale.setlocale(locale.LC_ALL, before)
        return name
    return "C"
