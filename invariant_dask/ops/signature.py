"""The parameters of an op, read once when it is registered.

Knows what an op takes and whether a node's parameters fit; knows nothing of nodes or of values,
but that a default must be a value that has an identity.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from invariant_dask.core import types
from invariant_dask.core.decode import decode
from invariant_dask.core.encode import encode
from invariant_dask.core.scalars import SCALARS, encode_str, is_text
from invariant_dask.errors import NotCacheableError, ParameterError, RegistrationError

Fields = tuple[tuple[str, bytes], ...]
"""Names with their encoded keys, in canonical order."""


class Signature:
    """What an op takes.

    Attributes
    ----------
    fields : tuple of (str, bytes)
        Each named parameter with its encoded key, in canonical order: shorter keys first, then
        bytewise.
    names, required : frozenset of str
        All named parameters, and those without a default.
    defaults : Mapping[str, object]
        Private copies of the defaults; they are bound into the manifest.
    open : bool
        Whether the op takes any further parameter (`**kwargs`).
    """

    __slots__ = ("defaults", "fields", "names", "open", "required")

    def __init__(
        self, required: Iterable[str], defaults: Mapping[str, object], *, accepts_any: bool = False
    ) -> None:
        self.required = frozenset(required)
        self.defaults = dict(defaults)
        self.names = self.required | self.defaults.keys()
        self.fields = _in_canonical_order(self.names)
        self.open = accepts_any

    def __repr__(self) -> str:
        return f"Signature({self.describe()})"

    def check(self, params: Mapping[str, object], *, node: str, op: str) -> None:
        """Refuse parameters that the op does not take, and the lack of those that it needs.

        Raises
        ------
        ParameterError
            One error for all that is wrong.
        """
        given = params.keys()
        # Called once per node of a graph: nearly all nodes give all parameters, or fit.
        if given == self.names:
            return
        if given >= self.required and (self.open or given <= self.names):
            if self.open and not all(map(is_text, given)):
                raise ParameterError(self._complaint(given, node, op))
            return
        raise ParameterError(self._complaint(given, node, op))

    def bind(self, params: Mapping[str, object], *, node: str, op: str) -> dict[str, object]:
        """Return the parameters with defaults filled in, in canonical order.

        Raises
        ------
        ParameterError
            If they do not fit.
        """
        self.check(params, node=node, op=op)
        defaults = self.defaults
        return {
            name: params[name] if name in params else defaults[name]
            for name, _ in self.fields_of(params)
        }

    def fields_of(self, params: Iterable[str]) -> Fields:
        """Return names and encoded keys of all that enters a manifest, in canonical order."""
        if not self.open:
            return self.fields
        return _in_canonical_order(self.names.union(params))

    def describe(self) -> str:
        """Return what the op takes, as a reader would write it: `image, sigma=2, **`."""
        needed = sorted(self.required)
        optional = [f"{name}={_brief(value)}" for name, value in sorted(self.defaults.items())]
        return ", ".join([*needed, *optional, *(["**"] if self.open else [])])

    def _complaint(self, given: Iterable[str], node: str, op: str) -> str:
        given = list(given)
        names = set(filter(is_text, given))
        problems = [
            f"parameter names are str that have a UTF-8 form, not {name!r}"
            for name in given
            if name not in names
        ]
        if missing := sorted(self.required - names):
            problems.append(f"missing {_listed(missing)}")
        surplus = [] if self.open else sorted(names - self.names)
        for name in surplus:
            # What is there already cannot be what was meant.
            close = get_close_matches(name, sorted(self.names - names), n=1, cutoff=0.6)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            problems.append(f"unknown {name!r}{hint}")
        takes = self.describe() or "no parameters"
        return f"node {node!r}: {'; '.join(problems)}; op {op!r} takes {takes}"


def signature_of(name: str, function: Callable[..., Any]) -> Signature:
    """Read the signature of a function that is to be registered as an op.

    Raises
    ------
    RegistrationError
        If its parameters cannot all be given by name, or a default has no identity.
    """
    required: list[str] = []
    defaults: dict[str, object] = {}
    accepts_any = False
    _check_plain(name, function)
    try:
        parameters = inspect_signature(function).parameters
    except (TypeError, ValueError):
        msg = (
            f"op {name!r}: the parameters of {function!r} cannot be read; "
            "wrap it in a function of your own that names them"
        )
        raise RegistrationError(msg) from None
    for parameter in parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            accepts_any = True
            continue
        _check_kind(name, parameter)
        if parameter.default is parameter.empty:
            required.append(parameter.name)
        else:
            defaults[parameter.name] = _private_default(name, parameter.name, parameter.default)
    return Signature(required, defaults, accepts_any=accepts_any)


def inspect_signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a callable without evaluating its annotations."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        # Annotations may name what is imported for type checkers only; nobody needs them here.
        return inspect.signature(function, annotation_format=Format.FORWARDREF)
    return inspect.signature(function)


def _check_plain(op: str, function: Callable[..., Any]) -> None:
    inner = function if isinstance(function, type) else inspect.unwrap(function)
    if inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner):
        msg = f"op {op!r} is an async function; ops are plain functions, run by Dask in parallel"
        raise RegistrationError(msg)
    if inspect.isgeneratorfunction(inner):
        msg = f"op {op!r} is a generator; return a list, so that there is a value to keep"
        raise RegistrationError(msg)


def _check_kind(op: str, parameter: inspect.Parameter) -> None:
    if parameter.kind is parameter.VAR_POSITIONAL:
        msg = (
            f"op {op!r} takes *{parameter.name}, but ops are called by parameter name; "
            f"take a list instead: {parameter.name}: list"
        )
        raise RegistrationError(msg)
    if parameter.kind is parameter.POSITIONAL_ONLY:
        msg = (
            f"op {op!r}: parameter {parameter.name!r} is positional-only, but ops are called by "
            "parameter name; drop the '/' of its signature, or wrap it in a function of your own"
        )
        raise RegistrationError(msg)


def _private_default(op: str, parameter: str, value: object) -> object:
    if _has_registered_type(value):
        # Its identity may be a fingerprint of a class whose module is not fully there yet; it is
        # checked when a manifest first needs it.
        return value
    try:
        encoded = encode(value)
    except NotCacheableError as error:
        msg = f"op {op!r}: the default of {error.of(parameter)}"
        raise RegistrationError(msg) from None
    if type(value) in SCALARS:
        return value
    # A copy: who changes the function's own default later changes no identity.
    return decode(encoded.storage, fetch=lambda blob, _: encoded.blobs[blob], sealed=True)


def _has_registered_type(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return types.binding_of(type(value)) is not None or any(map(_has_registered_type, value))
    if isinstance(value, dict):
        return any(map(_has_registered_type, value.values()))
    return types.binding_of(type(value)) is not None


def _in_canonical_order(names: Iterable[str]) -> Fields:
    encoded = sorted((encode_str(name), name) for name in names)
    return tuple((name, key) for key, name in encoded)


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names))


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
