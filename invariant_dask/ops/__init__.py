"""Ops: functions behind registered names, what identifies them, and the standard library.

`@op` registers a function and `@cacheable` a class of values; `identity` decides what stands for
an op in every digest, `fingerprint` reads its code. Nothing here runs an op or knows of Dask.
"""

from invariant_dask.ops.entry import Op
from invariant_dask.ops.identity import OpIdentity
from invariant_dask.ops.registry import OpFunction, OpRegistry, default_registry, op
from invariant_dask.ops.types import cacheable

__all__ = [
    "Op",
    "OpFunction",
    "OpIdentity",
    "OpRegistry",
    "cacheable",
    "default_registry",
    "op",
]
