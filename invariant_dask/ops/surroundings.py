"""The fixed surroundings in which every op runs, whatever the ambient ones are.

The decimal context is `ops.numeric.DECIMAL_CONTEXT`; numpy neither raises nor warns about
floating-point conditions. Warnings filters are left alone: they are shared by all threads of a
process, and can turn a result into a failure but never into another result.
"""

from __future__ import annotations

import decimal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from invariant_dask.ops.numeric import DECIMAL_CONTEXT


@contextmanager
def fixed_surroundings() -> Iterator[None]:
    """Run a block under the decimal context and numpy error state of the format."""
    with decimal.localcontext(DECIMAL_CONTEXT):
        numpy = sys.modules.get("numpy")
        if numpy is None:
            yield
            return
        with numpy.errstate(all="ignore"):
            yield
