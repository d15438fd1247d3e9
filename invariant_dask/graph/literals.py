"""Values that upstream's documents cannot hold, as text and numbers.

In a document each is `{"$icacheable": {"type": NAME, ...}}` with a name that has no dot in it. The
original format demands a dot there, so its readers refuse such a document rather than take the
value for a mapping; and every mapping that it can write keeps its meaning here.
"""

from __future__ import annotations

import datetime as dt
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from invariant_dask.core.files import File
from invariant_dask.core.scalars import is_text
from invariant_dask.graph.positions import Fault, kind_of

LONG_INT = 10**4300
"""From here on, an int is written in hexadecimal: Python reads no longer decimal literals."""


def to_base64(data: bytes) -> str:
    """Return bytes as the documents hold them."""
    return b64encode(data).decode("ascii")


def from_base64(text: object) -> bytes:
    """Return the bytes that base64 text stands for.

    Raises
    ------
    Fault
        If it is not base64.
    """
    _expect(str, text, "base64 text")
    assert isinstance(text, str)
    try:
        return b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise Fault(f"not base64: {str(error)[:1].lower()}{str(error)[1:]}") from None


def write_literal(value: Any) -> tuple[str, Any] | None:
    """Return the name and payload of a value upstream lacks, or None if it is none of them."""
    cls = type(value)
    if cls is int:
        return ("int", hex(value)) if abs(value) >= LONG_INT else None
    writer = _WRITERS.get(cls)
    return writer(value) if writer else None


def read_literal(name: str, payload: Any) -> Any:
    """Return the value with this name and payload.

    Raises
    ------
    Fault
        If there is no such name, or the payload does not fit.
    """
    reader = _READERS[name]
    try:
        return reader(payload)
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        raise Fault(f"not the value of a {name}: {error}") from None


def _expect(cls: type, payload: object, what: str) -> None:
    if type(payload) is not cls:
        raise Fault(f"expected {what}, not {kind_of(payload)}")


def _read_text(parse: Callable[[str], Any], what: str) -> Callable[[Any], Any]:
    def read(payload: Any) -> Any:
        _expect(str, payload, f"text such as {what}")
        return parse(payload)

    return read


def _write_moment(value: dt.datetime) -> tuple[str, str]:
    if value.tzinfo is None:
        raise Fault("a datetime without a time zone; give it one, such as datetime.UTC")
    return "datetime", _fixed(value).isoformat()


def _parse_moment(text: str) -> dt.datetime:
    value: dt.datetime = _parse_zoned(dt.datetime, text)
    if value.tzinfo is None:
        raise Fault("a datetime needs a time zone: add Z, or an offset such as +02:00")
    return value


_FINE_OFFSET = re.compile(r"([+-])(\d\d):(\d\d):(\d\d)\.(\d{6})$")


def _parse_zoned(cls: Any, text: str) -> Any:
    # Python 3.11 drops an offset of less than a second.
    fine = _FINE_OFFSET.search(text)
    if fine is None:
        return cls.fromisoformat(text)
    hours, minutes, seconds, micros = map(int, fine.groups()[1:])
    offset = dt.timedelta(hours=hours, minutes=minutes, seconds=seconds, microseconds=micros)
    zone = dt.timezone(-offset if fine[1] == "-" else offset)
    return cls.fromisoformat(text[: fine.start()]).replace(tzinfo=zone)


def _fixed(value: Any) -> Any:
    """Return a time or datetime whose zone is the offset it has, and nothing else."""
    if value.tzinfo is None:
        return value
    offset = value.utcoffset()
    if offset is None:
        raise Fault("its time zone has no fixed offset; use datetime.timezone")
    return value.replace(tzinfo=dt.timezone(offset), fold=0)


def _parse_fraction(text: str) -> Fraction:
    top, slash, bottom = text.partition("/")
    return Fraction(int(top, 0), int(bottom, 0)) if slash else Fraction(int(top, 0))


def _write_fraction(value: Fraction) -> tuple[str, str]:
    if max(abs(value.numerator), value.denominator) >= LONG_INT:
        return "fraction", f"{value.numerator:#x}/{value.denominator:#x}"
    return "fraction", f"{value.numerator}/{value.denominator}"


def _parse_int(text: str) -> int:
    return int(text, 16 if text.lstrip("+-")[:2].lower() == "0x" else 10)


def _read_span(payload: Any) -> dt.timedelta:
    if not (type(payload) is list and len(payload) == 3 and all(type(n) is int for n in payload)):
        raise Fault("a timedelta is a list of three integers: days, seconds, microseconds")
    return dt.timedelta(*payload)


def _write_file(value: File) -> tuple[str, Any]:
    if not is_text(value.location):
        raise Fault(f"the path {value.location!r} is not text")
    if value.suffix:
        return "file", {"path": value.location, "suffix": True}
    return "file", value.location


def _read_file(payload: Any) -> File:
    fields = {"path": payload} if type(payload) is str else payload
    _expect(dict, fields, 'a path, or {"path": ..., "suffix": true}')
    path, suffix = fields.get("path"), fields.get("suffix", False)
    if type(path) is not str or not path or type(suffix) is not bool or len(fields) > 2:
        raise Fault('a file is a path, or {"path": ..., "suffix": true}')
    if len(fields) == 2 and "suffix" not in fields:
        raise Fault('a file has a "path" and a "suffix" and nothing else')
    return File(path, suffix)


_WRITERS: dict[type, Callable[[Any], tuple[str, Any]]] = {
    Fraction: _write_fraction,
    dt.date: lambda value: ("date", value.isoformat()),
    dt.time: lambda value: ("time", _fixed(value).isoformat()),
    dt.datetime: _write_moment,
    dt.timedelta: lambda value: ("timedelta", [value.days, value.seconds, value.microseconds]),
    File: _write_file,
}
_READERS: dict[str, Callable[[Any], Any]] = {
    "date": _read_text(dt.date.fromisoformat, "'2024-01-31'"),
    "datetime": _read_text(_parse_moment, "'2024-01-31T12:00:00+01:00'"),
    "file": _read_file,
    "fraction": _read_text(_parse_fraction, "'1/3'"),
    "int": _read_text(_parse_int, "'0xff'"),
    "time": _read_text(lambda text: _parse_zoned(dt.time, text), "'12:00:00'"),
    "timedelta": _read_span,
}

LITERALS = frozenset({"bytes", "dict", *_READERS})
"""All names without a dot; `bytes` and `dict` are the readers' own business."""
