"""Data URIs: a JSON document in base64, and context values in the query. Pure text in and out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from invariant_dask.graph import json_text
from invariant_dask.graph.literals import from_base64, to_base64
from invariant_dask.graph.positions import Fault
from invariant_dask.graph.read_values import CONTEXT
from invariant_dask.graph.write_values import write_value

_HEAD = "application/vnd.invariant.graph+json;base64,"


def is_data_uri(text: str) -> bool:
    """Return whether text is meant to be a data URI."""
    return text.lstrip()[:5].lower() == "data:" and "\n" not in text.strip()


def join(text: str, context: Mapping[str, Any]) -> str:
    """Return the data URI of a JSON document, with context values as its query.

    Raises
    ------
    Fault
        If a value has no form in a document.
    """
    pairs = []
    for name, value in sorted(context.items()):
        if type(name) is not str or not name:
            raise Fault(f"a context value is named by text, not {name!r}")
        try:
            pairs.append((name, _write(value)))
        except Fault as fault:
            raise fault.within(name) from None
    uri = f"data:{_HEAD}{to_base64(text.encode())}"
    return f"{uri}?{urlencode(pairs)}" if pairs else uri


def split(uri: str) -> tuple[str, str]:
    """Return the JSON document of a data URI, and its query.

    Raises
    ------
    Fault
        If it is no data URI of a graph.
    """
    path, query = _parts(uri)
    try:
        return from_base64(path.removeprefix(_HEAD)).decode(), query
    except UnicodeDecodeError:
        raise Fault("what the data URI holds is not UTF-8 text") from None


def without_query(uri: str) -> str:
    """Return a data URI without its query: the same text whatever the context."""
    return urlunsplit(("data", "", _parts(uri)[0], "", ""))


def _parts(uri: str) -> tuple[str, str]:
    parts = urlsplit(uri)
    if parts.scheme != "data" or parts.netloc or not parts.path.startswith(_HEAD):
        raise Fault(f"not a data URI of a graph; one starts with data:{_HEAD}")
    if parts.fragment:
        raise Fault("a data URI of a graph has no fragment; write %23 for # in a value")
    return parts.path, parts.query


def read_query(query: str) -> dict[str, Any]:
    """Return context values from the query of a data URI.

    Raises
    ------
    Fault
        If a name is empty or stands twice, or a value is not well formed.
    """
    context: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if not name:
            raise Fault("a context value without a name")
        if name in context:
            raise Fault("this context value is given twice", (name,))
        try:
            context[name] = read_value(text)
        except Fault as fault:
            fault.place = None  # within the value, not within the document
            raise fault.within(name) from None
    return context


def _write(value: Any) -> str:
    written = write_value(value)
    CONTEXT.read(written)  # refuses markers
    if type(value) is str and not _is_json(value):
        return value
    return json.dumps(written, separators=(",", ":"), sort_keys=True)


def read_value(text: str) -> Any:
    """Return a context value: JSON where the text is JSON, good or bad, else the text itself.

    Raises
    ------
    Fault
        If it is JSON that stands for no value.
    """
    return CONTEXT.read(json_text.parse(text) if _is_json(text) else text)


def _is_json(text: str) -> bool:
    """Return whether text would be read as JSON, good or bad, rather than as itself."""
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except json.JSONDecodeError:
        return False
    except RecursionError:
        return True
    return True
