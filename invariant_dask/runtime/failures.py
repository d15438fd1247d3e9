"""Failures of ops, told so that they survive the way back to the client."""

from __future__ import annotations

import decimal
import pickle
import traceback
from collections.abc import Collection

from invariant_dask.core.digest import PlannedDigest
from invariant_dask.errors import (
    NotCacheableError,
    OpArgumentError,
    OpFailedError,
    OpResultError,
)


def op_failed(
    node: str,
    op: str,
    planned: PlannedDigest,
    error: BaseException,
    secrets: Collection[str] = (),
) -> OpFailedError:
    """Return the error to raise for an exception of an op, with the cause if it can travel.

    Texts that are secret are left out of it, and then the cause is too.
    """
    text, trace = _text(error), "".join(_format(error))
    shown = without(secrets, text), without(secrets, trace)
    failed = OpFailedError(
        node=node,
        op=op,
        digest=planned.hex(),
        cause_type=type(error).__name__,
        cause_text=shown[0],
        traceback_text=shown[1],
    )
    if shown == (text, trace) and isinstance(error, Exception) and _travels(error):
        failed.__cause__ = error
    return failed


def without(secrets: Collection[str], text: str) -> str:
    """Return a text that shows no secret."""
    # The longest first: one may be part of another.
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "<secret>").replace(repr(secret)[1:-1], "<secret>")
    return text


def op_returned(
    node: str,
    op: str,
    planned: PlannedDigest,
    error: NotCacheableError,
    secrets: Collection[str] = (),
) -> OpResultError:
    """Return the error to raise for a result that cannot be an artifact."""
    text = f"a value that cannot be an artifact: {without(secrets, str(error))}"
    return OpResultError(
        node=node, op=op, digest=planned.hex(), cause_type="NotCacheableError", cause_text=text
    )


def result_misfits(node: str, op: str, planned: PlannedDigest, text: str) -> OpResultError:
    """Return the error to raise for a result that is not what the op's type hint says."""
    return OpResultError(
        node=node, op=op, digest=planned.hex(), cause_type="TypeError", cause_text=text
    )


def argument_misfits(node: str, op: str, planned: PlannedDigest, text: str) -> OpArgumentError:
    """Return the error to raise for an argument that is not what the op's type hint says."""
    return OpArgumentError(
        node=node, op=op, digest=planned.hex(), cause_type="TypeError", cause_text=text
    )


def _text(error: BaseException) -> str:
    if isinstance(error, decimal.Inexact):
        # Its own message is the bare class, and the reason is a rule of ours.
        return (
            "the exact result does not fit a Decimal, and ops never round by accident; use "
            "stdlib:round, a Fraction, or decimal.localcontext() with the Inexact trap off"
        )
    try:
        text = str(error) or repr(error)
    except Exception as broken:  # noqa: BLE001  an exception's own __str__ may fail in any way
        return f"(its message cannot be shown: {type(broken).__name__})"
    if isinstance(error, ValueError) and "read-only" in text:
        return f"{text}; arrays that an op gets are read-only: work on x.copy()"
    return text


def _format(error: BaseException) -> list[str]:
    # The first frame is ours and says nothing to the author of the op.
    frames = error.__traceback__.tb_next if error.__traceback__ else None
    return traceback.format_exception(type(error), error, frames)


def _travels(error: BaseException) -> bool:
    """Whether an exception can be pickled and, what many forget, unpickled."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes
    except Exception:  # noqa: BLE001  pickling runs the exception's own code
        return False
    return True
