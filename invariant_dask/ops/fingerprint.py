"""The identity of code: a hash of a function and of all own code that it reaches.

Starting at the function, everything it refers to is followed: helpers, closures, defaults,
partials, methods, base classes, and constants by value. The user's own code enters by its syntax,
installed distributions by name and version, the standard library by name. What cannot be expressed
is an error, what cannot be seen is listed.
"""

from __future__ import annotations

import ast
import dataclasses
import dis
import functools
import hashlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

from invariant_dask.core.digest import DOMAIN_CODE
from invariant_dask.core.encode import SCALARS, encode
from invariant_dask.errors import CodeIdentityError, NotCacheableError
from invariant_dask.ops import code_source
from invariant_dask.ops.code_origin import distribution_of, is_own, is_stdlib, module_of

__all__ = ["Fingerprint", "distribution_of", "fingerprint", "fingerprint_class"]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What was found in the code of an op.

    Attributes
    ----------
    digest : str
        The hash that enters the identity, in hex.
    parts : Mapping[str, str]
        What was reached, readably, with a short hash of each: tells what changed.
    distributions : Mapping[str, str]
        Installed distributions that were reached, with their versions.
    modules : tuple of str
        Own modules that were reached.
    types : tuple of type
        Own classes that were reached.
    blind : tuple of str
        Places where code looks things up in a way that cannot be followed.
    """

    digest: str
    parts: Mapping[str, str]
    distributions: Mapping[str, str]
    modules: tuple[str, ...]
    types: tuple[type, ...]
    blind: tuple[str, ...]


def fingerprint(function: Callable[..., Any], *, name: str) -> Fingerprint:
    """Take the fingerprint of a callable.

    Raises
    ------
    CodeIdentityError
        If something it reaches cannot be expressed, or its source is not available.
    StaleCodeError
        If its source changed since it was imported.
    """
    walk = _Walk(name)
    walk.value(function, getattr(function, "__qualname__", name))
    return walk.result()


def fingerprint_class(cls: type) -> str:
    """Take the fingerprint of a class, in hex; installed classes are named by their version.

    Raises
    ------
    CodeIdentityError, StaleCodeError
        As for `fingerprint`.
    """
    home = distribution_of(cls)
    if home is not None:
        return f"{home[0]}=={home[1]}"
    return fingerprint(cls, name=cls.__qualname__).digest


class _Walk:
    """One walk over reachable code; components are numbered in the order they are met."""

    def __init__(self, op: str) -> None:
        self.op = op
        self.numbers: dict[int, int] = {}
        self.texts: list[str] = []
        self.labels: list[str] = []
        self.kept: list[Any] = []  # keeps ids unique for the length of the walk
        self.path: list[str] = []
        self.distributions: dict[str, str] = {}
        self.modules: set[str] = set()
        self.types: list[type] = []
        self.blind: list[str] = []

    def result(self) -> Fingerprint:
        whole = hashlib.sha256(DOMAIN_CODE + "\n".join(self.texts).encode("utf-8", "replace"))
        parts = {
            label: hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
            for label, text in zip(self.labels, self.texts, strict=True)
        }
        return Fingerprint(
            whole.hexdigest(),
            parts,
            dict(sorted(self.distributions.items())),
            tuple(sorted(self.modules)),
            tuple(self.types),
            tuple(self.blind),
        )

    def fail(self, reason: str) -> CodeIdentityError:
        return CodeIdentityError(op=self.op, path=" -> ".join(self.path), reason=reason)

    # --- values ---

    def value(self, obj: Any, name: str) -> str:
        """Return the text of a value; code and containers are components of their own."""
        self.path.append(name)
        try:
            return self._value(obj)
        finally:
            self.path.pop()

    def _value(self, obj: Any) -> str:
        if obj is None or isinstance(obj, bool) or obj is Ellipsis or obj is NotImplemented:
            return repr(obj)
        if type(obj) is float:
            return f"float {obj.hex()}"
        if type(obj) is complex:
            return f"complex {obj.real.hex()} {obj.imag.hex()}"
        if isinstance(obj, ModuleType):
            return self._module(obj)
        if id(obj) in self.numbers:
            return f"#{self.numbers[id(obj)]}"
        if isinstance(obj, type):
            return self._class(obj)
        if isinstance(obj, FunctionType):
            return self._function(obj)
        special = self._special(obj)
        if special is not None:
            return special
        if type(obj) in SCALARS or type(obj) is bytes or type(obj).__name__ == "ndarray":
            try:
                return "value " + encode(obj).hash.hex()
            except NotCacheableError as error:
                raise self.fail(error.reason) from None
        return self._taken_apart(obj)

    def _special(self, obj: Any) -> str | None:
        """Return the text of what stands for other code, or None."""
        if isinstance(obj, MethodType):
            return f"method {self.value(obj.__func__, obj.__name__)} of {self._value(obj.__self__)}"
        if isinstance(obj, functools.partial):
            inner = self.value(obj.func, "partial")
            arguments = self._value([list(obj.args), dict(obj.keywords)])
            return f"partial {inner} {arguments}"
        if isinstance(obj, staticmethod | classmethod):
            return f"{type(obj).__name__} {self.value(obj.__func__, obj.__name__)}"
        if isinstance(obj, property):
            return "property " + " ".join(map(self._value, (obj.fget, obj.fset, obj.fdel)))
        if isinstance(obj, functools.cached_property):
            return "cached property " + self._value(obj.func)
        if isinstance(obj, BuiltinFunctionType | WrapperDescriptorType | MethodDescriptorType):
            return self._named(obj, getattr(obj, "__qualname__", obj.__name__))
        registry = getattr(obj, "registry", None)
        wrapped = getattr(obj, "__wrapped__", None)
        if isinstance(wrapped, FunctionType) and not isinstance(registry, MappingProxyType):
            return f"{type(obj).__qualname__} around {self.value(wrapped, wrapped.__qualname__)}"
        return None

    def _taken_apart(self, obj: Any) -> str:
        number = self._new(obj)
        cls = type(obj)
        if isinstance(obj, list | tuple) and cls in {list, tuple}:
            items = [self.value(item, f"[{i}]") for i, item in enumerate(obj)]
            return self._done(number, f"{cls.__name__} {items}")
        if isinstance(obj, set | frozenset):
            items = sorted(self.value(item, "item") for item in obj)
            return self._done(number, f"{cls.__name__} {items}")
        if isinstance(obj, dict | MappingProxyType) and not is_own(cls):
            # In their order: code that walks over a dict can tell it.
            pairs = [
                f"{self.value(key, 'key')}: {self.value(item, f'[{key!r:.40}]')}"
                for key, item in obj.items()
            ]
            return self._done(number, f"{cls.__name__} {pairs}")
        if isinstance(obj, Enum):
            return self._done(number, f"member {obj.name} of {self._value(cls)}")
        if isinstance(obj, re.Pattern):
            return self._done(number, f"pattern {obj.pattern!r} {obj.flags}")
        return self._done(number, self._object(obj))

    def _object(self, obj: Any) -> str:
        """Return the text of an object: its class, and its state by value."""
        cls = type(obj)
        if cls.__module__ == "logging" and hasattr(obj, "name"):
            return f"logger {obj.name}"
        if cls.__module__ == "weakref":
            return "weak"
        if obj is os.environ:
            self._note_blind(f"environment at {' -> '.join(self.path)}")
            return "environment"
        if cls.__name__ in {"dtype", "ufunc"} or cls.__module__.startswith("numpy.dtypes"):
            return f"{cls.__name__} {obj!r} {self._module_name(cls.__module__)}"
        if module_of(obj) == "typing" or cls.__module__ in {"typing", "types"}:
            return f"typing {obj!r}"
        state = dict(_state_of(obj))
        plain = not is_own(cls) and cls.__module__ != "builtins"
        if plain and (not state or is_stdlib(cls.__module__)):
            return self._reduced(obj)
        if cls.__module__ == "builtins":
            raise self.fail(f"a {cls.__name__} has no value that could be compared")
        text = self._value(cls)
        items = [f"{key}={self.value(state[key], '.' + key)}" for key in sorted(state)]
        for base in (int, str, bytes, float, list, tuple, dict, set, frozenset):
            if isinstance(obj, base):
                items.append(self.value(base(obj), base.__name__))
        return f"object of {text} with {items}"

    def _reduced(self, obj: Any) -> str:
        """Return the text of an object of foreign code: by how it would be pickled."""
        cls = type(obj)
        try:
            reduced = obj.__reduce_ex__(4)
        except TypeError:
            raise self.fail(f"a {cls.__module__}.{cls.__qualname__} has no value") from None
        if isinstance(reduced, str):
            return self._named(obj, reduced)
        return f"{self._named(cls, cls.__qualname__)} {self._value(list(reduced[1:3]))}"

    # --- code ---

    def _module(self, module: ModuleType) -> str:
        if is_own(module):
            self._note_blind(f"module {module.__name__} is passed around whole")
            self.modules.add(module.__name__)
            return "an own module"
        return f"module {self._module_name(module.__name__)}"

    def _module_name(self, name: str) -> str:
        home = distribution_of(sys.modules.get(name) or ModuleType(name))
        if home is not None:
            if home[0] != "invariant-dask":
                self.distributions[home[0]] = home[1]
            return name
        return name

    def _named(self, obj: Any, qualname: str) -> str:
        module = module_of(obj)
        owner = getattr(obj, "__objclass__", None)
        if module is None and owner is not None:
            module = module_of(owner)
        if module is None:
            bound = getattr(obj, "__self__", None)
            if bound is not None and not isinstance(bound, ModuleType):
                return f"{qualname} of {self._value(bound)}"
            module = "builtins"
        return f"name {self._module_name(module)}:{qualname}"

    def _function(self, function: FunctionType) -> str:
        if not is_own(function):
            return self._foreign_function(function)
        number = self._new(function)
        label = f"function {function.__module__}.{function.__qualname__}"
        self._note_module(function.__module__)
        try:
            node = code_source.syntax_of(function)
        except code_source.NoSourceError:
            raise self.fail("its source is not available") from None
        text = [f"function {code_source.body_text(node)}"]
        for what, values in (
            ("defaults", function.__defaults__),
            ("keyword defaults", function.__kwdefaults__),
        ):
            if values:
                text.append(f"{what} {self.value(values, what)}")
        text += self._closure(function)
        text += self._globals(function, node)
        return self._done(number, "; ".join(text), label)

    def _foreign_function(self, function: FunctionType) -> str:
        text = self._named(function, function.__qualname__)
        if not function.__closure__ and not hasattr(function, "__wrapped__"):
            return text
        number = self._new(function)
        cells = function.__closure__ or ()
        inner = [self.value(c.cell_contents, "closure") for c in cells if _filled(c)]
        wrapped = getattr(function, "__wrapped__", None)
        if isinstance(wrapped, FunctionType):
            inner.append(self.value(wrapped, wrapped.__qualname__))
        return self._done(number, f"{text} over {inner}")

    def _closure(self, function: FunctionType) -> Iterator[str]:
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            if name == "__class__":
                continue  # of a method that says super(): its class is reached by another way
            content = self.value(cell.cell_contents, name) if _filled(cell) else "empty"
            yield f"closure {name} {content}"

    def _globals(self, function: FunctionType, node: ast.AST) -> Iterator[str]:
        scope = function.__globals__
        builtins = vars(sys.modules["builtins"])
        wanted = _references(node)
        for name in _global_names(function.__code__):
            if name not in wanted:
                continue  # class bodies load names that nobody wrote
            if name in scope:
                for chain in sorted(wanted[name]):
                    yield f"{'.'.join((name, *chain))} = {self._chain(scope[name], name, chain)}"
            elif name in builtins:
                if name in {"globals", "eval", "exec", "__import__", "vars", "locals"} or name in {
                    "getattr",
                    "setattr",
                }:
                    self._note_blind(f"{name}() in {function.__qualname__}")
                yield f"{name} is builtin"
            else:
                yield f"{name} is missing"

    def _chain(self, obj: Any, name: str, chain: tuple[str, ...]) -> str:
        """Follow `module.module.thing`; foreign modules enter by name, whatever is in them."""
        rest = list(chain)
        where = name
        while isinstance(obj, ModuleType) and rest:
            if not is_own(obj):
                return f"name {self._module_name(obj.__name__)}:{'.'.join(rest)}"
            self._note_module(obj.__name__)
            attribute = rest.pop(0)
            if not hasattr(obj, attribute):
                return f"{attribute} is missing"
            obj = getattr(obj, attribute)
            where = f"{where}.{attribute}"
        return self.value(obj, where)

    def _class(self, cls: type) -> str:
        if not is_own(cls):
            return self._named(cls, cls.__qualname__)
        number = self._new(cls)
        self._note_module(cls.__module__)
        self.types.append(cls)
        text = [
            f"class {cls.__name__}; bases {[self.value(base, base.__name__) for base in cls.__bases__]}"
        ]
        if type(cls) is not type:
            text.append(f"metaclass {self.value(type(cls), type(cls).__name__)}")
        if "__annotations__" in vars(cls) or hasattr(cls, "__dataclass_fields__"):
            text.append(f"fields {list(getattr(cls, '__annotations__', {}))}")
        for item in getattr(cls, "__dataclass_fields__", {}).values():
            how = (item.init, item.repr, item.hash, item.compare, item.kw_only)
            if item.default_factory is not dataclasses.MISSING:
                made = self.value(item.default_factory, f"{cls.__name__}.{item.name}")
                text.append(f"{item.name} made by {made}")
            text.append(f"{item.name} {how}")
        for name, member in sorted(vars(cls).items()):
            if name in _CLASS_NOISE or name.startswith("_abc_") or _is_generated(cls, member):
                continue
            text.append(f"{name} = {self.value(member, f'{cls.__name__}.{name}')}")
        label = f"class {cls.__module__}.{cls.__qualname__}"
        return self._done(number, "; ".join(text), label)

    # --- bookkeeping ---

    def _new(self, obj: Any) -> int:
        number = self.numbers[id(obj)] = len(self.texts)
        self.kept.append(obj)
        self.texts.append("")
        self.labels.append("")
        return number

    def _done(self, number: int, text: str, label: str | None = None) -> str:
        self.texts[number] = text
        self.labels[number] = label or f"value {number} at {' -> '.join(self.path)}"
        return f"#{number}"

    def _note_module(self, name: str) -> None:
        if name not in {"__main__", "__mp_main__"}:
            self.modules.add(name)

    def _note_blind(self, what: str) -> None:
        if what not in self.blind:
            self.blind.append(what)


_CLASS_NOISE = frozenset({
    "__annotate__", "__annotate_func__", "__annotations__", "__annotations_cache__",
    "__dataclass_fields__", "__dataclass_params__", "__dict__", "__doc__", "__firstlineno__",
    "__match_args__", "__module__", "__parameters__", "__qualname__", "__slotnames__",
    "__static_attributes__", "__weakref__", "__abstractmethods__", "_member_map_",
    "_member_names_", "_value2member_map_", "_unhashable_values_", "_unhashable_values_map_",
    "_hashable_values_", "__hash__",
})  # fmt: skip


def _is_generated(cls: type, member: Any) -> bool:
    """Whether a class member was made by a decorator from what enters anyway."""
    if isinstance(member, GetSetDescriptorType | MemberDescriptorType):
        return True
    if not isinstance(member, FunctionType):
        return False
    filename = inspect.unwrap(member).__code__.co_filename
    if hasattr(cls, "__dataclass_fields__"):
        return filename == "<string>"
    return filename.startswith("<attrs")


def _state_of(obj: Any) -> Iterator[tuple[str, Any]]:
    yield from getattr(obj, "__dict__", {}).items()
    for cls in type(obj).__mro__:
        slots = vars(cls).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(obj, name) and name not in {"__dict__", "__weakref__"}:
                yield name, getattr(obj, name)


def _filled(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


@functools.lru_cache(maxsize=4096)
def _global_names(code: CodeType) -> tuple[str, ...]:
    """Return the global names that code and the functions inside it load, sorted."""
    names = set()
    stack = [code]
    while stack:
        current = stack.pop()
        for instruction in dis.get_instructions(current):
            if instruction.opname in {"LOAD_GLOBAL", "LOAD_NAME"}:
                names.add(instruction.argval)
        stack.extend(c for c in current.co_consts if isinstance(c, CodeType))
    return tuple(sorted(names - {"__annotations__", "__conditional_annotations__"}))


@functools.lru_cache(maxsize=4096)
def _references(node: ast.AST) -> Mapping[str, frozenset[tuple[str, ...]]]:
    """Return the attribute chains that follow each name: `a.b.c` is a: {(b, c)}."""
    found: dict[str, set[tuple[str, ...]]] = {}
    stack: list[ast.AST] = [node]
    while stack:
        current = stack.pop()
        chain: list[str] = []
        head = current
        while isinstance(head, ast.Attribute):
            chain.append(head.attr)
            head = head.value
        if isinstance(head, ast.Name):
            found.setdefault(head.id, set()).add(tuple(reversed(chain)))
            continue
        for name, value in ast.iter_fields(current):
            if name not in {"annotation", "returns", "type_params"}:
                children = value if isinstance(value, list) else [value]
                stack.extend(child for child in children if isinstance(child, ast.AST))
    return {name: frozenset(chains) for name, chains in found.items()}
