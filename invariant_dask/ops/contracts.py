"""What the type hints of an op say of its parameters and its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any

from invariant_dask.ops.checks import Checks
from invariant_dask.ops.hints import Unread, hints_of
from invariant_dask.ops.misfits import Check, either
from invariant_dask.ops.signature import inspect_signature


class Contract:
    """What the hints of an op say of its parameters and its result.

    Attributes
    ----------
    parameters : dict
        The check of each parameter whose hint says something.
    rest : Check or None
        That of all further ones.
    result : Check or None
        That of what it returns.
    """

    __slots__ = ("parameters", "rest", "result")

    def __init__(
        self, parameters: dict[str, Check], rest: Check | None, result: Check | None
    ) -> None:
        self.parameters = parameters
        self.rest = rest
        self.result = result

    def of(self, name: str) -> Check | None:
        """Return the check of a parameter."""
        return self.parameters.get(name, self.rest)


def contract_of(
    function: Callable[..., Any], hints: Mapping[str, Any] | None = None
) -> Contract | None:
    """Return what the hints of an op say, or None if they say nothing that can be checked.

    Parameters
    ----------
    function
        What runs.
    hints
        Its hints, where they were read already.
    """
    if hints is None:
        hints = hints_of(function)
    if not hints:
        return None
    compiler = Checks()
    checks: dict[str, Check] = {}
    rest = None
    for name, parameter in inspect_signature(function).parameters.items():
        check = compiler.check(hints.get(name, Any))
        if check is None:
            continue
        if parameter.kind is Parameter.VAR_KEYWORD:
            rest = check
            continue
        default = parameter.default
        if default is not Parameter.empty and check(default) is not None:
            # `size: int = None` is how many say that it may be None.
            check = either(f"{check.text} | {type(default).__name__}",
                            [check, Check("", {type(default)})])  # fmt: skip
        checks[name] = check
    result = compiler.check(hints.get("return", Any))
    return Contract(checks, rest, result) if checks or rest or result else None


def unread_hints(function: Callable[..., Any]) -> dict[str, str]:
    """Return the hints of an op that cannot be evaluated, and so are not checked, as text."""
    hints = hints_of(function)
    return {name: hint.text for name, hint in hints.items() if isinstance(hint, Unread)}
