"""Parameters from JSON: markers and types that JSON lacks become mappings with one `$` key.

- `{"$ref": "x"}`: the artifact of x; `{"$ref": ["x", "mask", 0]}`: a part of it (ours);
- `{"$cel": "x + 1"}`: the value of an expression;
- `{"$decimal": "1.50"}`: a Decimal; a plain 1.50 is read as the same;
- `{"$tuple": [1, 2]}`: a tuple;
- `{"$literal": {...}}`: a mapping that looks like one of these and is none;
- `{"$icacheable": {"type": "module.Class", "payload_b64": ...}}`, or `"value"` where it has a JSON
  form: a value of a registered type; nothing is imported to build it;
- `{"$icacheable": {"type": "bytes", "payload_b64": ...}}`, or `"value"`: what JSON lacks (ours;
  all names without a dot, see `literals`).
"""

from __future__ import annotations

import io
from decimal import Decimal, InvalidOperation
from typing import Any

from invariant_dask.core.scalars import is_text
from invariant_dask.errors import GraphError
from invariant_dask.graph.expressions import parse_text
from invariant_dask.graph.literals import LITERALS, from_base64, read_literal
from invariant_dask.graph.markers import Cel, Ref
from invariant_dask.graph.model import Graph
from invariant_dask.graph.positions import MAX_NESTING, NESTED, Fault, guess, kind_of
from invariant_dask.graph.registered import find_type, has_json

MARKERS = frozenset({"$cel", "$decimal", "$icacheable", "$literal", "$ref", "$tuple"})

_PLAIN = frozenset({type(None), bool, int, Decimal})


class ValueReader:
    """Reads values from parsed JSON.

    Parameters
    ----------
    markers
        Whether the values are parameters, in which markers and `${}` stand for something upstream.
        In context values text stands for itself, and markers are refused.
    """

    def __init__(self, *, markers: bool) -> None:
        self._markers = markers
        self._readers = {
            "$cel": self._cel,
            "$decimal": self._decimal,
            "$icacheable": self._registered,
            "$literal": self._literal,
            "$ref": self._ref,
            "$tuple": self._tuple,
        }

    def read(self, obj: Any, depth: int = 0, *, literal: bool = False) -> Any:
        """Return the value that parsed JSON stands for.

        Parameters
        ----------
        obj
            What the parser returned.
        depth
            How many levels of the document are around it.
        literal
            Whether mappings with a `$` key are just that.

        Raises
        ------
        Fault
            If it stands for none, with the path to the place.
        """
        cls = type(obj)
        if cls is str:
            return self._text(obj)
        if cls is dict or cls is list:
            if depth >= MAX_NESTING:
                raise Fault(NESTED)
            if cls is list:
                return self.read_list(obj, depth, literal=literal)
            reader = self._readers.get(next(iter(obj))) if len(obj) == 1 and not literal else None
            return self.read_dict(obj, depth, literal=literal) if reader is None else (
                self._marker(reader, obj, depth)
            )  # fmt: skip
        if cls in _PLAIN:
            return obj
        if cls is float:
            raise Fault(f'{obj!r} is not exact; write {{"$decimal": "{obj!r}"}}')
        if cls is Graph:
            raise Fault("!subgraph stands only as a vertex, not within a value")
        raise Fault(f"{cls.__name__} is no part of JSON")

    def read_dict(self, obj: dict[str, Any], depth: int, *, literal: bool = False) -> Any:
        """Return a mapping with values read one by one; it is not taken for a marker."""
        result = {}
        key: Any = None
        try:
            for key, item in obj.items():
                check_key(key)
                result[key] = self.read(item, depth + 1, literal=literal)
        except Fault as fault:
            raise fault.within(key) from None
        return result

    def read_list(self, items: list[Any], depth: int, *, literal: bool = False) -> list[Any]:
        """Return a list with values read one by one."""
        result: list[Any] = []
        try:
            for item in items:
                result.append(self.read(item, depth + 1, literal=literal))  # noqa: PERF401
        except Fault as fault:
            raise fault.within(len(result)) from None
        return result

    def _marker(self, reader: Any, obj: dict[str, Any], depth: int) -> Any:
        [(key, payload)] = obj.items()
        try:
            return reader(payload, depth + 1)
        except Fault as fault:
            raise fault.within(key) from None
        except GraphError as error:
            raise Fault(str(error), (key,)) from error

    def _text(self, text: str) -> str:
        if not is_text(text):
            raise Fault("text with a lone surrogate has no UTF-8 form")
        if self._markers and "${" in text:
            try:
                parse_text(text)
            except GraphError as error:
                raise Fault(str(error)) from error
        return text

    def _refuse_here(self, name: str) -> None:
        if not self._markers:
            raise Fault(f"a context value cannot hold a {name} marker")

    def _ref(self, payload: Any, _depth: int) -> Ref:
        self._refuse_here("$ref")
        if type(payload) is list and payload:
            return Ref(payload[0], tuple(payload[1:]))
        if type(payload) is not str:
            raise Fault(f"$ref takes the id of a node, or [id, key, ...], not {kind_of(payload)}")
        return Ref(payload)

    def _cel(self, payload: Any, _depth: int) -> Cel:
        self._refuse_here("$cel")
        if type(payload) is not str:
            raise Fault(f"$cel takes the text of an expression, not {kind_of(payload)}")
        return Cel(payload)

    def _decimal(self, payload: Any, _depth: int) -> Decimal:
        if type(payload) is Decimal:
            raise Fault(f'$decimal takes text, as in {{"$decimal": "{payload}"}}')
        if type(payload) not in (str, int):
            raise Fault(f"$decimal takes the text of a number, not {kind_of(payload)}")
        try:
            value = Decimal(payload)
        except InvalidOperation:
            raise Fault(f"{payload!r:.60} is not the text of a number") from None
        if not value.is_finite():
            raise Fault(f"{payload!r:.60} is not a finite number; write null, or text")
        return value

    def _tuple(self, payload: Any, depth: int) -> tuple[Any, ...]:
        if type(payload) is not list:
            raise Fault(f"$tuple takes a list, not {kind_of(payload)}")
        return tuple(self.read_list(payload, depth))

    def _literal(self, payload: Any, depth: int) -> Any:
        return self.read(payload, depth, literal=True)

    def _registered(self, payload: Any, depth: int) -> Any:
        if type(payload) is not dict:
            raise Fault(f"$icacheable takes a mapping, not {kind_of(payload)}")
        for name in payload.keys() - {"type", "value", "payload_b64"}:
            hint = guess(name, ["type", "value", "payload_b64"])
            raise Fault(f"$icacheable has no {name!r}; {hint}", (name,), at_key=True)
        name = payload.get("type")
        if type(name) is not str or not name:
            raise Fault('$icacheable needs a "type" that is text, such as "module.Class"')
        if ("value" in payload) == ("payload_b64" in payload):
            raise Fault('$icacheable needs either "value" or "payload_b64"')
        field = "value" if "value" in payload else "payload_b64"
        try:
            if "." not in name and name in LITERALS:
                return self._read_literal(name, field, payload[field], depth)
            return self._build(name, field, payload[field], depth)
        except Fault as fault:
            raise fault.within(field) from None

    def _read_literal(self, name: str, field: str, payload: Any, depth: int) -> Any:
        if (field == "payload_b64") != (name == "bytes"):
            raise Fault(f'a {name} has a "{"payload_b64" if name == "bytes" else "value"}"')
        if name == "bytes":
            return from_base64(payload)
        if name == "dict":
            if type(payload) is not dict:
                raise Fault(f"expected a mapping, not {kind_of(payload)}")
            return self.read_dict(payload, depth + 1)
        return read_literal(name, payload)

    def _build(self, name: str, field: str, payload: Any, depth: int) -> Any:
        binding = find_type(name)
        if binding is None:
            raise Fault(
                f"type {name!r} is not registered here; import the module that defines it, with "
                "@cacheable on the class (nothing is imported because a document names it)"
            )
        cls: Any = binding.cls
        if field == "payload_b64":
            if not binding.is_stream:
                raise Fault(f'{name} is not read from a stream; give it a "value"')
            data = from_base64(payload)
            return _call(name, lambda: cls.from_stream(io.BytesIO(data)))
        if has_json(cls):
            return _call(name, lambda: cls.from_json_value(payload))
        if binding.from_value is None:
            raise Fault(f'{name} has no from_json_value; give it a "payload_b64"')
        value, build = self.read(payload, depth + 1), binding.from_value
        return _call(name, lambda: build(value))


PARAMS = ValueReader(markers=True)
CONTEXT = ValueReader(markers=False)


def check_key(key: object) -> None:
    """Raise a Fault unless a mapping may have this key."""
    if not is_text(key):
        raise Fault(f"a key must be text with a UTF-8 form, not {key!r}", at_key=True)


def _call(name: str, build: Any) -> Any:
    try:
        return build()
    except Exception as error:  # a class of somebody else's can fail in any way
        raise Fault(f"{name} cannot be built from this: {type(error).__name__}: {error}") from error
