"""What a YAML scalar means: the rules of YAML 1.1 without floats, timestamps and objects."""

from __future__ import annotations

from typing import Any

import yaml
from yaml.events import ScalarEvent

from invariant_dask.graph.json_text import decimal
from invariant_dask.graph.positions import Fault

STANDARD = "tag:yaml.org,2002:"

_RESOLVERS: dict[Any, list[tuple[str, Any]]] = yaml.SafeLoader.yaml_implicit_resolvers
_TRUE, _FALSE = {"yes", "true", "on"}, {"no", "false", "off"}


def read_scalar(event: ScalarEvent) -> Any:
    """Return the value of a scalar that has no tag, or one of YAML's own.

    Raises
    ------
    Fault
        If it has no exact form in JSON.
    """
    kind = kind_of_scalar(event)
    text = event.value
    try:
        if kind == "bool":
            return _bool(text.lower())
        if kind == "int":
            return _int(text.replace("_", ""))
        if kind == "float":
            return _decimal(text.replace("_", "").lower())
    except ValueError as error:
        raise Fault(f"{text!r:.60} is not {_article(kind)}: {error}") from None
    if kind == "null":
        return None
    if kind == "timestamp":
        name = "date" if len(text) <= 10 else "datetime"
        raise Fault(f"{text} is a timestamp to YAML; quote it for text, or write !{name} '{text}'")
    if kind == "binary":
        return {"$icacheable": {"type": "bytes", "payload_b64": text}}
    return text


def kind_of_scalar(event: ScalarEvent) -> str:
    """Return the last part of a scalar's standard tag, resolved if it has none."""
    tag = event.tag
    if tag is not None and tag != "!":
        return tag.removeprefix(STANDARD)
    if event.implicit[0]:
        text = event.value
        candidates = _RESOLVERS.get(text[:1], []) + _RESOLVERS.get(None, [])
        for candidate, pattern in candidates:
            if pattern.match(text):
                return candidate.removeprefix(STANDARD)
    return "str"


KINDS = frozenset({"binary", "bool", "float", "int", "null", "str"})
"""The standard tags that may be written out."""


def _bool(text: str) -> bool:
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError("write true or false")


def _int(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    text = text.lstrip("+-")
    if ":" in text:  # 1:30 is 90: base 60
        value = 0
        for digits in text.split(":"):
            value = value * 60 + int(digits)
        return sign * value
    if text.startswith("0b"):
        return sign * int(text, 2)
    if text.startswith("0x"):
        return sign * int(text, 16)
    return sign * int(text, 8 if text.startswith("0") and text != "0" else 10)


def _decimal(text: str) -> Any:
    if text.endswith(("inf", "nan")):
        raise ValueError("it is not finite; write null, or quote it")
    if ":" in text:
        raise ValueError("a number in base 60 with a fraction; quote it, or write it in base 10")
    return decimal(text)


def _article(kind: str) -> str:
    return {"bool": "a boolean", "int": "an integer"}.get(kind, "a number")
