"""Arrays that stay unwritable when a Dask cluster moves them.

An array over immutable bytes cannot be written, but distributed rebuilds arrays over receive
buffers that can. On a worker, values that plain Dask functions get to see are therefore arrays of
a subclass, which arrives over immutable bytes everywhere. What is computed from one is a plain
array.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
from distributed.protocol import dask_deserialize, dask_serialize

from invariant_dask.core.encode import ARRAY_TYPES
from invariant_dask.core.sealed import SealedDict, SealedList


class SealedArray(np.ndarray[Any, Any]):
    """An array over immutable bytes, on whatever worker it is."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        plain = [x.view(np.ndarray) if isinstance(x, SealedArray) else x for x in inputs]
        return getattr(ufunc, method)(*plain, **kwargs)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        data: Any = np.ascontiguousarray(self.view(np.ndarray))
        buffer: Any = pickle.PickleBuffer(data) if protocol >= 5 else data.tobytes()
        return _rebuild, (buffer, self.dtype.str, self.shape)

    __reduce__ = None  # type: ignore[assignment]


ARRAY_TYPES.add(SealedArray)


def _rebuild(buffer: Any, dtype: str, shape: tuple[int, ...]) -> SealedArray:
    data = buffer if type(buffer) is bytes else bytes(memoryview(buffer).cast("B"))
    return np.ndarray(shape, np.dtype(dtype), buffer=data).view(SealedArray)


@dask_serialize.register(SealedArray)  # type: ignore[untyped-decorator]
def _serialize(array: SealedArray) -> tuple[dict[str, Any], list[Any]]:
    data: Any = np.ascontiguousarray(array.view(np.ndarray))
    return {"dtype": array.dtype.str, "shape": array.shape}, [data.view("u1").ravel().data]


@dask_deserialize.register(SealedArray)  # type: ignore[untyped-decorator]
def _deserialize(header: dict[str, Any], frames: list[Any]) -> SealedArray:
    return _rebuild(b"".join(map(bytes, frames)), header["dtype"], tuple(header["shape"]))


def seal_arrays(value: Any) -> Any:
    """Return a sealed value whose arrays stay unwritable when Dask moves them."""
    if type(value) is np.ndarray:
        return value.view(SealedArray)
    if type(value) is SealedList:
        return SealedList(map(seal_arrays, value))
    if type(value) is SealedDict:
        return SealedDict((key, seal_arrays(item)) for key, item in value.items())
    if type(value) is tuple:
        return tuple(map(seal_arrays, value))
    return value
