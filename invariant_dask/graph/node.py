"""A node: an op, its parameters, and how to run it.

Identity fields (`op_name`, `params`, `cache`) and hints (how to run) are kept apart; no hint ever
enters a digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NoReturn

from invariant_dask.errors import GraphError
from invariant_dask.graph.markers import find_refs

Cache = bool | Literal["volatile"]

HINTS: Mapping[str, str] = {
    "labels": "a mapping of text to text, shown in plans",
    "priority": "an int, higher runs earlier (distributed scheduler)",
    "resources": "a mapping of resource name to amount (distributed scheduler)",
    "retries": "an int, how often a failed op is tried again",
}


class Node:
    """A vertex: an op name, its parameters, and what it waits for.

    Parameters
    ----------
    op_name : str
        A registered op, such as `stdlib:add`.
    params : dict
        Parameters by name; markers in them, also inside lists, tuples and dicts, stand for
        upstream artifacts.
    deps : iterable of str, optional
        Node ids to wait for. By default what the markers name; if given, it must contain these.
        A dependency that no marker uses orders execution and is not part of the identity.
    cache : bool or "volatile"
        False makes the node ephemeral, and what is made from it: never looked up, never stored,
        never deduplicated. `"volatile"` makes it run in every run, while what is made from it is
        reused where it came out the same.
    **hints
        `labels`, `priority`, `resources`, `retries`: how to run, never what is produced.

    Raises
    ------
    GraphError
        If a field is of the wrong kind, a hint is unknown, or a marker names an undeclared dep.
    """

    __slots__ = ("cache", "deps", "hints", "op_name", "params", "refs", "texts")

    op_name: str
    params: dict[str, Any]
    deps: tuple[str, ...]
    refs: tuple[str, ...]
    texts: bool
    """Whether text in the parameters has expressions in it."""
    cache: Cache
    hints: dict[str, Any] | None

    def __init__(
        self,
        op_name: str,
        params: dict[str, Any] | None = None,
        deps: Iterable[str] | None = None,
        cache: Cache = True,
        **hints: Any,
    ) -> None:
        params = {} if params is None else params
        _check_identity(op_name, params, cache)
        refs, texts = find_refs(params)
        fill = object.__setattr__
        fill(self, "op_name", op_name)
        fill(self, "params", params)
        fill(self, "refs", refs)
        fill(self, "texts", texts)
        what = f"a {op_name} node"
        fill(self, "deps", refs if deps is None else check_deps(what, deps, refs))
        fill(self, "cache", cache)
        fill(self, "hints", _check_hints(op_name, hints) if hints else None)

    def __setattr__(self, name: str, _value: object) -> NoReturn:
        msg = f"a Node cannot change; make a new one with another {name}"
        raise AttributeError(msg)

    def __delattr__(self, name: str) -> NoReturn:
        msg = f"a Node cannot change; make a new one without {name}"
        raise AttributeError(msg)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Node):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return _make_node, (self.op_name, self.params, self.deps, self.cache, self.hints or {})

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r:.40}" for name, value in self.params.items())
        return f"Node({self.op_name!r}, {shown})"


def _make_node(
    op_name: str,
    params: dict[str, Any],
    deps: tuple[str, ...],
    cache: Cache,
    hints: dict[str, Any],
) -> Node:
    return Node(op_name, params, deps, cache, **hints)


def _check_identity(op_name: object, params: object, cache: object) -> None:
    if type(op_name) is not str or not op_name:
        msg = f"op_name must be non-empty text, not {op_name!r}"
        raise GraphError(msg)
    if not isinstance(params, dict) or not all(type(name) is str for name in params):
        msg = f"the params of a {op_name} node must be a dict with str keys, not {params!r:.80}"
        raise GraphError(msg)
    if type(cache) is not bool and cache != "volatile":
        msg = f'cache of a {op_name} node must be True, False or "volatile", not {cache!r}'
        raise GraphError(msg)


def check_deps(what: str, deps: Iterable[str], refs: tuple[str, ...]) -> tuple[str, ...]:
    """Return the dependencies of a vertex, sorted, or raise GraphError if they are not good."""
    deps = deps if isinstance(deps, str) else tuple(deps)
    if isinstance(deps, str) or not all(isinstance(dep, str) for dep in deps):
        msg = f"deps of {what} must be a list of node ids, not {deps!r}"
        raise GraphError(msg)
    undeclared = sorted(set(refs) - set(deps))
    if undeclared:
        msg = (
            f"{what} refers to {', '.join(map(repr, undeclared))}, not among its deps "
            f"{sorted(deps)}; add it (where a graph is written in Python, deps can be left out)"
        )
        raise GraphError(msg)
    return tuple(sorted(set(deps)))


def _check_hints(op_name: str, hints: dict[str, Any]) -> dict[str, Any]:
    for name, value in hints.items():
        if name not in HINTS:
            known = ", ".join(sorted(HINTS))
            msg = f"{name!r} is not a hint of a node (op {op_name}); hints are {known}"
            raise GraphError(msg)
        if name in {"priority", "retries"}:
            fits = type(value) is int and (name == "priority" or value >= 0)
        else:
            fits = isinstance(value, Mapping)
        if not fits:
            msg = f"hint {name!r} of a {op_name} node must be {HINTS[name]}, not {value!r}"
            raise GraphError(msg)
    return dict(hints)
