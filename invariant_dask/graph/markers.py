"""Markers: parameters that stand for something upstream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from invariant_dask.core.sealed import SealedDict, SealedList
from invariant_dask.errors import GraphError


@dataclass(frozen=True, slots=True)
class Ref:
    """The artifact of another node, or a context value, by name."""

    name: str

    def __post_init__(self) -> None:
        name: object = self.name
        if type(name) is not str or not name:
            msg = f"ref() takes the id of a node, not {self.name!r}"
            raise GraphError(msg)


def ref(name: str) -> Ref:
    """Return a marker for the artifact of node `name`.

    Examples
    --------
    >>> ref("photo")
    Ref(name='photo')
    """
    return Ref(name)


_CONTAINERS = (list, tuple, dict, SealedList, SealedDict)


def find_refs(params: dict[str, Any]) -> tuple[str, ...]:
    """Return the names that markers in `params` refer to, sorted."""
    names: set[str] = set()
    for value in params.values():
        cls = type(value)
        if cls is Ref:
            names.add(value.name)
        elif cls in _CONTAINERS:
            names.update(marker.name for marker in _walk(value))
    return tuple(sorted(names)) if len(names) > 1 else tuple(names)


def _walk(root: Any) -> Iterator[Ref]:
    stack, seen = [root], set()
    while stack:
        value = stack.pop()
        if type(value) is Ref:
            yield value
        elif type(value) in _CONTAINERS and id(value) not in seen:
            seen.add(id(value))  # a list that holds itself is refused when it is encoded
            stack.extend(value.values() if isinstance(value, dict) else value)
