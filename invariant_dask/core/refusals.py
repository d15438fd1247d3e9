"""Say why a value has no canonical form, and what to pass instead."""

from __future__ import annotations

import datetime as dt
import sys

from invariant_dask.core.files import File
from invariant_dask.core.scalars import SCALARS


def why_not(value: object) -> str:
    """Return why a value has no canonical form, and what to pass instead."""
    cls = type(value)
    name = cls.__name__
    if isinstance(value, float):
        if value != value or value in {float("inf"), float("-inf")}:  # noqa: PLR0124
            return f"float {value!r} is not a number; pass None or text"
        return f"float {value!r} is not exact; pass Decimal({str(value)!r}) or a Fraction"
    cures = {
        "set": "pass a sorted list", "frozenset": "pass a sorted list",
        "complex": "pass its parts as Decimal", "range": "pass a list", "bytearray": "pass bytes",
        "memoryview": "pass bytes", "function": "pass the name of an op", "type": "pass a name",
        "File": "a file's content is read when a graph is compiled; an op returns bytes instead",
        "PosixPath": "pass File(path) for its content, or str(path) for its name",
        "WindowsPath": "pass File(path) for its content, or str(path) for its name",
        "generator": "pass a list",
        "slice": "pass [start, stop, step]", "Delayed": "make it a node, or compute it first",
        "DelayedLeaf": "make it a node, or compute it first",
        "Array": "compute it first, or make it a node",
        "FileHandle": "return its bytes, or a value made from them",
    }  # fmt: skip
    if cls is File:
        return f"File is not cacheable; {cures['File']}"
    if cls.__module__ == "numpy" and hasattr(value, "item") and hasattr(value, "dtype"):
        if isinstance(value, sys.modules["numpy"].ndarray):
            return f"numpy.{name} is a subclass of ndarray; pass numpy.asarray(x)"
        plain = "a Decimal" if value.dtype.kind in "fc" else f"{value.item()!r} (x.item())"
        return f"numpy scalar {name} is not cacheable; pass {plain} or an array"
    if isinstance(value, sys.modules["numpy"].ndarray) if "numpy" in sys.modules else False:
        return f"{name} is a subclass of numpy.ndarray; pass numpy.asarray(x) of plain arrays"
    for base in (dt.datetime, list, tuple, dict, bytes, *SCALARS):  # a datetime is a date too
        if isinstance(value, base):
            return f"{name} is a subclass of {base.__name__}; pass a plain {base.__name__}"
    cure = cures.get(name, "register its class with @cacheable, or pass plain values")
    return f"{name} is not cacheable; {cure}"
