"""A check, and what does not fit, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from invariant_dask.core.files import File
from invariant_dask.core.sealed import SealedDict, SealedList
from invariant_dask.graph.expressions import Text
from invariant_dask.graph.markers import Cel, Ref
from invariant_dask.ops.hints import hint_text

LATER: set[type] = {Ref, Cel, Text, File}
"""What stands for values while a graph is compiled; no op ever gets one of these."""


class Misfit(NamedTuple):
    """What does not fit its hint."""

    path: str
    """The way to it from the whole value, such as `[2]['size']`."""
    expected: str
    seen: Any

    def within(self, step: str) -> Misfit:
        return self._replace(path=step + self.path)


Look = Callable[[Any], Misfit | None]


class Check:
    """Whether values fit one hint.

    Attributes
    ----------
    text : str
        The hint.
    exact : frozenset of type
        Values of exactly these types fit, whatever is in them; asked first, for speed.
    """

    __slots__ = ("exact", "look", "text")

    def __init__(self, text: str, exact: Iterable[type] = (), look: Look | None = None) -> None:
        self.text = text
        self.exact = frozenset(exact)
        self.look: Look = look or self.refuse

    def __call__(self, value: Any) -> Misfit | None:
        """Return what does not fit, or None; markers fit, their values are checked when known."""
        kind = type(value)
        return None if kind in self.exact or kind in LATER else self.look(value)

    def refuse(self, value: Any) -> Misfit:
        return Misfit("", self.text, value)


def misfit_text(misfit: Misfit, name: str = "", *, secret: bool = False) -> str:
    """Return what does not fit in words; of a secret only its type is told."""
    seen = type_text(misfit.seen) if secret else seen_text(misfit.seen)
    return f"{name}{misfit.path or ('' if name else 'it')} must be {misfit.expected}, not {seen}"


def type_text(value: Any) -> str:
    """Return the type of a value in words."""
    names = {SealedList: "list", SealedDict: "dict", type(None): "None"}
    kind = type(value)
    if kind is type(None):
        return "None"
    name = names.get(kind) or hint_text(kind)
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def seen_text(value: Any) -> str:
    """Return a value in a few words: its type and, if that is short, itself."""
    if isinstance(value, list | tuple | dict):
        return f"{type_text(value)} of {len(value)}"
    if type(value) is int and value.bit_length() > 200:
        return f"an int of {value.bit_length()} bits"
    if type(value) in {str, bytes}:
        shown = repr(value[:40])
        return f"the {type(value).__name__} {shown}{'...' if len(value) > 40 else ''}"
    if type(value) in {bool, int, Decimal, Fraction, float}:
        return f"the {type(value).__name__} {value!s:.60}"
    return type_text(value)


# --- of several, or of what is not plain ---------------------------------------------------------


def either(text: str, options: list[Check]) -> Check:
    exact = frozenset().union(*(option.exact for option in options))
    deep = [option for option in options if option.look != option.refuse]
    if not deep:
        return Check(text, exact)

    def look(value: Any) -> Misfit | None:
        misfits = []
        for option in deep:
            misfit = option.look(value)
            if misfit is None:
                return None
            misfits.append(misfit)
        # Whose outside fits is what was meant, if there is just one.
        inside = [misfit for misfit in misfits if misfit.path]
        return inside[0] if len(inside) == 1 else Misfit("", text, value)

    return Check(text, exact, look)


def literal(text: str, options: tuple[Any, ...]) -> Check:
    def look(value: Any) -> Misfit | None:
        if any(type(value) is type(option) and value == option for option in options):
            return None
        return Misfit("", text, value)

    return Check(text, (), look)


def instance(text: str, cls: type) -> Look:
    def look(value: Any) -> Misfit | None:
        try:
            if isinstance(value, cls):
                return None
        except TypeError:  # a class that does not answer
            return None
        # A module that was reloaded, or code that came by value, makes the same class once more.
        name = cls.__module__, cls.__qualname__
        if any((base.__module__, base.__qualname__) == name for base in type(value).__mro__):
            return None
        return Misfit("", text, value)

    return look
