"""The fixed surroundings in which every op runs, whatever the ambient ones are.

The decimal context is `ops.numeric.DECIMAL_CONTEXT`; numpy neither raises nor warns about
floating-point conditions. Warnings filters are left alone: they are shared by all threads of a
process, and can turn a result into a failure but never into another result.
"""

from __future__ import annotations

import decimal
import sys
from typing import Any

from invariant_dask.ops.numeric import DECIMAL_CONTEXT


class FixedSurroundings:
    """Runs a block under the decimal context and numpy error state of the format."""

    __slots__ = ("_ambient", "_errstate")

    def __enter__(self) -> None:
        self._ambient = decimal.getcontext()
        # A copy: what the block does to its context ends with it.
        decimal.setcontext(DECIMAL_CONTEXT.copy())
        numpy = sys.modules.get("numpy")
        self._errstate: Any = None
        if numpy is not None:
            self._errstate = numpy.errstate(all="ignore")
            self._errstate.__enter__()

    def __exit__(self, *_error: object) -> None:
        if self._errstate is not None:
            self._errstate.__exit__(None, None, None)
        decimal.setcontext(self._ambient)
