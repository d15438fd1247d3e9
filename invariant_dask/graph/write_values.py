"""Parameters as JSON: the inverse of `read_values`, which says what stands for what.

What the original format can express comes out as its own writer does it.
"""

from __future__ import annotations

import io
from decimal import Context, Decimal
from typing import Any

from invariant_dask.core import types
from invariant_dask.core.scalars import is_text
from invariant_dask.core.sealed import SealedDict, SealedList
from invariant_dask.graph.literals import to_base64, write_literal
from invariant_dask.graph.markers import Cel, Ref
from invariant_dask.graph.positions import MAX_NESTING, NESTED, Fault
from invariant_dask.graph.read_values import MARKERS, check_key
from invariant_dask.graph.registered import has_json, type_name
from invariant_dask.graph.secrets import Secret

_PLAIN = frozenset({type(None), bool, int, str})
_CONTAINERS = frozenset({dict, list, tuple, SealedDict, SealedList})
# Fixed, so that the letter of an exponent does not depend on who calls.
_DECIMAL = Context(capitals=1)


def write_value(value: Any, depth: int = 0) -> Any:
    """Return a parameter as plain JSON.

    Raises
    ------
    Fault
        If a part of it has no form in a document, with the path to it.
    """
    cls = type(value)
    if cls is str:
        if not is_text(value):
            raise Fault("text with a lone surrogate has no UTF-8 form")
        return value
    if cls in _CONTAINERS and depth >= MAX_NESTING:
        raise Fault(NESTED)
    if cls is dict or cls is SealedDict:
        return _write_dict(value, depth)
    if cls is list or cls is SealedList:
        return _write_list(value, depth)
    if cls is tuple:
        return {"$tuple": _write_list(value, depth + 1)}
    if cls is Ref:
        return {"$ref": [value.name, *value.path] if value.path else value.name}
    if cls is Cel:
        return {"$cel": value.expr}
    if cls is Decimal:
        if not value.is_finite():
            raise Fault(f"{value} is not a finite number; pass None, or text")
        return {"$decimal": _DECIMAL.to_sci_string(value)}
    if cls is bytes:
        return _tagged("bytes", payload_b64=to_base64(value))
    if cls is Secret:
        raise Fault("a secret is not written down; give it when the graph is compiled")
    literal = write_literal(value)
    if literal is not None:
        return _tagged(literal[0], value=literal[1])
    return value if cls in _PLAIN else _write_registered(value, depth)


def _tagged(type_name: str, **payload: Any) -> dict[str, Any]:
    return {"$icacheable": {"type": type_name, **payload}}


def _write_list(items: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
    result: list[Any] = []
    try:
        for item in items:
            result.append(write_value(item, depth + 1))  # noqa: PERF401
    except Fault as fault:
        raise fault.within(len(result)) from None
    return result


def write_dict(value: dict[str, Any], depth: int) -> dict[str, Any]:
    """Return a mapping with its values as plain JSON; what looks like a marker is left alone."""
    result = {}
    key: Any = None
    try:
        for key, item in value.items():
            check_key(key)
            result[key] = write_value(item, depth + 1)
    except Fault as fault:
        raise fault.within(key) from None
    return result


def _write_dict(value: dict[str, Any], depth: int) -> dict[str, Any]:
    if len(value) != 1 or next(iter(value)) not in MARKERS:
        return write_dict(value, depth)
    if _is_plain(value, depth + 1):
        return {"$literal": value}
    # Inside a $literal no marker is one, so what is not JSON needs another wrapper.
    return _tagged("dict", value=write_dict(value, depth + 2))


def _is_plain(value: Any, depth: int) -> bool:
    """Whether a value is JSON as it is, so that $literal keeps it."""
    cls = type(value)
    if cls is dict or cls is SealedDict:
        return depth < MAX_NESTING and all(
            is_text(key) and _is_plain(item, depth + 1) for key, item in value.items()
        )
    if cls is list or cls is SealedList:
        return depth < MAX_NESTING and all(_is_plain(item, depth + 1) for item in value)
    if cls is str:
        return is_text(value)
    return cls in _PLAIN and write_literal(value) is None


def _write_registered(value: Any, depth: int) -> Any:
    cls = type(value)
    binding = types.binding_of(cls)
    if binding is None:
        raise Fault(f"{value!r:.60} ({cls.__name__}) has no form in a document{_cure(value)}")
    name = type_name(cls)
    if name is None:
        raise Fault(
            f"{cls.__qualname__} cannot be found by its name; define it at the top of a module"
        )
    if has_json(cls):
        return _tagged(name, value=_plain_json(value.to_json_value(), depth))
    if binding.to_value is not None:
        return _tagged(name, value=write_value(binding.to_value(value), depth + 2))
    stream = io.BytesIO()
    value.to_stream(stream)
    return _tagged(name, payload_b64=to_base64(stream.getvalue()))


def _plain_json(value: Any, depth: int) -> Any:
    if not _is_plain(value, depth + 2):
        raise Fault(f"to_json_value returned what is not plain JSON: {value!r:.80}")
    return value


def _cure(value: Any) -> str:
    if isinstance(value, float):
        return f"; pass Decimal({str(value)!r})"
    if hasattr(value, "dtype"):
        return "; read it from a File, or make it by an op"
    plain = next((base for base in (*_CONTAINERS, bytes, *_PLAIN) if isinstance(value, base)), None)
    if plain is not None:
        return f"; pass a plain {plain.__name__}"
    return "; register its class with @cacheable"
