"""Frames, series and indexes of pandas, taken apart into arrays and plain values.

What can be seen of a value is in the result: data, index, names, categories, attributes. What
cannot be told from the data is not: in which blocks columns lie, or whether text is kept by
pyarrow. Columns of Python objects are taken if each of the objects has a form of its own.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from invariant_dask.core.encode import encode
from invariant_dask.errors import IntegrityError, NotCacheableError

# What stands in a column of objects or of text for nothing.
_VALUE, _NONE, _NAN, _NA, _NAT = range(5)
_MISSING: Final = {_NONE: None, _NAN: float("nan"), _NA: pd.NA, _NAT: pd.NaT}


def frame_to_value(frame: pd.DataFrame) -> dict[str, Any]:
    """Take a frame apart."""
    columns = []
    for number, name in enumerate(frame.columns):
        try:
            columns.append(_column(frame.iloc[:, number].array))
        except NotCacheableError as error:
            raise error.within(f"[{name!r}]") from None
    return {
        "attrs": frame.attrs,
        "columns": index_to_value(frame.columns),
        "data": columns,
        "duplicates": frame.flags.allows_duplicate_labels,
        "index": index_to_value(frame.index),
    }


def frame_from_value(value: dict[str, Any]) -> pd.DataFrame:
    """Put a frame together; its arrays are not copied."""
    index, names = index_from_value(value["index"]), index_from_value(value["columns"])
    data = {number: _array(column) for number, column in enumerate(_listed(value["data"]))}
    if len(data) != len(names):
        raise IntegrityError(f"{len(data)} columns with {len(names)} names")
    frame = pd.DataFrame(data, index=index, copy=False)
    frame.columns = names
    return _flagged(frame, value)


def series_to_value(series: pd.Series[Any]) -> dict[str, Any]:
    """Take a series apart."""
    return {
        "attrs": series.attrs,
        "data": _column(series.array),
        "duplicates": series.flags.allows_duplicate_labels,
        "index": index_to_value(series.index),
        "name": series.name,
    }


def series_from_value(value: dict[str, Any]) -> pd.Series[Any]:
    """Put a series together; its array is not copied."""
    index, data = index_from_value(value["index"]), _array(value["data"])
    series = pd.Series(data, index=index, name=value["name"], copy=False)
    return _flagged(series, value)


def index_to_value(index: pd.Index[Any]) -> list[Any]:
    """Take an index of any kind apart."""
    names = list(index.names)
    if type(index) is pd.RangeIndex:
        return ["range", names, index.start, index.stop, index.step]
    if isinstance(index, pd.MultiIndex):
        levels = [index_to_value(level) for level in index.levels]
        return ["multi", names, levels, [np.asarray(codes, "<i8") for codes in index.codes]]
    if type(index).__module__.partition(".")[0] != "pandas":
        raise NotCacheableError(
            reason=f"{type(index).__name__} is an index of another library; pass pandas.Index(x)"
        )
    freq = index.freqstr if isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex) else None
    return ["plain", names, _column(index.array), freq]


def index_from_value(value: list[Any]) -> pd.Index[Any]:
    """Put an index together."""
    kind, names, *rest = _listed(value)
    if kind == "range":
        return pd.RangeIndex(*rest, name=names[0])
    if kind == "multi":
        levels = [index_from_value(level) for level in _listed(rest[0])]
        codes = [_flat(codes) for codes in _listed(rest[1])]
        return pd.MultiIndex(levels, codes, names=names)
    column, freq = rest
    data = _array(column)
    # Without a dtype pandas would guess one for objects that look like numbers or times.
    index: Any = pd.Index(data, dtype=data.dtype, name=names[0], copy=False)
    if freq is not None:
        index.freq = to_offset(freq)
    return index


def _flagged(made: Any, value: dict[str, Any]) -> Any:
    made.attrs = dict(value["attrs"])
    made.flags.allows_duplicate_labels = value["duplicates"]
    return made


# --- columns -------------------------------------------------------------------------------------


def _column(array: Any) -> list[Any]:
    if isinstance(array, pd.arrays.NumpyExtensionArray):
        array = array.to_numpy()
    dtype = array.dtype
    if isinstance(dtype, np.dtype):
        plain = np.asarray(array)
        return ["numpy", plain] if dtype.kind != "O" else _objects(plain)
    if isinstance(dtype, pd.CategoricalDtype):
        codes = np.asarray(array.codes, "<i8")
        return ["categories", index_to_value(dtype.categories), bool(dtype.ordered), codes]
    if isinstance(dtype, pd.DatetimeTZDtype):
        moments = np.asarray(array.tz_convert("UTC").tz_localize(None))
        return ["moments", _zone(dtype.tz), moments]
    if isinstance(dtype, pd.StringDtype):
        return ["text", "NA" if dtype.na_value is pd.NA else "nan", *_text(array)]
    if isinstance(dtype, pd.PeriodDtype):
        return ["periods", dtype.name[len("period[") : -1], np.asarray(array.asi8)]
    if isinstance(dtype, pd.IntervalDtype):
        sides = index_to_value(pd.Index(array.left)), index_to_value(pd.Index(array.right))
        return ["intervals", dtype.closed, *sides]
    if isinstance(dtype, pd.ArrowDtype):
        import pyarrow as pa

        return ["arrow", pa.chunked_array(array.__arrow_array__())]
    numpy_dtype = getattr(dtype, "numpy_dtype", None)
    if numpy_dtype is not None:  # Int64, Float32, boolean, ...
        mask = np.asarray(array.isna())
        return ["masked", array.to_numpy(numpy_dtype, na_value=numpy_dtype.type(0)), mask]
    raise NotCacheableError(
        reason=f"columns of dtype {dtype} have no portable form; convert them with .astype()"
    )


def _listed(value: Any) -> list[Any]:
    """Return a list. An empty array of huge shape has no bytes, and items without end."""
    if not isinstance(value, list):
        raise IntegrityError(f"{type(value).__name__} in the place of a list")
    return value


def _flat(array: Any) -> Any:
    """Return an array of one dimension. A single number would take the length of an index."""
    if not isinstance(array, np.ndarray) or array.ndim != 1:
        raise IntegrityError("expected an array of one dimension")
    return array


def _array(column: list[Any]) -> Any:
    kind, *rest = _listed(column)
    make: Any = _MAKERS[kind]
    return make(*rest)


def _masked(data: Any, mask: Any) -> Any:
    masked = pd.array(_flat(data), dtype=_MASKED[data.dtype.str], copy=True)
    masked[_flat(mask)] = pd.NA
    return masked


_MASKED: Final = {
    **{f"<{k}{n}": f"{w}{8 * n}" for k, w in (("i", "Int"), ("u", "UInt")) for n in (2, 4, 8)},
    "|i1": "Int8", "|u1": "UInt8", "<f4": "Float32", "<f8": "Float64", "|b1": "boolean",
}  # fmt: skip


def _categories(categories: list[Any], ordered: bool, codes: Any) -> Any:
    return pd.Categorical.from_codes(
        _flat(codes), categories=index_from_value(categories), ordered=ordered
    )


def _zone(zone: Any) -> list[Any]:
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)
    if name is not None:
        return ["zone", str(name)]
    offset = zone.utcoffset(None)
    if offset is None:
        raise NotCacheableError(reason=f"time zone {zone!r} has neither a name nor an offset")
    return ["offset", offset]


def _moments(zone: list[Any], moments: Any) -> Any:
    kind, given = zone
    found = ZoneInfo(given) if kind == "zone" else dt.timezone(given)
    return pd.DatetimeIndex(_flat(moments)).tz_localize("UTC").tz_convert(found).array


def _periods(freq: str, ordinals: Any) -> Any:
    return pd.PeriodIndex.from_ordinals(_flat(ordinals), freq=freq).array


def _intervals(closed: Any, left: list[Any], right: list[Any]) -> Any:
    sides = index_from_value(left), index_from_value(right)
    return pd.arrays.IntervalArray.from_arrays(*sides, closed=closed)


def _arrow(chunked: Any) -> Any:
    return pd.array(chunked, dtype=pd.ArrowDtype(chunked.type))


# --- text and objects ----------------------------------------------------------------------------


def _text(array: Any) -> tuple[Any, Any, Any]:
    """Return how long each text is, all of them as UTF-8, and which are missing."""
    missing = np.asarray(pd.isna(array))
    texts = np.asarray(array, dtype=object)
    if missing.any():
        texts = np.where(missing, "", texts)
    return *_joined(texts.tolist()), missing


def _joined(texts: list[str]) -> tuple[Any, Any]:
    """Return how long each text is as UTF-8, and all of them."""
    whole = "".join(texts)
    if whole.isascii():
        lengths = np.fromiter(map(len, texts), "<i8", len(texts))
        return lengths, np.frombuffer(whole.encode(), "|u1")
    encoded = [_utf8(text) for text in texts]
    lengths = np.fromiter(map(len, encoded), "<i8", len(encoded))
    return lengths, np.frombuffer(b"".join(encoded), "|u1")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise NotCacheableError(reason=f"text {text!r} has a lone surrogate") from None


def _texts(lengths: Any, data: Any) -> list[str]:
    raw = data.tobytes()
    if lengths.min(initial=0) < 0 or int(lengths.sum()) != len(raw):
        raise IntegrityError("texts do not fill their bytes")
    ends = np.cumsum(lengths).tolist()
    starts = [0, *ends[:-1]]
    if raw.isascii():  # a character is a byte
        whole = raw.decode()
        return [whole[start:end] for start, end in zip(starts, ends, strict=False)]
    return [raw[start:end].decode() for start, end in zip(starts, ends, strict=False)]


def _string(missing_is: str, lengths: Any, data: Any, missing: Any) -> Any:
    texts: Any = np.array(_texts(lengths, data), dtype=object)
    texts[_flat(missing)] = pd.NA if missing_is == "NA" else np.nan
    na_value = pd.NA if missing_is == "NA" else np.nan
    return pd.array(texts, dtype=pd.StringDtype(na_value=na_value))


def _objects(values: Any) -> list[Any]:
    codes = np.fromiter(map(_code, values), "|u1", len(values))
    kept = [value for value, code in zip(values, codes.tolist(), strict=True) if code == _VALUE]
    if all(type(value) is str for value in kept):
        return ["object text", codes, *_joined(kept)]
    for number, value in enumerate(kept):
        try:
            encode(value)
        except NotCacheableError as error:
            raise error.within(f"[{number}]") from None
    return ["objects", codes, kept]


def _code(value: Any) -> int:
    if value is None:
        return _NONE
    if value is pd.NA:
        return _NA
    if value is pd.NaT:
        return _NAT
    return _NAN if type(value) is float and value != value else _VALUE  # noqa: PLR0124


def _object_array(codes: Any, kept: list[Any]) -> Any:
    values = np.empty(len(_flat(codes)), dtype=object)
    rest = iter(_listed(kept))
    for number, code in enumerate(codes.tolist()):
        values[number] = next(rest) if code == _VALUE else _MISSING[code]
    return values


def _object_text(codes: Any, lengths: Any, data: Any) -> Any:
    return _object_array(codes, _texts(lengths, data))


_MAKERS: Final = {
    "numpy": _flat,
    "masked": _masked,
    "categories": _categories,
    "moments": _moments,
    "periods": _periods,
    "intervals": _intervals,
    "arrow": _arrow,
    "text": _string,
    "objects": _object_array,
    "object text": _object_text,
}
