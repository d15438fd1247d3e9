"""Values of well-known libraries: formats with a name and a version, loaded when first needed.

A format takes a value apart into plain values and arrays, so its identity is that of the data and
not of any file format, whose bytes differ from version to version. Neither a library nor the
module that knows it is imported before a value of it is at hand, or bytes name its format; and
bytes can name the formats that are listed here, nothing else.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from invariant_dask.core import types
from invariant_dask.core.encode import encode
from invariant_dask.core.types import TypeBinding
from invariant_dask.errors import IntegrityError, RegistrationError


class Codec(NamedTuple):
    """How the values of one class, or of a family of classes, are stored."""

    name: str
    """Names the format in encodings, as in `pandas.DataFrame`."""
    version: str
    """Of the format. A reader knows exactly the versions that are registered."""
    module: str
    """Where the class is found; imported only when such a value is to be read."""
    qualname: str
    """The class in that module; its subclasses in the same distribution count too."""
    to_value: Callable[[Any], Any]
    from_value: Callable[[Any], Any]
    exact: bool = True
    """Whether subclasses are refused: they may hold more than the format has room for."""


_codecs: dict[tuple[str, str], Codec] = {}


def register_codec(codec: Codec) -> None:
    """Add a format.

    Raises
    ------
    RegistrationError
        If another one has the same name and version.
    """
    known = _codecs.setdefault((codec.name, codec.version), codec)
    if known != codec:
        msg = f"format {codec.name!r} version {codec.version!r} is registered already"
        raise RegistrationError(msg)


def codecs() -> tuple[Codec, ...]:
    """Return all formats that are registered."""
    return tuple(_codecs.values())


def _claim(cls: type) -> bool:
    """Register the class of a live value if there is a format for it: the latest, if several."""
    top = cls.__module__.partition(".")[0]
    for codec in reversed(_codecs.values()):
        if codec.module.partition(".")[0] == top and _is_of(cls, codec):
            _bind(cls, codec)
            return True
    return False


def _is_of(cls: type, codec: Codec) -> bool:
    known = _class_of(codec, sys.modules.get(codec.module))
    return known is not None and (cls is known or (not codec.exact and issubclass(cls, known)))


def _claim_name(name: str, identity: str) -> bool:
    """Register the class that a format is for, when stored bytes are of that format."""
    codec = _codecs.get((name, identity))
    if codec is None:
        return False
    try:
        module = importlib.import_module(codec.module)
    except ImportError:
        return False  # the error for an unknown type names the format
    cls = _class_of(codec, module)
    if cls is None:
        return False
    _bind(cls, codec)
    return True


def _class_of(codec: Codec, module: Any) -> type | None:
    cls = getattr(module, codec.qualname, None)
    return cls if isinstance(cls, type) else None


def _bind(cls: type, codec: Codec) -> None:
    def from_value(value: Any) -> Any:
        made = codec.from_value(value)
        # A library takes what its format never writes, and makes something else of it.
        if not _same(codec.to_value(made), value):
            raise IntegrityError(f"{codec.name} comes back as another value than was stored")
        return made

    types.bind(TypeBinding(cls, codec.name, codec.version, codec.to_value, from_value))


def _same(one: Any, other: Any) -> bool:
    """Whether two values have one form; arrays are compared in place."""
    if one is other:
        return True
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        alike = isinstance(one, list) == isinstance(other, list) and len(one) == len(other)
        return alike and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if hasattr(one, "__array_interface__") and hasattr(other, "__array_interface__"):
        return _same_array(one, other)
    return type(one) is type(other) and encode(one) == encode(other)


def _same_array(one: Any, other: Any) -> bool:
    import numpy as np

    if one.dtype != other.dtype or one.shape != other.shape:
        return encode(one) == encode(other)  # the order of bytes, say, is not seen
    if one.ctypes.data == other.ctypes.data and one.strides == other.strides:
        return True
    first, second = (np.ascontiguousarray(each).reshape(-1).view("u1") for each in (one, other))
    return bool(np.array_equal(first, second))


def _lazy(module: str, function: str) -> Callable[[Any], Any]:
    def call(value: Any) -> Any:
        return getattr(importlib.import_module(f"{__package__}.{module}"), function)(value)

    return call


def _built_in(
    name: str, module: str, qualname: str, home: str, stem: str, *, exact: bool = True
) -> None:
    to_value, from_value = _lazy(home, f"{stem}_to_value"), _lazy(home, f"{stem}_from_value")
    register_codec(Codec(name, "1", module, qualname, to_value, from_value, exact))


_built_in("pandas.DataFrame", "pandas", "DataFrame", "codec_pandas", "frame")
_built_in("pandas.Series", "pandas", "Series", "codec_pandas", "series")
_built_in("pandas.Index", "pandas", "Index", "codec_pandas", "index", exact=False)
_built_in("pyarrow.Table", "pyarrow", "Table", "codec_arrow", "table")
_built_in("pyarrow.RecordBatch", "pyarrow", "RecordBatch", "codec_arrow", "batch")
_built_in("pyarrow.ChunkedArray", "pyarrow", "ChunkedArray", "codec_arrow", "chunked")
_built_in("pyarrow.Array", "pyarrow", "Array", "codec_arrow", "array", exact=False)
_built_in(
    "invariant_dask.FileArtifact", "invariant_dask.store.file_artifacts", "FileArtifact",
    "file_artifacts", "file",
)  # fmt: skip
_built_in("PIL.Image", "PIL.Image", "Image", "codec_images", "image", exact=False)

types.on_unknown(_claim)
types.on_unknown_name(_claim_name)
