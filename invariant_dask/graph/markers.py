"""Markers: parameters that stand for something upstream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from invariant_dask.core.sealed import SealedDict, SealedList
from invariant_dask.errors import GraphError
from invariant_dask.graph.expressions import Expression, Text, parse, parse_text

Key = str | int
"""What names a part of an artifact: a key or attribute, or a position."""


@dataclass(frozen=True, slots=True)
class Ref:
    """The artifact of another node, or a context value, by name; or a part of it.

    Parameters
    ----------
    name
        The id of a node, or the name of a context value.
    path
        Which part: keys of mappings, positions in lists and tuples, fields of dataclasses.
    """

    name: str
    path: tuple[Key, ...] = ()

    def __post_init__(self) -> None:
        name: object = self.name
        if type(name) is not str or not name:
            msg = f"ref() takes the id of a node, not {self.name!r}"
            raise GraphError(msg)
        for key in self.path:
            if type(key) not in (str, int):
                msg = f"an item of ref({self.name!r}) is named by a str or an int, not {key!r}"
                raise GraphError(msg)

    def __getitem__(self, key: Key) -> Ref:
        return Ref(self.name, (*self.path, key))

    # With `__getitem__` alone, Python would try positions until one fails, and none does.
    __iter__ = None

    def __repr__(self) -> str:
        items = "".join(f"[{key!r}]" for key in self.path)
        return f"ref({self.name!r}){items}"


@dataclass(frozen=True, slots=True)
class Cel:
    """The value of a CEL expression over upstream artifacts and context values.

    Parameters
    ----------
    expr
        The expression.

    Raises
    ------
    ExpressionError
        If it is not one.
    """

    expr: str

    def __post_init__(self) -> None:
        parse(self.expr)

    @property
    def expression(self) -> Expression:
        """The expression, parsed."""
        return parse(self.expr)

    def __repr__(self) -> str:
        return f"cel({self.expr!r})"


def ref(name: str, item: Key | None = None) -> Ref:
    """Return a marker for the artifact of node `name`, or for one item of it.

    Only what is named enters the identity of the node that has the marker.

    Examples
    --------
    >>> ref("photo")
    ref('photo')
    >>> ref("layers")["mask"][0]
    ref('layers')['mask'][0]
    """
    return Ref(name, () if item is None else (item,))


def cel(expr: str) -> Cel:
    """Return a marker for the value of a CEL expression.

    Examples
    --------
    >>> cel("min(width, 640)")
    cel('min(width, 640)')
    """
    return Cel(expr)


_CONTAINERS = (list, tuple, dict, SealedList, SealedDict)


def find_refs(params: dict[str, Any]) -> tuple[tuple[str, ...], bool]:
    """Return the names that markers refer to, sorted, and whether any text has expressions."""
    names: set[str] = set()
    texts = False
    for value in params.values():
        cls = type(value)
        if cls is Ref:
            names.add(value.name)
        elif cls is Cel or cls in _CONTAINERS or (cls is str and "${" in value):
            for marker in markers_in(value):
                texts = texts or isinstance(marker, Text)
                names.update(_names_of(marker))
    return (tuple(sorted(names)) if len(names) > 1 else tuple(names)), texts


def names_in(value: Any) -> Iterator[str]:
    """Yield the names that the markers in a value refer to, some of them repeatedly."""
    for marker in markers_in(value):
        yield from _names_of(marker)


def _names_of(marker: Ref | Cel | Text) -> tuple[str, ...]:
    if isinstance(marker, Ref):
        return (marker.name,)
    return marker.expression.names if isinstance(marker, Cel) else marker.names


def markers_in(root: Any) -> Iterator[Ref | Cel | Text]:
    """Yield the markers in a value; text with expressions in it as `Text`."""
    stack, seen = [root], set()
    while stack:
        value = stack.pop()
        cls = type(value)
        if cls is Ref or cls is Cel:
            yield value
        elif cls is str:
            if "${" in value:
                yield parse_text(value)
        elif cls in _CONTAINERS and id(value) not in seen:
            seen.add(id(value))  # a list that holds itself is refused when it is encoded
            stack.extend(value.values() if isinstance(value, dict) else value)


def parsed_texts(value: Any) -> Any:
    """Return a value in which text with expressions is `Text`; itself if there is none."""
    if not any(isinstance(marker, Text) for marker in markers_in(value)):
        return value
    return _parsed(value)


def _parsed(value: Any) -> Any:
    cls = type(value)
    if cls is str:
        return parse_text(value) if "${" in value else value
    if cls is list or cls is SealedList:
        return [_parsed(item) for item in value]
    if cls is tuple:
        return tuple(_parsed(item) for item in value)
    if cls is dict or cls is SealedDict:
        return {key: _parsed(item) for key, item in value.items()}
    return value
