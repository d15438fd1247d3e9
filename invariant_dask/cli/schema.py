"""JSON Schema of what an op takes and returns, from its type hints.

It describes values as graph documents hold them; in a document any of them may also be a marker.
A hint that says nothing of values (a type variable, `Any`, one that cannot be read) gives the
schema that allows all.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import inspect
import json
import types
import typing
from collections import abc
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

from invariant_dask.core.files import File
from invariant_dask.graph.registered import has_json, type_name
from invariant_dask.graph.write_values import write_value
from invariant_dask.ops.hints import hint_text, hints_of, read_hints
from invariant_dask.ops.signature import inspect_signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from invariant_dask.ops.entry import Op

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_PLAIN: dict[object, Schema] = {
    Any: {}, object: {}, inspect.Parameter.empty: {},
    None: {"type": "null"}, type(None): {"type": "null"},
    bool: {"type": "boolean"}, int: {"type": "integer"}, str: {"type": "string"},
    list: {"type": "array"}, dict: {"type": "object"},
    abc.Sequence: {"type": "array"}, abc.Iterable: {"type": "array"},
    abc.Collection: {"type": "array"}, abc.Mapping: {"type": "object"},
}  # fmt: skip
_LISTS = (list, abc.Sequence, abc.Iterable, abc.Collection, abc.MutableSequence)
_DICTS = (dict, abc.Mapping, abc.MutableMapping)
_NAMED = {
    dt.date: "date", dt.datetime: "datetime", dt.time: "time", dt.timedelta: "timedelta",
    Fraction: "fraction", File: "file",
}  # fmt: skip
_MAX_DEPTH = 20


def input_schema(op: Op) -> Schema:
    """Return the schema of the parameters of an op, as the `params` of a node."""
    hints = hints_of(op.function)
    parameters = inspect_signature(op.function).parameters
    properties: Schema = {}
    extra: Any = False
    for name, parameter in parameters.items():
        schema = schema_of(hints.get(name, Any))
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = schema or True
        else:
            properties[name] = {**schema, **_default(op, name)}
    return _whole(
        {
            "type": "object",
            "properties": properties,
            "required": sorted(op.signature.required),
            "additionalProperties": extra,
        }
    )


def output_schema(op: Op) -> Schema:
    """Return the schema of the artifact of an op."""
    return _whole(schema_of(hints_of(op.function).get("return", Any)))


def signature_text(name: str, function: Callable[..., Any]) -> str:
    """Return the signature of an op with its type hints, as its author wrote them."""
    signature = inspect_signature(function)
    shown = []
    for parameter in signature.parameters.values():
        text = ("**" if parameter.kind is parameter.VAR_KEYWORD else "") + parameter.name
        hinted = parameter.annotation is not parameter.empty
        if hinted:
            text += f": {hint_text(parameter.annotation)}"
        if parameter.default is not parameter.empty:
            text += f" = {parameter.default!r:.60}" if hinted else f"={parameter.default!r:.60}"
        shown.append(text)
    returned = signature.return_annotation
    arrow = "" if returned is signature.empty else f" -> {hint_text(returned)}"
    return f"{name}({', '.join(shown)}){arrow}"


def schema_of(hint: Any, depth: int = 0) -> Schema:
    """Return the schema of what a type hint allows.

    Examples
    --------
    >>> schema_of(list[int] | None)
    {'anyOf': [{'type': 'array', 'items': {'type': 'integer'}}, {'type': 'null'}]}
    """
    if depth > _MAX_DEPTH:
        return {}
    try:
        if hint in _PLAIN:
            return dict(_PLAIN[hint])
    except TypeError:  # a hint that has no hash
        return {}
    deeper = partial(schema_of, depth=depth + 1)
    if isinstance(hint, typing.NewType):
        return deeper(hint.__supertype__)
    if isinstance(hint, typing.TypeVar):
        return deeper(hint.__bound__) if hint.__bound__ is not None else {}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Annotated, typing.Final, typing.Required, typing.NotRequired}:
        return deeper(arguments[0])
    if origin is typing.Union or origin is types.UnionType:
        return _any_of([deeper(one) for one in arguments])
    if origin is typing.Literal:
        return {"enum": [write_value(one) for one in arguments if not isinstance(one, enum.Enum)]}
    if origin in _LISTS:
        items = deeper(arguments[0]) if arguments else {}
        return {"type": "array", **({"items": items} if items else {})}
    if origin in _DICTS:
        values = deeper(arguments[1]) if len(arguments) == 2 else {}
        return {"type": "object", **({"additionalProperties": values} if values else {})}
    if hint is tuple or origin is tuple:
        return _marker("$tuple", _tuple_items(arguments, deeper))
    return _class_schema(hint, deeper) if isinstance(hint, type) else _described(hint)


def _any_of(options: list[Schema]) -> Schema:
    if {} in options:
        return {}
    flat = [one for option in options for one in option.get("anyOf", [option])]
    unique = [one for at, one in enumerate(flat) if one not in flat[:at]]
    return unique[0] if len(unique) == 1 else {"anyOf": unique}


def _tuple_items(arguments: tuple[Any, ...], deeper: Callable[[Any], Schema]) -> Schema:
    if not arguments:
        return {"type": "array"}
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return {"type": "array", "items": deeper(arguments[0])}
    size = len(arguments)
    items = [deeper(one) for one in arguments]
    return {"type": "array", "prefixItems": items, "minItems": size, "maxItems": size}


def _class_schema(cls: type, deeper: Callable[[Any], Schema]) -> Schema:
    if cls in {Decimal, float}:
        # A number with a fraction is a Decimal in documents; there are no floats.
        return _defined("decimal")
    if cls is bytes or cls in _NAMED:
        return _defined(_NAMED.get(cls, "bytes"))
    if typing.is_typeddict(cls):
        hints = typing.get_type_hints(cls)
        required = sorted(getattr(cls, "__required_keys__", ()))
        properties = {name: deeper(hint) for name, hint in hints.items()}
        return {"type": "object", "properties": properties, "required": required}
    from invariant_dask.core.types import binding_of

    name = type_name(cls)
    binding = binding_of(cls)
    if binding is None or name is None:
        return _described(cls)
    if has_json(cls):
        return _registered(name, "value", {})
    if binding.is_stream:
        return _registered(name, "payload_b64", {"type": "string"})
    if issubclass(cls, enum.Enum):
        return _registered(name, "value", {"enum": [member.name for member in cls]})
    if not dataclasses.is_dataclass(cls):
        return _registered(name, "value", {})
    hints = read_hints(cls)
    fields = {one.name: deeper(hints.get(one.name, Any)) for one in dataclasses.fields(cls)}
    inner: Schema = {"type": "object", "properties": fields, "required": sorted(fields)}
    return _registered(name, "value", inner)


def _marker(key: str, payload: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {key: payload},
        "required": [key],
        "additionalProperties": False,
    }


def _registered(name: str, field: str, payload: Schema) -> Schema:
    inner = {
        "type": "object",
        "properties": {"type": {"const": name}, field: payload},
        "required": ["type", field],
        "additionalProperties": False,
    }
    return _marker("$icacheable", inner)


def _defined(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _whole(schema: Schema) -> Schema:
    """Return a schema with the definitions that it refers to."""
    text = json.dumps(schema)
    definitions = {
        "decimal": {"anyOf": [{"type": "number"}, _marker("$decimal", {"type": "string"})]},
        "bytes": _registered("bytes", "payload_b64", {"type": "string"}),
        **{name: _registered(name, "value", {}) for name in _NAMED.values()},
    }
    used = {name: one for name, one in definitions.items() if f'"#/$defs/{name}"' in text}
    return {"$schema": DIALECT, **schema, **({"$defs": used} if used else {})}


def _described(hint: Any) -> Schema:
    """Return the schema of what no document holds: such a value comes from another node."""
    return {"description": hint_text(hint)}


def _default(op: Op, name: str) -> Schema:
    from invariant_dask.graph.positions import Fault

    if name not in op.signature.defaults:
        return {}
    try:
        return {"default": write_value(op.signature.defaults[name])}
    except Fault:
        return {}
