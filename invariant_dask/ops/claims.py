"""Classes that are values without `@cacheable`, because their author said so otherwise.

A class is taken for what it declares: it inherits from `ICacheable` (ours or that of the package
`invariant`), or it has the three methods and comes from an installed distribution that provides
op packages. Only classes that are there already are looked at: those of live values, those of a
package whose ops were asked for, and those that a task was told of by its client. What stored
bytes name is never imported.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import ModuleType
from typing import Any, Final

from invariant_dask.core import types
from invariant_dask.core.types import ICacheable
from invariant_dask.ops.code_homes import distribution_of
from invariant_dask.ops.types import cacheable

GROUP: Final = "invariant.ops"
"""The entry-point group of op packages."""

_METHODS: Final = ("get_stable_hash", "to_stream", "from_stream")
_UPSTREAM: Final = ("invariant.protocol", "ICacheable")

_references: tuple[int, tuple[str, ...]] = 0, ()


def claim(cls: type) -> bool:
    """Register the class of a live value, if it is one that needs no `@cacheable`."""
    if not _is_stream(cls) or not (_inherits(cls) or _is_provided(cls)):
        return False
    cacheable(cls)
    return True


types.on_unknown(claim)


def claim_declared() -> None:
    """Register all classes there are that inherit from `ICacheable` and are found by their name.

    Called when an op is looked up, so that what it has stored can be read before it runs.
    """
    stack: list[type] = [*_roots()]
    seen = set(stack)
    while stack:
        subclasses: list[type] = type.__subclasses__(stack.pop())
        for cls in subclasses:
            if cls not in seen:
                seen.add(cls)
                stack.append(cls)
                if types.binding_of(cls) is None and _is_stream(cls) and _is_found(cls):
                    cacheable(cls)


def claim_package(functions: Iterable[Callable[..., Any]]) -> None:
    """Register the classes with the three methods that belong to a package of ops.

    Of an installed package all that its loaded modules define, and what the modules of its ops
    have; of own code only the latter.
    """
    namespaces: dict[str, dict[str, Any]] = {}
    tops: set[str] = set()
    for function in functions:
        inner = _plain(function)
        namespace = getattr(inner, "__globals__", None)
        name = getattr(inner, "__module__", None)
        if not isinstance(namespace, dict) or not isinstance(name, str):
            continue
        namespaces[name] = namespace
        if distribution_of(inner) is not None:
            tops.add(name.partition(".")[0])
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in tops and isinstance(module, ModuleType):
            namespaces.setdefault(name, vars(module))
    for namespace in namespaces.values():
        for cls in _classes_in(namespace):
            if types.binding_of(cls) is None and _is_stream(cls) and _is_found(cls):
                cacheable(cls)


def references() -> tuple[str, ...]:
    """Return `module:qualname` of those registered classes that installed modules define.

    A process that is to read their values, and has not seen their package, is told by this list.
    """
    global _references  # noqa: PLW0603  asked for once per graph, and rarely another
    bindings = types.bindings()
    if _references[0] != len(bindings):
        classes = [binding.cls for binding in bindings if binding.is_stream]
        found = {
            f"{cls.__module__}:{cls.__qualname__}"
            for cls in classes
            if _is_found(cls) and distribution_of(cls) is not None
        }
        _references = len(bindings), tuple(sorted(found))
    return _references[1]


def bind_references(references: Iterable[str]) -> None:
    """Import and register the classes that another process of the same user told us of.

    Raises
    ------
    ImportError
        If a module is not there.
    """
    for reference in references:
        module, _, qualname = reference.partition(":")
        found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part, None)
        if isinstance(found, type) and types.binding_of(found) is None and _is_stream(found):
            cacheable(found)


def _roots() -> Iterator[type]:
    yield ICacheable
    module, name = _UPSTREAM
    theirs = getattr(sys.modules.get(module), name, None)
    if isinstance(theirs, type):
        yield theirs


def _inherits(cls: type) -> bool:
    return any(root in cls.__mro__ for root in _roots())


def _is_provided(cls: type) -> bool:
    """Return whether the distribution that a class comes from provides packages of ops."""
    home = distribution_of(cls) if _is_found(cls) else None
    if home is None:
        return False
    from importlib import metadata  # slow to import, and rarely needed

    entries = metadata.entry_points(group=GROUP)
    return home[0] in {entry.dist.metadata["Name"] for entry in entries if entry.dist is not None}


def _is_stream(cls: type) -> bool:
    """Return whether a class defines the three methods, and is more than their description."""
    if vars(cls).get("_is_protocol") or inspect.isabstract(cls):
        return False
    bases = [vars(base) for base in cls.__mro__ if not vars(base).get("_is_protocol")]
    return all(any(method in base for base in bases) for method in _METHODS)


def _is_found(cls: type) -> bool:
    """Return whether a class is what stands under its name: no local one, none made anew since."""
    found: Any = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is cls


def _classes_in(namespace: dict[str, Any]) -> list[type]:
    # By exact metaclass: to ask some objects for their class makes them import things.
    return [value for value in list(namespace.values()) if issubclass(type(value), type)]


def _plain(function: Any) -> Any:
    while isinstance(function, partial):
        function = function.func
    return inspect.unwrap(function) if callable(function) else function
