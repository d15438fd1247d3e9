"""Check values against type hints, as far as values of our canonical forms can tell.

What a static type checker lets pass, passes, and what is not understood is accepted. More lenient
than type checkers, because values may come from documents: a list fits where a tuple is hinted and
the reverse, and an int fits `Decimal` and `Fraction`. Stricter: True is no `int`, since it has
another identity. A check only ever refuses; no digest depends on it.
"""

from __future__ import annotations

import collections
import datetime as dt
import numbers
import os
import types
import typing
from collections import abc
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from invariant_dask.core.files import File
from invariant_dask.core.sealed import SealedDict, SealedList
from invariant_dask.core.types import binding_of
from invariant_dask.ops.hints import hint_text, read_hints
from invariant_dask.ops.misfits import Check, Misfit, either, instance, literal, misfit_text


def check(value: Any, hint: Any) -> str | None:
    """Return how a value does not fit a hint, or None if it does.

    Examples
    --------
    >>> check([1, "2"], list[int])
    "[1] must be int, not the str '2'"
    >>> check([1, 2], tuple[int, ...] | None)
    """
    compiled = Checks().check(hint)
    misfit = None if compiled is None else compiled(value)
    return None if misfit is None else misfit_text(misfit)


_NUMBERS = frozenset({int, Decimal, Fraction, float})

# The exact types that fit; floats never get here, as the encoding refuses them with a cure.
_SCALARS: dict[Any, frozenset[type]] = {
    None: frozenset({type(None)}), type(None): frozenset({type(None)}),
    bool: frozenset({bool}), int: frozenset({int}), str: frozenset({str}),
    float: _NUMBERS, complex: _NUMBERS, Decimal: frozenset({Decimal, int}),
    Fraction: frozenset({Fraction, int}),
    bytes: frozenset({bytes}), bytearray: frozenset({bytes}), memoryview: frozenset({bytes}),
    dt.date: frozenset({dt.date, dt.datetime}), dt.datetime: frozenset({dt.datetime}),
    dt.time: frozenset({dt.time}), dt.timedelta: frozenset({dt.timedelta}),
}  # fmt: skip

_LISTS = frozenset({list, tuple, SealedList})
_DICTS = frozenset({dict, SealedDict})
_BARE: dict[Any, frozenset[type]] = {list: _LISTS, tuple: _LISTS, dict: _DICTS}

# Of these an item or a value is looked at; strings and arrays fit where Python says so.
_LIST_LIKE = frozenset({
    list, abc.Sequence, abc.MutableSequence, abc.Iterable, abc.Collection, abc.Reversible,
    abc.Container, collections.deque,
})  # fmt: skip
_DICT_LIKE = frozenset({
    dict, abc.Mapping, abc.MutableMapping, collections.OrderedDict, collections.defaultdict,
})  # fmt: skip

# No value is any of these, so such a hint cannot be meant to the letter.
_UNSEEN: tuple[type, ...] = (
    set, frozenset, abc.Set, abc.Iterator, abc.Awaitable, abc.AsyncIterable, typing.IO, type,
)  # fmt: skip

_ANYTHING: frozenset[Any] = frozenset({Any, object, abc.Hashable, abc.Callable})
_WRAPPERS = (typing.Annotated, typing.Final, typing.ClassVar, typing.Required, typing.NotRequired)
_UNIONS = (typing.Union, types.UnionType)
_MAX_DEPTH = 20


class Checks:
    """Makes checks of hints; None stands for a check that lets all pass."""

    def __init__(self) -> None:
        self.depth = 0
        self.aliases: dict[int, tuple[Any, list[Check | None]]] = {}

    def check(self, hint: Any) -> Check | None:
        if self.depth > _MAX_DEPTH:
            return None
        self.depth += 1
        try:
            return self._check(hint)
        except TypeError:  # a hint, or a class of classes, of a kind that is unknown here
            return None
        finally:
            self.depth -= 1

    def _check(self, hint: Any) -> Check | None:
        if isinstance(hint, type | None) and hint in _SCALARS:
            return Check(hint_text(hint), _SCALARS[hint])
        if isinstance(hint, type) and hint in _BARE:
            return Check(hint_text(hint), _BARE[hint])
        if isinstance(hint, typing.NewType):
            return self.check(hint.__supertype__)
        if isinstance(hint, typing.TypeVar):
            return self._variable(hint)
        if hasattr(hint, "__value__") and not isinstance(hint, type):
            return self._alias(hint)
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin is None:
            return self._class(hint, hint) if isinstance(hint, type) else None
        if origin in _WRAPPERS:
            return self.check(arguments[0])
        if origin in _UNIONS:
            options = [self.check(one) for one in arguments]
            return None if None in options else either(hint_text(hint), options)  # type: ignore[arg-type]
        if origin is typing.Literal:
            return literal(hint_text(hint), arguments)
        if hasattr(origin, "__value__") and not isinstance(origin, type):
            return self._alias(hint)
        if not arguments and origin in _BARE and hint != tuple[()]:
            return Check(hint_text(hint), _BARE[origin])
        if origin is tuple:
            return self._tuple(hint, arguments)
        if origin in _LIST_LIKE and len(arguments) == 1:
            return self._list(hint, origin, self.check(arguments[0]))
        if origin in _DICT_LIKE and len(arguments) == 2:
            return self._dict(hint, origin, *map(self.check, arguments))
        return self._class(hint, origin) if isinstance(origin, type) else None

    def _variable(self, hint: Any) -> Check | None:
        if hint.__constraints__:
            return self.check(typing.Union[hint.__constraints__])  # noqa: UP007  made of a tuple
        return None if hint.__bound__ is None else self.check(hint.__bound__)

    def _alias(self, hint: Any) -> Check | None:
        """Return the check of a `type` statement, which may speak of itself."""
        if id(hint) in self.aliases:
            _, known = self.aliases[id(hint)]
            text = hint_text(hint)
            return Check(text, (), lambda value: known[0](value) if known and known[0] else None)
        made: list[Check | None] = []
        self.aliases[id(hint)] = hint, made  # held, so that its id stays taken
        try:
            value = hint.__value__
        except NameError:  # evaluated only now
            return None
        if typing.get_origin(hint) is not None:
            value = value[typing.get_args(hint)]
        made.append(self.check(value))
        return made[0]

    def _tuple(self, hint: Any, arguments: tuple[Any, ...]) -> Check | None:
        text = hint_text(hint)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return self._list(hint, tuple, self.check(arguments[0]))
        if any(typing.get_origin(one) is typing.Unpack for one in arguments):
            return Check(text, _LISTS)
        items = [self.check(one) for one in arguments]

        def look(value: Any) -> Misfit | None:
            if not isinstance(value, list | tuple) or len(value) != len(items):
                return Misfit("", text, value)
            for at, (item, part) in enumerate(zip(items, value, strict=True)):
                if item is not None and (misfit := item(part)):
                    return misfit.within(f"[{at}]")
            return None

        return Check(text, (), look)

    def _list(self, hint: Any, origin: Any, items: Check | None) -> Check:
        text = hint_text(hint)
        kinds = (list, tuple, origin)

        def look(value: Any) -> Misfit | None:
            if not isinstance(value, kinds):
                return Misfit("", text, value)
            if isinstance(value, str):
                fits = items is None or str in items.exact
                return None if fits else Misfit("", text, value)
            if not isinstance(value, list | tuple) or items is None:
                return None
            if items.exact.issuperset(map(type, value)):
                return None
            for at, part in enumerate(value):
                if misfit := items(part):
                    return misfit.within(f"[{at}]")
            return None

        return Check(text, _LISTS if items is None else (), look)

    def _dict(self, hint: Any, origin: Any, keys: Check | None, values: Check | None) -> Check:
        text = hint_text(hint)
        kinds = (dict, origin)

        def look(value: Any) -> Misfit | None:
            if not isinstance(value, kinds):
                return Misfit("", text, value)
            if not isinstance(value, dict):
                return None
            if keys is not None and not keys.exact.issuperset(map(type, value)):
                for key in value:
                    if misfit := keys(key):
                        return misfit.within(f" key {key!r:.40}")
            if values is None or values.exact.issuperset(map(type, value.values())):
                return None
            for key, part in value.items():
                if misfit := values(part):
                    return misfit.within(f"[{key!r:.40}]")
            return None

        return Check(text, _DICTS if keys is None and values is None else (), look)

    def _class(self, hint: Any, cls: type) -> Check | None:
        text = hint_text(hint)
        if cls in _ANYTHING:
            return None
        if typing.is_typeddict(cls):
            return self._typed_dict(text, cls)
        if getattr(cls, "_is_protocol", False) and not getattr(cls, "_is_runtime_protocol", False):
            return None
        if issubclass(cls, _UNSEEN) and binding_of(cls) is None:
            return None
        if cls is File:
            return Check(text, (), instance(text, _file_handle()))
        exact: Iterable[type] = ()
        if cls in _LIST_LIKE or cls in _DICT_LIKE:
            exact = _LISTS if cls in _LIST_LIKE else _DICTS
        elif binding_of(cls) is None:
            exact = _kin(cls)
        return Check(text, exact, instance(text, cls))

    def _typed_dict(self, text: str, cls: Any) -> Check:
        hints = read_hints(cls)
        fields = {name: self.check(hint) for name, hint in hints.items()}
        # The class itself does not see it in hints that are text.
        optional = {n for n, hint in hints.items() if typing.get_origin(hint) is typing.NotRequired}
        required = cls.__required_keys__ - optional

        def look(value: Any) -> Misfit | None:
            if not isinstance(value, dict):
                return Misfit("", text, value)
            for name, field in fields.items():
                if name not in value:
                    if name in required:
                        return Misfit("", f"{text} with a {name!r}", value)
                elif field is not None and (misfit := field(value[name])):
                    return misfit.within(f"[{name!r}]")
            return None

        return Check(text, (), look)


def _kin(cls: type) -> Iterable[type]:
    """Return the plain types that values have in place of a class that none of them can be."""
    if issubclass(cls, numbers.Number) and cls not in _SCALARS:
        return _NUMBERS
    if issubclass(cls, os.PathLike):
        return {str}
    for plain, exact in _SCALARS.items():
        if isinstance(plain, type) and issubclass(cls, plain):
            return exact
    for plain, exact in _BARE.items():
        if issubclass(cls, plain):
            return exact
    return ()


def _file_handle() -> type:
    from invariant_dask.store.files import FileHandle  # heavy, and rarely needed

    return FileHandle
