"""Bind parameters: what markers stand for where they are written.

A name means a vertex of the same graph or, where there is none, a value from outside: of the
context, or a parameter of the subgraph. What is known already becomes a value while compiling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from invariant_dask.core.cbor import TAG_SLOT, head
from invariant_dask.core.decode import decode
from invariant_dask.core.encode import (
    Blobs,
    Encoded,
    Handler,
    Pair,
    descriptor_of,
    encode,
    hidden,
    is_hidden,
)
from invariant_dask.core.files import File, FileContent
from invariant_dask.core.scalars import encode_int
from invariant_dask.errors import ExpressionError, GraphError, InvariantError, NotCacheableError
from invariant_dask.graph.composite import Vertex
from invariant_dask.graph.expressions import Text
from invariant_dask.graph.markers import Cel, Ref, parsed_texts
from invariant_dask.graph.secrets import Secret
from invariant_dask.ops.surroundings import FixedSurroundings
from invariant_dask.plan.payload import (
    Derived,
    Nested,
    Payload,
    Template,
    evaluate_with,
    has_secret,
    is_derived,
    no_values,
    placeholder,
    secret_texts,
    value_of_payload,
)
from invariant_dask.plan.program import Step, reference

FileResolver = Callable[[File], FileContent]

_SLOT = head(6, TAG_SLOT)


def encode_secret(secret: Secret, handlers: Mapping[type, Handler]) -> Encoded:
    """Return a secret with an identity that tells nothing of it.

    Raises
    ------
    NotCacheableError
        If it has no canonical form; where, and what it is, is not told.
    """
    try:
        return hidden(encode(secret.reveal(), handlers))
    except NotCacheableError:
        reason = "a secret that has no canonical form; pass text, or other plain values"
    # Outside of the handler: what it caught tells the value.
    raise NotCacheableError(reason=reason)


class OpenError(Exception):
    """A value depends on a switch that takes a run to decide."""


class _OpenValue:
    def __repr__(self) -> str:
        return "OPEN"


OPEN = _OpenValue()
"""Stands for the value of a vertex behind a switch that is not decided."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A literal that was encoded before, or what is wrong with it for whoever needs it."""

    literal: Encoded | InvariantError

    def encoded(self) -> Encoded:
        """Return the value.

        Raises
        ------
        InvariantError
            If it has no canonical form.
        """
        if isinstance(self.literal, Encoded):
            return self.literal
        raise self.literal


class Bound(NamedTuple):
    """A value from outside that takes artifacts to know."""

    payload: Payload
    steps: tuple[int, ...]
    """The steps that the payload numbers."""
    descriptor: bytes
    """What stands for it in planned manifests."""


Value: TypeAlias = "int | Encoded | Bound | _OpenValue"
"""A step, a value that is known, or what will be one."""


@dataclass(slots=True)
class Scope:
    """A graph that is being compiled, and what is known in it."""

    graph: Mapping[str, Vertex]
    outside: Mapping[str, object]
    """The context, or the parameters of the subgraph."""
    path: str = ""
    """The ids of the subgraphs around it, each with a slash behind."""
    parent: Scope | None = None
    after: tuple[int, ...] = ()
    """Steps that must be done before any in here."""
    refs: Sequence[str] = ()
    """The names that the parameters of the subgraph refer to."""
    opened: bool = False
    """Whether any value in or around it is open."""
    values: dict[str, Value] = field(default_factory=dict)


class Binder:
    """Binds the parameters of one node after another.

    Parameters
    ----------
    steps
        The steps so far; the caller adds to them.
    context
        External values by name.
    resolve_file
        Returns what a file holds.
    """

    def __init__(
        self, steps: Sequence[Step], context: Mapping[str, object], resolve_file: FileResolver
    ) -> None:
        self.steps = steps
        self.context = context
        self.resolve_file = resolve_file
        self.files: dict[File, FileContent] = {}
        self.at: tuple[str, str, Sequence[str]] = "", "", ()
        """The node and parameter at hand, and the names that the node may refer to."""
        self.inside: tuple[list[Payload], Blobs, Scope | None] = [], {}, None
        """The slots and blobs of the container that is being encoded, and where that is."""
        self.handlers: dict[type, Handler] = {
            Ref: self.marker, Cel: self.marker, Text: self.marker, File: self.file,
            Fixed: self.fixed,
        }  # fmt: skip
        self.begin()

    def begin(self) -> None:
        """Forget the inputs of the node before."""
        self.slots: dict[int, int] = {}
        """The steps that enter the node at hand, by number of the input."""
        self.derives = False
        """Whether it takes values, not only descriptors, to resolve the node at hand."""

    def plain(self, encoded: bytes) -> tuple[bytes, Payload]:
        """Return descriptor and payload of a value whose two forms are the same."""
        descriptor = descriptor_of(encoded)
        return descriptor, encoded if descriptor is encoded else Encoded(encoded, encoded, {})

    def parameter(self, scope: Scope, value: object, texts: bool = True) -> tuple[bytes, Payload]:
        """Return what enters the planned manifest for a parameter, and what a worker needs.

        Parameters
        ----------
        scope
            Where names are looked up.
        value
            The parameter.
        texts
            Whether there may be text with expressions in it.

        Raises
        ------
        OpenError
            If it depends on a switch that is not decided.
        NotCacheableError
            If any part of it has no canonical form.
        ExpressionError
            If an expression has no value.
        """
        if type(value) is Ref and not value.path:
            return self.whole(scope, value.name)
        if texts:
            value = parsed_texts(value)
        if isinstance(value, Ref | Cel | Text):
            return self.derived(scope, value)
        kept = self.inside
        slots: list[Payload] = []
        blobs: Blobs = {}
        self.inside = slots, blobs, scope
        try:
            encoded = encode(value, self.handlers)
        finally:
            self.inside = kept
        encoded.blobs.update(blobs)
        if slots:
            return descriptor_of(encoded.identity), Template(
                encoded.storage, encoded.blobs, tuple(slots)
            )
        return _known(encoded)

    def whole(self, scope: Scope, name: str) -> tuple[bytes, Payload]:
        """Return what the artifact that a marker names is for the node at hand."""
        step = scope.values.get(name)
        if type(step) is int and name in self.at[2]:  # nearly always, so at once
            slots = self.slots
            return reference(self.steps[step].planned), slots.setdefault(step, len(slots))
        return self.lower(self.named(scope, name))

    def named(self, scope: Scope, name: str) -> Value:
        """Return the value that a marker names."""
        if name not in self.at[2]:
            raise self.unseen(name)
        return self.value(scope, name)

    def value(self, scope: Scope, name: str) -> Value:
        """Return the value of a vertex, or of what comes from outside."""
        value = scope.values.get(name)
        if value is None:
            value = scope.values[name] = self.from_outside(scope, name)
        if value is OPEN:
            raise OpenError
        return value

    def from_outside(self, scope: Scope, name: str) -> Value:
        if scope.parent is None:
            given = scope.outside[name]
            try:
                if isinstance(given, Fixed):
                    return given.encoded()
                if isinstance(given, Secret):
                    return encode_secret(given, {File: self.file})
                return encode(given, {File: self.file})
            except NotCacheableError as error:
                raise error.of(f"context {name!r}") from None
        kept = self.slots, self.derives, self.at
        self.begin()
        self.at = scope.path.rstrip("/"), f"parameter {name}", scope.refs
        try:
            descriptor, payload = self.parameter(scope.parent, scope.outside[name])
            steps = tuple(self.slots)
        except NotCacheableError as error:
            raise error.of(f"subgraph {scope.path.rstrip('/')!r}, parameter {name}") from None
        finally:
            self.slots, self.derives, self.at = kept
        if type(payload) is int:
            return steps[payload]
        if isinstance(payload, bytes):
            return Encoded(payload, payload, {})
        return payload if isinstance(payload, Encoded) else Bound(payload, steps, descriptor)

    def steps_of(self, value: Value) -> tuple[int, ...]:
        """Return the steps that a value takes."""
        if type(value) is int:
            return (value,)
        return value.steps if isinstance(value, Bound) else ()

    def lower(self, value: Value) -> tuple[bytes, Payload]:
        """Return what a value is for the node at hand."""
        if type(value) is int:
            return reference(self.steps[value].planned), self.slot(value)
        if isinstance(value, Encoded):
            return _known(value)
        assert isinstance(value, Bound)
        self.derives |= is_derived(value.payload)
        inputs = tuple(self.slot(step) for step in value.steps)
        return value.descriptor, Nested(value.payload, inputs)

    def slot(self, step: int) -> int:
        return self.slots.setdefault(step, len(self.slots))

    def derived(self, scope: Scope, marker: Ref | Cel | Text) -> tuple[bytes, Payload]:
        """Return what an item or an expression is: a value, if all it reads is known."""
        source: str | tuple[str | int, ...]
        if isinstance(marker, Ref):
            kind, source, names = "item", marker.path, [marker.name]
        elif isinstance(marker, Cel):
            kind, source, names = "cel", marker.expr, list(marker.expression.names)
        else:
            kind, source, names = "text", marker.source, list(marker.names)
        lowered = [self.lower(self.named(scope, name)) for name in names]
        payload = Derived(kind, source, tuple(names), tuple(payload for _, payload in lowered))
        if all(isinstance(each, bytes | Encoded) for each in payload.payloads):
            return _known(self.evaluate(payload))
        described = dict(zip(names, (descriptor for descriptor, _ in lowered), strict=True))
        self.derives = True
        return placeholder(kind, source, described), payload

    def marker(self, marker: Ref | Cel | Text) -> Pair:
        """Encode a marker inside a container: a placeholder to hash, a slot to fill."""
        slots, blobs, scope = self.inside
        assert scope is not None
        if isinstance(marker, Ref) and not marker.path:
            descriptor, payload = self.whole(scope, marker.name)
        else:
            descriptor, payload = self.derived(scope, marker)
        if isinstance(payload, bytes):
            return payload, payload
        if isinstance(payload, Encoded) and not is_hidden(payload):
            blobs.update(payload.blobs)
            return payload.identity, payload.storage
        slots.append(payload)
        return descriptor, _SLOT + encode_int(len(slots) - 1)

    def evaluate(self, payload: Derived) -> Encoded:
        values: dict[str, Any] = {}
        for name, each in zip(payload.names, payload.payloads, strict=True):
            if isinstance(each, bytes):
                values[name] = decode(each)
            else:
                assert isinstance(each, Encoded)
                values[name] = value_of_payload(each, no_values)
        try:
            with FixedSurroundings():
                made = encode(evaluate_with(payload, values))
        except ExpressionError as error:
            text = "an expression with a secret has no value" if has_secret(payload) else error
            raise ExpressionError(f"{self.at[0]!r}, {self.at[1]}: {text}") from None
        return hidden(made, secret_texts(payload)) if has_secret(payload) else made

    def content(self, content: FileContent) -> Pair:
        encoded = encode(content)
        return encoded.identity, encoded.storage

    def fixed(self, value: Fixed) -> Pair:
        encoded = value.encoded()
        _, blobs, _ = self.inside
        blobs.update(encoded.blobs)
        return encoded.identity, encoded.storage

    def file(self, file: File) -> Pair:
        found = self.files.get(file)
        if found is None:
            found = self.files[file] = self.resolve_file(file)
        return self.content(found)

    def unseen(self, name: str) -> GraphError:
        """Return the error for a marker that was not seen when its node was made."""
        node, where, _ = self.at
        return GraphError(
            f"node {node!r}, {where}: ref({name!r}) was not seen when the node "
            "was made; pass markers as parameters or in lists, tuples and dicts, not inside other "
            "objects, and make a new Node instead of changing its params"
        )


def _known(encoded: Encoded) -> tuple[bytes, Payload]:
    if encoded.descriptor == encoded.storage and not encoded.blobs:
        return encoded.descriptor, encoded.storage
    return encoded.descriptor, encoded
