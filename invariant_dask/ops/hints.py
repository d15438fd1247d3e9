"""Read the type hints of functions and classes, also where some of them cannot be read.

Hints are code: they may name what only type checkers see, or what is defined later. Each that
cannot be evaluated becomes `Unread`, and the others count all the same.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable
from functools import partial
from typing import Any


class Unread:
    """A hint that cannot be read here.

    Attributes
    ----------
    text : str
        As its author wrote it.
    """

    def __init__(self, text: str) -> None:
        self.text = text


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the hints of what an op takes, by parameter, and under `return` what it returns."""
    while isinstance(function, partial):
        function = function.func
    if not isinstance(function, type):
        return read_hints(function)
    hints = read_hints(function if dataclasses.is_dataclass(function) else function.__init__)  # type: ignore[misc]
    return {**hints, "return": function}


def read_hints(owner: Any) -> dict[str, Any]:
    """Return the hints of a function, or of the attributes of a class."""
    while isinstance(owner, partial):
        owner = owner.func
    if not isinstance(owner, type):
        owner = inspect.unwrap(owner)
        if not hasattr(owner, "__annotations__"):
            owner = getattr(type(owner), "__call__", owner)  # noqa: B004  its hints, not whether
    try:
        return typing.get_type_hints(owner, include_extras=True)
    except Exception:  # noqa: BLE001  a hint is code, and may name what only type checkers see
        return {name: _one_hint(owner, hint) for name, hint in _raw_hints(owner).items()}


def hint_text(hint: Any) -> str:
    """Return a hint as people write it."""
    if isinstance(hint, str):
        return hint
    if isinstance(hint, Unread):
        return hint.text
    if isinstance(hint, type) and not typing.get_args(hint):
        plain = hint.__module__ == "builtins"
        return hint.__qualname__ if plain else f"{hint.__module__}.{hint.__qualname__}"
    return inspect.formatannotation(hint)


def _raw_hints(owner: Any) -> dict[str, Any]:
    try:
        return dict(getattr(owner, "__annotations__", {}))
    except NameError:  # Python 3.14 evaluates them when they are asked for
        return {}


def _one_hint(owner: Any, hint: Any) -> Any:
    stub = types.SimpleNamespace(__annotations__={"hint": hint})
    namespace = getattr(owner, "__globals__", {})
    try:
        return typing.get_type_hints(stub, namespace, include_extras=True)["hint"]
    except Exception:  # noqa: BLE001  as above
        return Unread(str(hint))
