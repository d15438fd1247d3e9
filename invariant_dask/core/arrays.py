"""Which arrays have a portable form, and how its encoding begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invariant_dask.core.cbor import TAG_ARRAY, head, tagged
from invariant_dask.core.scalars import encode_str, ints
from invariant_dask.errors import NotCacheableError

if TYPE_CHECKING:
    import numpy as np

_ARRAY = tagged(TAG_ARRAY, 3)


def plain_array(value: np.ndarray[Any, Any]) -> tuple[bytes, np.ndarray[Any, Any]]:
    """Return how the encoding of an array begins, and the array in little-endian order.

    What follows is its data, in C order, as a byte string or a reference to a blob.
    """
    dtype = value.dtype
    if dtype.hasobject:
        raise NotCacheableError(reason="an array of Python objects; give it a numeric dtype")
    if dtype.metadata:
        raise NotCacheableError(reason="its dtype carries metadata; pass x.astype(plain dtype)")
    if dtype.kind not in "biufcmMSU" or dtype.char in "gG":
        raise NotCacheableError(
            reason=f"arrays of dtype {dtype} have no portable form; "
            "pass a dict of plain arrays, or a dtype of fixed size"
        )
    if not dtype.itemsize:
        raise NotCacheableError(reason=f"items of dtype {dtype} have no bytes; pass one that has")
    if dtype.kind in "mM" and "[" not in dtype.str:
        raise NotCacheableError(
            reason=f"moments of dtype {dtype} have no unit; give them one, as in x.astype('M8[us]')"
        )
    little = dtype.newbyteorder("<")
    shape = head(4, value.ndim) + ints(*value.shape)
    return _ARRAY + encode_str(little.str) + shape, value.astype(little, copy=False)
