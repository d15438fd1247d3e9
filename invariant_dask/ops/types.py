"""`@cacheable`: make a class of your own a value that ops can take and return.

Decides how a class is taken apart and put together again; the table of types is the core's.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Any, TypeVar, overload

from invariant_dask.core.types import TypeBinding, bind
from invariant_dask.errors import RegistrationError
from invariant_dask.ops.signature import inspect_signature

T = TypeVar("T")

_ToValue = Callable[[Any], Any]
_FromValue = Callable[[Any], Any]


@overload
def cacheable(cls: type[T], /) -> type[T]: ...


@overload
def cacheable(
    cls: type[T],
    /,
    *,
    name: str | None = None,
    version: str | None = None,
    to_value: Callable[[T], Any] | None = None,
    from_value: Callable[[Any], T] | None = None,
) -> type[T]: ...


@overload
def cacheable(
    *,
    name: str | None = None,
    version: str | None = None,
    to_value: _ToValue | None = None,
    from_value: _FromValue | None = None,
) -> Callable[[type[T]], type[T]]: ...


def cacheable(
    cls: type[Any] | None = None,
    /,
    *,
    name: str | None = None,
    version: str | None = None,
    to_value: _ToValue | None = None,
    from_value: _FromValue | None = None,
) -> Any:
    """Register a class whose values have an identity.

    Works for frozen dataclasses, named tuples, enums, classes that implement `ICacheable`, and,
    with `to_value` and `from_value`, for any class. Every process that decodes such values must
    have registered the class; nothing is imported because bytes name it.

    Parameters
    ----------
    cls
        The class; left out when used as `@cacheable(...)`.
    name
        What stands for the class in encodings; by default `module.qualname`.
    version
        Stands for the code of the class until you change it; by default its fingerprint does, so
        that an edit of the class gives its values another identity.
    to_value, from_value
        Take a value apart into what can be encoded, and put it together again.

    Returns
    -------
    type
        The class itself.

    Raises
    ------
    RegistrationError
        If it is not clear how values of the class are encoded, or they could change.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @cacheable(version="1")
    ... @dataclass(frozen=True)
    ... class Size:
    ...     width: int
    ...     height: int
    """
    if cls is None:
        return lambda cls: _register(cls, name, version, to_value, from_value)
    return _register(cls, name, version, to_value, from_value)


def _register(
    cls: Any,
    name: str | None,
    version: str | None,
    to_value: _ToValue | None,
    from_value: _FromValue | None,
) -> Any:
    if not isinstance(cls, type):
        msg = f"cacheable takes a class, not {cls!r}"
        raise RegistrationError(msg)
    for what, text in (("name", name), ("version", version)):
        if text is not None and (type(text) is not str or not text):
            msg = f"{cls.__qualname__}: {what} must be non-empty text, not {text!r}"
            raise RegistrationError(msg)
    if (to_value is None) != (from_value is None):
        msg = f"{cls.__qualname__}: to_value and from_value belong together; pass both"
        raise RegistrationError(msg)
    if to_value is None:
        to_value, from_value = _shape(cls)
    bind(
        TypeBinding(
            cls=cls,
            name=name or _default_name(cls),
            # The class body may refer to what its module defines further down.
            identity_source=version if version is not None else lambda: _identity_of(cls),
            to_value=to_value,
            from_value=from_value,
        )
    )
    return cls


def _identity_of(cls: type) -> str:
    from invariant_dask.ops.fingerprint import distribution_of, fingerprint_class
    from invariant_dask.ops.identity import reference_of

    reference = reference_of(cls)
    home = None if reference is None else distribution_of(cls)
    return fingerprint_class(cls) if home is None else f"{home[0]}=={home[1]}:{reference}"


def _default_name(cls: type) -> str:
    # A script's classes have the same name on workers, where it is no longer the main module.
    module = "__main__" if cls.__module__ == "__mp_main__" else cls.__module__
    return f"{module}.{cls.__qualname__}"


def _shape(cls: type[Any]) -> tuple[_ToValue | None, _FromValue | None]:
    """Return how values are taken apart and put together; two Nones for an `ICacheable`."""
    # First: who writes these methods means them, be it on a dataclass.
    if all(
        callable(getattr(cls, m, None)) for m in ("get_stable_hash", "to_stream", "from_stream")
    ):
        return None, None
    if issubclass(cls, enum.Enum):
        return _enum_shape(cls)
    # A plain subclass of a dataclass inherits its fields and adds state that they do not hold.
    if "__dataclass_fields__" in cls.__dict__:
        return _fields_shape(cls, _dataclass_fields(cls))
    if issubclass(cls, tuple) and "_fields" in cls.__dict__:
        return _fields_shape(cls, cls._fields)  # type: ignore[attr-defined]
    msg = (
        f"{cls.__qualname__} is neither a frozen dataclass nor an ICacheable (get_stable_hash, "
        "to_stream, from_stream); make it one (@cacheable goes above @dataclass), "
        "or pass to_value= and from_value="
    )
    raise RegistrationError(msg)


def _dataclass_fields(cls: type[Any]) -> tuple[str, ...]:
    cure = "or pass to_value= and from_value="
    if not cls.__dataclass_params__.frozen:
        msg = (
            f"{cls.__qualname__} can change after it was hashed; "
            f"declare it with @dataclass(frozen=True), {cure}"
        )
        raise RegistrationError(msg)
    fields = dataclasses.fields(cls)
    if hidden := [field.name for field in fields if not field.init]:
        msg = (
            f"{cls.__qualname__}: {', '.join(hidden)} cannot be given to the constructor "
            f"(init=False); make it a property, {cure}"
        )
        raise RegistrationError(msg)
    names = tuple(field.name for field in fields)
    taken = inspect_signature(cls).parameters
    if set(taken) != set(names):
        odd = ", ".join(sorted(set(taken) ^ set(names)))
        msg = (
            f"{cls.__qualname__}: its constructor takes other parameters than it has fields "
            f"({odd}: an InitVar or an __init__ of its own); {cure[3:]}"
        )
        raise RegistrationError(msg)
    return names


def _fields_shape(cls: type[Any], names: tuple[str, ...]) -> tuple[_ToValue, _FromValue]:
    expected = frozenset(names)

    def take_apart(value: Any) -> dict[str, Any]:
        return {name: getattr(value, name) for name in names}

    def put_together(fields: Any) -> Any:
        if not isinstance(fields, dict) or fields.keys() != expected:
            msg = f"expected the fields {sorted(expected)}"
            raise ValueError(msg)
        return cls(**fields)

    return take_apart, put_together


def _enum_shape(cls: type[enum.Enum]) -> tuple[_ToValue, _FromValue]:
    if issubclass(cls, enum.Flag):
        msg = f"{cls.__qualname__} is a Flag, whose values have no names; pass a list of names"
        raise RegistrationError(msg)
    return lambda member: member.name, lambda name: cls[name]
