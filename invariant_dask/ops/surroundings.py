"""The fixed surroundings in which every op runs, whatever the ambient ones are.

The decimal context is `ops.numeric.DECIMAL_CONTEXT`, and `PYTHONS_CONTEXT` for ops of installed
packages; numpy neither raises nor warns about
floating-point conditions. Warnings filters are left alone: they are shared by all threads of a
process, and can turn a result into a failure but never into another result.
"""

from __future__ import annotations

import decimal
import sys
from typing import Any

from invariant_dask.ops.numeric import DECIMAL_CONTEXT

PYTHONS_CONTEXT = decimal.Context(
    prec=28,
    rounding=decimal.ROUND_HALF_EVEN,
    Emin=-999_999,
    Emax=999_999,
    capitals=1,
    clamp=0,
    flags=[],
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)
"""What Python starts with. Ops of installed packages were written for it: they round."""


class FixedSurroundings:
    """Runs a block under the decimal context and numpy error state of the format.

    Parameters
    ----------
    context
        The decimal context.
    """

    __slots__ = ("_ambient", "_context", "_errstate")

    def __init__(self, context: decimal.Context = DECIMAL_CONTEXT) -> None:
        self._context = context

    def __enter__(self) -> None:
        self._ambient = decimal.getcontext()
        # A copy: what the block does to its context ends with it.
        decimal.setcontext(self._context.copy())
        numpy = sys.modules.get("numpy")
        self._errstate: Any = None
        if numpy is not None:
            self._errstate = numpy.errstate(all="ignore")
            self._errstate.__enter__()

    def __exit__(self, *_error: object) -> None:
        if self._errstate is not None:
            self._errstate.__exit__(None, None, None)
        decimal.setcontext(self._ambient)
