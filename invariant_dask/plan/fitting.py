"""Refuse what an op's type hints do not allow, as far as that is known before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from invariant_dask.core.decode import decode
from invariant_dask.core.encode import Encoded
from invariant_dask.core.files import FileContent
from invariant_dask.errors import ParameterError
from invariant_dask.graph.expressions import Text
from invariant_dask.graph.markers import Cel, Ref, parsed_texts
from invariant_dask.ops.contracts import Contract
from invariant_dask.ops.misfits import LATER, Check, misfit_text
from invariant_dask.plan.binding import Fixed
from invariant_dask.plan.payload import Payload, has_secret

CURE = "pass one, or change the type hint of the op if it takes both"

LATER.add(Fixed)

_GLANCE = 4096
"""Longest storage form of a value from elsewhere that is read; longer ones are left to tasks."""


class LeftToTaskError(Exception):
    """A value cannot be had while compiling."""


def leave(_content: FileContent) -> NoReturn:
    # Only a task opens files.
    raise LeftToTaskError


def known_value(payload: Payload) -> Any:
    """Return the value of a payload that takes nothing else to know.

    Raises
    ------
    LeftToTaskError
        If it is not known, too large to be copied for each node, or a file.
    """
    if isinstance(payload, bytes):
        return decode(payload)
    if isinstance(payload, Encoded) and not payload.blobs:
        return decode(payload.storage, open_file=leave)
    raise LeftToTaskError


def check_known(
    node: str, op: str, name: str, given: tuple[object, bool], payload: Payload, check: Check
) -> None:
    """Refuse a parameter that does not fit its hint, if its value is known.

    Parameters
    ----------
    node, op, name
        The node, its op and the parameter.
    given
        The parameter as it is written, and whether text in it may have expressions.
    payload
        What it was bound to.
    check
        What its hint says.

    Raises
    ------
    ParameterError
        If it does not fit.
    """
    value, texts = given
    if texts:
        value = parsed_texts(value)
    by = ""
    if isinstance(value, Ref | Cel | Text | Fixed):
        if not isinstance(payload, bytes | Encoded) or _length(payload) > _GLANCE:
            return
        if not isinstance(value, Fixed):
            shown = value.source if isinstance(value, Text) else value
            by = f", by {shown!r:.80}"
        try:
            value = known_value(payload)
        except LeftToTaskError:
            return
    misfit = check(value)
    if misfit is not None:
        text = misfit_text(misfit, name, secret=has_secret(payload))
        msg = f"node {node!r}: parameter {text}{by}; op {op!r} says so: {CURE}"
        raise ParameterError(msg)


def fits(contract: Contract | None, arguments: Mapping[str, Any]) -> bool:
    """Whether all arguments fit their hints."""
    return contract is None or all(
        check is None or check(value) is None
        for check, value in ((contract.of(name), value) for name, value in arguments.items())
    )


def _length(payload: bytes | Encoded) -> int:
    return len(payload if isinstance(payload, bytes) else payload.storage)
