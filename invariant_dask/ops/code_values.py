"""Constants that code reaches, written by value.

More is allowed here than in artifacts, for code may hold anything that can be told apart from what
it is not: floats, sets, patterns, instances. What cannot be expressed is an error with its path.
Functions and classes inside values are left to the walk, which links to them.
"""

from __future__ import annotations

import copyreg
import datetime as dt
import enum
import functools
import itertools
import logging
import os
import re
import struct
import sys
import typing
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    UnionType,
    WrapperDescriptorType,
)
from typing import Any

from invariant_dask.core import types
from invariant_dask.core.encode import encode
from invariant_dask.core.scalars import encode_int
from invariant_dask.core.sealed import SealedDict, SealedList
from invariant_dask.errors import CodeIdentityError, NotCacheableError
from invariant_dask.ops.code_homes import (
    Home,
    home_of,
    home_of_name,
    home_of_namespace,
    public_module,
)
from invariant_dask.ops.code_parts import Chunks, Path, below, items, raw, readable, text

MAX_DEPTH = 100
MAX_AGAIN = 1000

# Left out of the state of instances: what `functools.wraps` copies and tells nothing of behaviour.
_BOOKKEEPING = frozenset(
    {"__module__", "__name__", "__qualname__", "__doc__", "__annotations__", "__annotate__",
     "__type_params__", "op_name", "node"}
)  # fmt: skip

_NAMED_BUILTINS = (
    BuiltinFunctionType,
    MethodDescriptorType,
    WrapperDescriptorType,
    MethodWrapperType,
    ClassMethodDescriptorType,
    GetSetDescriptorType,
    MemberDescriptorType,
)
_LRU_CACHE = type(functools.cache(len))
_COMPILED = frozenset({"cython_function_or_method", "fused_cython_function"})


def _float(value: float) -> bytes:
    return items(2) + text("float") + raw(struct.pack(">d", value))


def _complex(value: complex) -> bytes:
    return items(2) + text("complex") + raw(struct.pack(">dd", value.real, value.imag))


_SCALARS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"\xf6",
    bool: lambda value: b"\xf5" if value else b"\xf4",
    int: encode_int,
    float: _float,
    complex: _complex,
    bytes: raw,
    Decimal: lambda v: items(2) + text("decimal") + text(repr(tuple(v.as_tuple()))),
    Fraction: lambda v: items(3) + text("/") + encode_int(v.numerator) + encode_int(v.denominator),
    dt.date: lambda v: items(2) + text("date") + text(v.isoformat()),
    dt.timedelta: lambda v: encode(v).identity,
    type(Ellipsis): lambda _: items(1) + text("..."),
    type(NotImplemented): lambda _: items(1) + text("NotImplemented"),
}


class Values:
    """Writes values; `Walk` adds what to do with code."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._open: dict[int, int] = {}
        self._lowest = sys.maxsize
        self._done: dict[int, tuple[Any, Chunks]] = {}
        self._seen: dict[int, Any] = {}  # keeps them alive, so that ids stay unique
        self._again = 0

    # What the walk knows how to do.
    def function(self, function: FunctionType, out: Chunks, path: Path) -> None:
        raise NotImplementedError

    def foreign_function(self, function: FunctionType, out: Chunks, path: Path) -> None:
        raise NotImplementedError

    def class_(self, cls: type, out: Chunks, path: Path) -> None:
        raise NotImplementedError

    def module(self, module: ModuleType, out: Chunks, path: Path) -> None:
        raise NotImplementedError

    def use(self, home: Home) -> None:
        raise NotImplementedError

    def refuse(self, path: Path, reason: str) -> CodeIdentityError:
        return CodeIdentityError(op=self.name, path=" -> ".join(path), reason=reason)

    def value(self, value: Any, out: Chunks, path: Path, root: str | None = None) -> None:
        """Write a value; `root` is the folder whose location must not matter."""
        cls = type(value)
        scalar = _SCALARS.get(cls)
        if scalar is not None:
            out.append(scalar(value))
        elif cls is str:
            out.append(_string(value, root))
        elif cls is FunctionType and home_of_namespace(value.__globals__).is_own:
            self.function(value, out, path)
        elif isinstance(value, type):
            self.class_(value, out, path)
        elif isinstance(value, ModuleType):
            self.module(value, out, path)
        else:
            self._remembered(value, out, path, root)

    def _remembered(self, value: Any, out: Chunks, path: Path, root: str | None) -> None:
        """Write a value that may hold others: once per object, and round in circles never."""
        number = id(value)
        done = self._done.get(number)
        if done is not None:
            out.extend(done[1])
            return
        depth = len(self._open)
        if number in self._open:
            self._lowest = min(self._lowest, self._open[number])
            out.append(items(2) + text("cycle") + encode_int(depth - self._open[number]))
            return
        # What is part of a circle reads differently from each side, so it is written again.
        self._again += number in self._seen
        self._seen[number] = value
        if depth > MAX_DEPTH or self._again > MAX_AGAIN:
            reason = (
                "it is nested too deeply, or its objects refer to each other in too many circles"
            )
            raise self.refuse(path, reason)
        self._open[number] = depth
        before, self._lowest = self._lowest, sys.maxsize
        chunks: Chunks = []
        try:
            self._compound(value, chunks, path, root)
        finally:
            del self._open[number]
        if self._lowest >= depth:
            # Nothing inside points further out, so it reads the same wherever it is found.
            self._done[number] = (value, chunks)
            self._lowest = before
        else:
            self._lowest = min(before, self._lowest)
        out.extend(chunks)

    def _compound(self, value: Any, out: Chunks, path: Path, root: str | None) -> None:
        cls = type(value)
        if cls in {list, SealedList}:
            self.sequence("list", value, out, path, root)
        elif cls is tuple:
            self.sequence("tuple", value, out, path, root)
        elif cls in {dict, SealedDict, MappingProxyType}:
            out.append(items(2) + text("dict") + items(2 * len(value)))
            for key, item in value.items():
                # In the order that the code sees.
                self.value(key, out, below(path, "<key>"), root)
                self.value(item, out, below(path, f"[{_shown(key)}]"), root)
        elif cls in {set, frozenset}:
            self._set(cls.__name__, value, out, path, root)
        elif cls in {bytearray, memoryview}:
            out.append(items(2) + text(cls.__name__) + raw(bytes(value)))
        elif cls is range or cls is slice:
            self.sequence(cls.__name__, (value.start, value.stop, value.step), out, path, root)
        elif cls is FunctionType:
            self.foreign_function(value, out, path)
        elif not self._special(value, cls, out, path, root):
            self._instance(value, cls, out, path, root)

    def sequence(
        self, kind: str, values: Sequence[Any], out: Chunks, path: Path, root: str | None = None
    ) -> None:
        """Write a tagged array."""
        out.append(items(2) + text(kind) + items(len(values)))
        for index, item in enumerate(values):
            scalar = _SCALARS.get(type(item))
            if scalar is not None:
                out.append(scalar(item))
            else:
                self.value(item, out, below(path, f"[{index}]"), root)

    def _set(self, kind: str, value: Any, out: Chunks, path: Path, root: str | None) -> None:
        members: list[tuple[bytes, Chunks]] = []
        for item in value:
            chunks: Chunks = []
            self.value(item, chunks, below(path, "{}"), root)
            members.append((readable(chunks), chunks))
        members.sort(key=lambda member: member[0])
        for one, other in itertools.pairwise(members):
            if one[0] == other[0]:
                reason = "a set holds things that cannot be put in order; use a tuple or a dict"
                raise self.refuse(path, reason)
        out.append(items(2) + text(kind) + items(len(members)))
        for _, chunks in members:
            out.extend(chunks)

    def _special(self, value: Any, cls: type, out: Chunks, path: Path, root: str | None) -> bool:
        """Write what has a form of its own; False if it has none."""
        if cls is MethodType:
            self.sequence("method", (value.__func__, value.__self__), out, path, root)
        elif isinstance(value, _NAMED_BUILTINS) or cls.__name__ in _COMPILED:
            self._builtin(value, out, path, root)
        elif isinstance(value, functools.partial):
            shape = (cls, value.func, value.args, value.keywords, _state(vars(value), cls))
            self.sequence("partial", shape, out, path, root)
        elif cls is property:
            self.sequence("property", (value.fget, value.fset, value.fdel), out, path)
        elif cls in {classmethod, staticmethod}:
            self.sequence(cls.__name__, (value.__func__,), out, path)
        elif isinstance(value, functools.cached_property):
            self.sequence("cached_property", (cls, value.func), out, path)
        elif isinstance(value, functools.singledispatchmethod):
            self.sequence("singledispatchmethod", (value.dispatcher,), out, path)
        elif cls is _LRU_CACHE:
            # What it remembers follows from the function; how much of it, changes no result.
            self.sequence("lru_cache", (value.__wrapped__,), out, path)
        elif typing.get_origin(value) in {typing.Union, UnionType}:
            self.sequence("union", typing.get_args(value), out, path)
        elif cls is re.Pattern:
            self.sequence("pattern", (value.pattern, int(value.flags)), out, path)
        elif isinstance(value, enum.Enum):
            self.sequence("member", (cls, value.name or value.value), out, path)
        elif isinstance(value, logging.Logger):
            out.append(items(1) + text("logger"))  # where messages go is not part of a result
        elif isinstance(value, PurePath):
            kind = "pure" if not hasattr(cls, "exists") else "path"
            out.append(items(2) + text(kind) + _string(str(value), root))
        elif cls in {dt.datetime, dt.time}:
            plain = value.replace(tzinfo=None).isoformat()
            self.sequence(cls.__name__, (plain, value.fold, value.tzinfo), out, path)
        else:
            return False
        return True

    def _builtin(self, value: Any, out: Chunks, path: Path, root: str | None) -> None:
        owner = getattr(value, "__objclass__", None)
        if owner is not None:
            out.append(items(3) + text("attribute"))
            self.class_(owner, out, path)
            out.append(text(value.__name__))
            return
        name = getattr(value, "__qualname__", None) or value.__name__
        module = getattr(value, "__module__", None)
        bound = getattr(value, "__self__", None)
        if bound is not None and not isinstance(bound, ModuleType) and not isinstance(bound, type):
            if self._named_instance(value, value.__name__, out):
                return
            out.append(items(3) + text("bound"))
            self.value(bound, out, below(path, ".__self__"), root)
            out.append(text(value.__name__))
            return
        if module is None and isinstance(bound, type):
            module = bound.__module__
        self.named(str(module), str(name), out, path)

    def named(self, module: str, name: str, out: Chunks, path: Path) -> None:
        """Write what is known by its name: of the standard library or an installed distribution."""
        home = home_of_name(module)
        self.use(home)
        if home.kind == "stdlib":
            out.append(items(3) + text("stdlib") + text(public_module(module)) + text(name))
        elif home.kind == "installed":
            out.append(items(3) + text("installed") + text(home.distribution) + text(name))
        else:
            raise self.refuse(path, f"{module}.{name} is compiled code, which has no source")

    def _named_instance(self, value: Any, name: str, out: Chunks) -> bool:
        """Write an object that a standard module offers under this name, such as `os.environ`."""
        homes = [
            module
            for module, loaded in tuple(sys.modules.items())
            if getattr(loaded, "__dict__", {}).get(name) is value
            and home_of_name(module).kind == "stdlib"
        ]
        if homes:
            module = public_module(min(homes))
            out.append(items(3) + text("stdlib") + text(module) + text(name))
        return bool(homes)

    def _instance(self, value: Any, cls: type, out: Chunks, path: Path, root: str | None) -> None:
        """Write an instance: its class, and what it would hand to a copy of itself."""
        if hasattr(cls, "__next__"):
            raise self.refuse(path, f"{_a(cls)} is used up while it is read; keep a tuple or list")
        numpy = sys.modules.get("numpy")
        if numpy is not None and cls is numpy.ndarray:
            try:
                encoded = encode(value).identity
            except NotCacheableError:
                pass  # an array of objects: written item by item below
            else:
                out.append(items(2) + text("array") + encoded)
                return
        directly = len(self._open) == 1 and not home_of(value).is_own  # behind a name
        if directly and self._named_instance(value, path[-1].rpartition(".")[2], out):
            return
        # Asked now, so that it does not matter whether such a value was seen before.
        binding = types.binding_of(cls) or types.claimed(cls)
        if binding is not None and binding.to_value is not None:
            self.sequence("registered", (cls, binding.to_value(value)), out, path, root)
        elif binding is not None:
            self.sequence("registered", (cls, value.get_stable_hash()), out, path, root)
        else:
            self._reduced(value, cls, out, path, root)

    def _reduced(self, value: Any, cls: type, out: Chunks, path: Path, root: str | None) -> None:
        try:
            reducer = copyreg.dispatch_table.get(cls)
            reduced = value.__reduce_ex__(4) if reducer is None else reducer(value)
        except Exception as error:
            reason = f"{_a(cls)} has no value that could stand for it ({error})"
            raise self.refuse(path, reason) from error
        if isinstance(reduced, str):
            out.append(items(3) + text("global"))
            self.class_(cls, out, path)
            out.append(text(reduced))
            return
        make, arguments, state, members, pairs = (*reduced, None, None, None)[:5]
        if make is copyreg.__newobj__:  # type: ignore[attr-defined]  # not in the stubs
            make, arguments = arguments[0], arguments[1:]
        out.append(items(6) + text("instance"))
        self.value(make, out, path)
        self.sequence("arguments", arguments, out, below(path, "<arguments>"), root)
        if state is None:
            state = {}
        if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):
            state = {**(state[0] or {}), **state[1]}
        if isinstance(state, dict) and all(isinstance(key, str) for key in state):
            kept = _state(state, cls)
            out.append(items(2 * len(kept)))
            for key, item in kept.items():
                out.append(text(key))
                self.value(item, out, below(path, f".{key}"), root)
        else:
            self.value(state, out, below(path, "<state>"), root)
        self.sequence("members", list(members or ()), out, path, root)
        self.sequence("pairs", list(pairs or ()), out, path, root)


def _state(state: dict[str, Any], cls: type) -> dict[str, Any]:
    """Return what counts of the attributes of an instance, sorted."""
    return {
        key: state[key]
        for key in sorted(state)
        if key not in _BOOKKEEPING
        # Computed when first asked for, from the rest.
        and not isinstance(getattr(cls, key, None), functools.cached_property)
    }


def _string(value: str, root: str | None) -> bytes:
    if root is not None and value.startswith(root):
        rest = value[len(root) :]
        if not rest or rest[0] == os.sep:
            return items(2) + text("in project") + text(rest.replace(os.sep, "/"))
    return text(value)


def _shown(key: object) -> str:
    return f"{key!r:.40}" if type(key) in {str, int, bool} else type(key).__name__


def _a(cls: type) -> str:
    return f"{'an' if cls.__name__[:1].lower() in 'aeiou' else 'a'} {cls.__name__}"
