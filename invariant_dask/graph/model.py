"""What a graph is made of: nodes that say *what* is to be produced, and a builder for people.

Identity fields (`op_name`, `params`, `cache`) and hints (how to run) are kept apart; no hint ever
enters a digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn, Protocol

from invariant_dask.core.encode import is_text
from invariant_dask.core.files import File
from invariant_dask.errors import DuplicateNodeError, GraphError
from invariant_dask.graph.markers import Ref, find_refs, ref

__all__ = ["File", "Graph", "HasOpName", "Node", "Ref", "ref"]

HINTS: Mapping[str, str] = {
    "labels": "a mapping of text to text, shown in plans",
    "priority": "an int, higher runs earlier (distributed scheduler)",
    "resources": "a mapping of resource name to amount (distributed scheduler)",
    "retries": "an int, how often a failed op is tried again",
}


class HasOpName(Protocol):
    """A function that was registered with `@op`."""

    op_name: str


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
    cache : bool
        False makes the node ephemeral: never looked up, never stored, never deduplicated.
    **hints
        `labels`, `priority`, `resources`, `retries`: how to run, never what is produced.

    Raises
    ------
    GraphError
        If a field is of the wrong kind, a hint is unknown, or a marker names an undeclared dep.
    """

    __slots__ = ("cache", "deps", "hints", "op_name", "params", "refs")

    op_name: str
    params: dict[str, Any]
    deps: tuple[str, ...]
    refs: tuple[str, ...]
    cache: bool
    hints: dict[str, Any] | None

    def __init__(
        self,
        op_name: str,
        params: dict[str, Any] | None = None,
        deps: Iterable[str] | None = None,
        cache: bool = True,
        **hints: Any,
    ) -> None:
        params = {} if params is None else params
        _check_identity(op_name, params, cache)
        refs = find_refs(params)
        fill = object.__setattr__
        fill(self, "op_name", op_name)
        fill(self, "params", params)
        fill(self, "refs", refs)
        fill(self, "deps", refs if deps is None else _check_deps(op_name, deps, refs))
        fill(self, "cache", cache)
        fill(self, "hints", _check_hints(op_name, hints) if hints else None)

    def __setattr__(self, name: str, _value: object) -> NoReturn:
        msg = f"a Node cannot change; make a new one with another {name}"
        raise AttributeError(msg)

    __delattr__ = __setattr__  # type: ignore[assignment]

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
    cache: bool,
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
    if type(cache) is not bool:
        msg = f"cache of a {op_name} node must be True or False, not {cache!r}"
        raise GraphError(msg)


def _check_deps(op_name: str, deps: Iterable[str], refs: tuple[str, ...]) -> tuple[str, ...]:
    deps = deps if isinstance(deps, str) else tuple(deps)
    if isinstance(deps, str) or not all(isinstance(dep, str) for dep in deps):
        msg = f"deps of a {op_name} node must be a list of node ids, not {deps!r}"
        raise GraphError(msg)
    undeclared = sorted(set(refs) - set(deps))
    if undeclared:
        msg = (
            f"a {op_name} node refers to {', '.join(map(repr, undeclared))}, not among its deps "
            f"{sorted(deps)}; add it, or leave deps out"
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


class Graph(Mapping[str, Node]):
    """Nodes by id, with a builder.

    Examples
    --------
    >>> g = Graph("sums")
    >>> total = g.add("total", "stdlib:add", a=2, b=3)
    >>> g.add("twice", "stdlib:multiply", a=total, b=2)
    Ref(name='twice')
    >>> list(g)
    ['total', 'twice']
    """

    def __init__(self, name: str = "", nodes: Mapping[str, Node] | None = None) -> None:
        self.name = name
        self._nodes: dict[str, Node] = {}
        for node_id, node in (nodes or {}).items():
            self[node_id] = node

    def add(
        self,
        node_id: str,
        op: str | HasOpName,
        /,
        *,
        deps: Iterable[str] | None = None,
        cache: bool = True,
        hints: Mapping[str, Any] | None = None,
        **params: Any,
    ) -> Ref:
        """Add a node and return a marker for its artifact.

        Parameters
        ----------
        node_id
            The id of the new node.
        op
            The name of an op, or a function registered with `@op`.
        deps, cache, hints
            As for `Node`. An op with a parameter of one of these names takes `g[id] = Node(...)`.
        **params
            The parameters.

        Raises
        ------
        DuplicateNodeError
            If the id is taken.
        GraphError
            If a field is of the wrong kind.
        """
        op_name = op if isinstance(op, str) else getattr(op, "op_name", None)
        if op_name is None:
            msg = f"node {node_id!r}: {op!r} is neither the name of an op nor registered with @op"
            raise GraphError(msg)
        self[node_id] = Node(op_name, params, deps, cache, **(hints or {}))
        return Ref(node_id)

    def __setitem__(self, node_id: str, node: Node) -> None:
        check_id(node_id)
        check_node(node_id, node)
        if node_id in self._nodes:
            msg = f"there is a node {node_id!r} already ({self._nodes[node_id].op_name})"
            raise DuplicateNodeError(msg)
        self._nodes[node_id] = node

    def __getitem__(self, node_id: str) -> Node:
        return self._nodes[node_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<Graph{name}: {len(self)} nodes>"


def check_id(node_id: object) -> None:
    """Raise GraphError unless `node_id` can name a node."""
    if type(node_id) is not str or not is_text(node_id) or node_id[:1] in {"", "<"}:
        msg = (
            "a node id must be non-empty text that has a UTF-8 form and does not start with '<', "
            f"not {node_id!r}"
        )
        raise GraphError(msg)


def check_node(node_id: str, node: object) -> None:
    """Raise GraphError unless `node` is a Node."""
    if not isinstance(node, Node):
        msg = f"node {node_id!r} must be a Node, not {type(node).__name__}"
        raise GraphError(msg)
