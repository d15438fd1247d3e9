"""What a parameter is before its inputs are known, and what it is with them.

A payload names the inputs of its step by position. With their descriptors it gives what enters the
resolved manifest, and with their values what the op gets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from invariant_dask.core import cbor
from invariant_dask.core import encode as enc
from invariant_dask.core.decode import decode
from invariant_dask.core.digest import BlobId
from invariant_dask.core.encode import Described, Encoded, descriptor_of, encode
from invariant_dask.core.files import FileContent
from invariant_dask.errors import ExpressionError, NotCacheableError
from invariant_dask.graph.expressions import SEMANTICS, parse, parse_text

ValueOf = Callable[[int], Any]
"""Returns the value of an input, a private copy; raises `ValueUnknownError` where it cannot."""

OpenFile = Callable[[FileContent], Any]


class ValueUnknownError(Exception):
    """Only the descriptor of an input is at hand, and its value is needed."""


def no_values(_index: int) -> Any:
    """Raise ValueUnknownError: only descriptors are at hand."""
    raise ValueUnknownError


@dataclass(frozen=True, slots=True)
class Template:
    """A container with markers inside: a storage form in which other payloads are slots."""

    storage: bytes
    blobs: dict[BlobId, bytes]
    slots: tuple[Payload, ...]


class Nested(NamedTuple):
    """A payload that was made where other inputs were numbered."""

    payload: Payload
    inputs: tuple[int, ...]


class Derived(NamedTuple):
    """What is computed from inputs once they are known: an item, or the value of an expression."""

    kind: str
    """`item`, `cel` or `text`."""
    source: str | tuple[str | int, ...]
    """The expression, the text that has some, or the path of the item."""
    names: tuple[str, ...]
    payloads: tuple[Payload, ...]


Payload: TypeAlias = "int | bytes | Encoded | Template | Nested | Derived"
"""The number of an input, a descriptor that is also the storage form, a value whose forms differ,
or what takes inputs to become a value."""


def is_derived(payload: Payload) -> bool:
    """Whether it takes values of inputs, not only their descriptors, to describe a payload."""
    if isinstance(payload, Derived):
        return True
    if isinstance(payload, Nested):
        return is_derived(payload.payload)
    return isinstance(payload, Template) and any(map(is_derived, payload.slots))


def inputs_of(payload: Payload) -> Iterator[int]:
    """Yield the numbers of the inputs that a parameter takes."""
    if type(payload) is int:
        yield payload
    elif isinstance(payload, Nested):
        yield from payload.inputs
    elif isinstance(payload, Template):
        for slot in payload.slots:
            yield from inputs_of(slot)
    elif isinstance(payload, Derived):
        for each in payload.payloads:
            yield from inputs_of(each)


def describe(payload: Payload, inputs: Sequence[bytes], value_of: ValueOf | None) -> bytes:
    """Return the descriptor of a parameter, given those of the inputs.

    Parameters
    ----------
    payload
        The parameter.
    inputs
        Descriptors of the inputs; of a planned manifest, placeholders.
    value_of
        Gives the values of inputs; None for a planned manifest, in which what is derived is a
        placeholder too.

    Raises
    ------
    ValueUnknownError
        If a value is needed that is not at hand.
    ExpressionError
        If an expression has no value.
    NotCacheableError
        If it has one that has no canonical form.
    """
    if type(payload) is int:
        return inputs[payload]
    if type(payload) is bytes:
        return payload
    if type(payload) is Encoded:
        return payload.descriptor
    if type(payload) is Nested:
        chosen = [inputs[i] for i in payload.inputs]
        if value_of is None:
            return describe(payload.payload, chosen, None)
        return describe(payload.payload, chosen, lambda i: value_of(payload.inputs[i]))
    if type(payload) is Derived:
        if value_of is not None:
            return _encoded(payload, evaluate(payload, value_of)).descriptor
        described = [describe(each, inputs, None) for each in payload.payloads]
        names = dict(zip(payload.names, described, strict=True))
        return placeholder(payload.kind, payload.source, names)
    assert isinstance(payload, Template)
    slots = [partial(Described, describe(slot, inputs, value_of)) for slot in payload.slots]
    blobs = payload.blobs
    value = decode(payload.storage, slots=slots, fetch=lambda blob, _: blobs[blob])
    return descriptor_of(encode(value).identity)


def value_of_payload(payload: Payload, value_of: ValueOf, open_file: OpenFile | None = None) -> Any:
    """Return what an op gets for a parameter: a value of its own.

    Raises
    ------
    ValueUnknownError, ExpressionError
        As for `describe`.
    """
    if type(payload) is int:
        return value_of(payload)
    if type(payload) is bytes:
        return decode(payload, open_file=open_file)
    if type(payload) is Nested:
        inner = payload.payload
        return value_of_payload(inner, lambda i: value_of(payload.inputs[i]), open_file)
    if type(payload) is Derived:
        return evaluate(payload, value_of, open_file)
    assert isinstance(payload, Encoded | Template)
    slots: Iterable[Payload] = payload.slots if isinstance(payload, Template) else ()
    made = [partial(value_of_payload, slot, value_of, open_file) for slot in slots]
    blobs = payload.blobs
    return decode(
        payload.storage, fetch=lambda blob, _: blobs[blob], slots=made, open_file=open_file
    )


def evaluate(payload: Derived, value_of: ValueOf, open_file: OpenFile | None = None) -> Any:
    """Return the value of a derived payload."""
    values = [value_of_payload(each, value_of, open_file) for each in payload.payloads]
    return evaluate_with(payload, dict(zip(payload.names, values, strict=True)))


def evaluate_with(payload: Derived, values: Mapping[str, Any]) -> Any:
    """Return the value of a derived payload whose names have these values."""
    if payload.kind == "cel":
        return parse(str(payload.source)).evaluate(values)
    if payload.kind == "text":
        return parse_text(str(payload.source)).evaluate(values)
    (name,) = payload.names
    assert isinstance(payload.source, tuple)
    return item_of(values[name], payload.source, name)


def item_of(value: Any, path: Sequence[str | int], name: str) -> Any:
    """Return a part of a value, by keys, positions and fields.

    Raises
    ------
    ExpressionError
        If there is none.
    """
    shown = f"ref({name!r})"
    for key in path:
        if is_dataclass(value) and not isinstance(value, type):
            there: Any = {field.name: getattr(value, field.name) for field in fields(value)}
        else:
            there = value
        if not _has(there, key):
            msg = f"{shown}[{key!r}]: there is no such item{_what_is_there(there)}"
            raise ExpressionError(msg)
        value = there[key]
        shown += f"[{key!r}]"
    return value


def _has(value: Any, key: str | int) -> bool:
    if isinstance(value, dict):
        return key in value
    return isinstance(value, list | tuple) and isinstance(key, int) and 0 <= key < len(value)


def _what_is_there(value: Any) -> str:
    if isinstance(value, dict):
        names = ", ".join(map(repr, list(value)[:10]))
        return f"; there are {names}" if names else "; the mapping is empty"
    if isinstance(value, list | tuple):
        return f"; there are {len(value)}, counted from 0"
    return f" in a value of type {type(value).__name__}"


def secret_texts(payload: Payload) -> set[str]:
    """Return the texts in the secrets that are part of a payload, so that they can be left out."""
    if isinstance(payload, Encoded) and enc.is_hidden(payload):
        return {*_texts_in(value_of_payload(payload, no_values)), *payload.behind}
    if isinstance(payload, Nested):
        return secret_texts(payload.payload)
    inner: Iterable[Payload] = ()
    if isinstance(payload, Template):
        inner = payload.slots
    elif isinstance(payload, Derived):
        inner = payload.payloads
    return set().union(*map(secret_texts, inner))


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _texts_in(item)
    elif isinstance(value, dict):
        yield from _texts_in(list(value.values()))
    elif not isinstance(value, bool) and value is not None:
        yield value if isinstance(value, str) else str(value)


# --- planned manifests ---------------------------------------------------------------------------


def placeholder(kind: str, source: object, names: Mapping[str, bytes]) -> bytes:
    """Return what stands for a derived value in a planned manifest.

    Parameters
    ----------
    kind, source
        As in `Derived`.
    names
        What it reads, with the descriptor or placeholder of each.
    """
    version = SEMANTICS if kind != "item" else 1
    described = {name: Described(descriptor) for name, descriptor in names.items()}
    parts = [kind, version, list(source) if isinstance(source, tuple) else source, described]
    return descriptor_of(cbor.head(6, cbor.TAG_DERIVED) + encode(parts).identity)


def settled(payload: Payload, value_of: ValueOf) -> Payload:
    """Return a payload in which nothing is left to derive.

    Raises
    ------
    ExpressionError, NotCacheableError
        As for `describe`.
    """
    if not is_derived(payload):
        return payload
    with unexplained(payload):
        return _encoded(payload, value_of_payload(payload, value_of))


@contextmanager
def unexplained(payload: Payload) -> Iterator[None]:
    """Let what goes wrong inside say nothing of values, if a secret is part of the payload."""
    try:
        yield
    except (ExpressionError, NotCacheableError):
        if has_secret(payload):
            raise ExpressionError("an expression with a secret has no value") from None
        raise


def _encoded(payload: Payload, value: Any) -> Encoded:
    """Encode what was derived; what a secret went into is one."""
    encoded = encode(value)
    return enc.hidden(encoded, secret_texts(payload)) if has_secret(payload) else encoded


def has_secret(payload: Payload) -> bool:
    """Whether a secret is part of a payload."""
    if isinstance(payload, Encoded):
        return enc.is_hidden(payload)
    if isinstance(payload, Nested):
        return has_secret(payload.payload)
    if isinstance(payload, Template):
        return any(map(has_secret, payload.slots))
    return isinstance(payload, Derived) and any(map(has_secret, payload.payloads))
