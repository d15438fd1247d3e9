"""A graph: vertices by id, and a builder for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from invariant_dask.cards import Card, Shown
from invariant_dask.core.files import File
from invariant_dask.errors import DuplicateNodeError, GraphError
from invariant_dask.graph.composite import SubGraphNode, SwitchNode, Vertex, check_id, check_vertex
from invariant_dask.graph.markers import Cel, Ref, cel, ref
from invariant_dask.graph.node import Cache, Node

__all__ = [
    "Cel", "File", "Graph", "HasOpName", "Node", "Ref", "SubGraphNode", "SwitchNode", "Vertex",
    "cel", "ref",
]  # fmt: skip


class HasOpName(Protocol):
    """A function that was registered with `@op`."""

    op_name: str


class Origin(Protocol):
    """The text that a graph was read from."""

    def place(self, path: Sequence[str]) -> str:
        """Return `file:line:column` of what a path leads to; nothing if it is not from there."""
        ...


class Graph(Shown, Mapping[str, Vertex]):
    """Nodes by id, with a builder.

    Examples
    --------
    >>> g = Graph("sums")
    >>> total = g.add("total", "stdlib:add", a=2, b=3)
    >>> g.add("twice", "stdlib:multiply", a=total, b=2)
    ref('twice')
    >>> list(g)
    ['total', 'twice']
    """

    def __init__(self, name: str = "", nodes: Mapping[str, Vertex] | None = None) -> None:
        self.name = name
        self.origin: Origin | None = getattr(nodes, "origin", None)
        self._nodes: dict[str, Vertex] = {}
        for node_id, node in (nodes or {}).items():
            self[node_id] = node

    def add(
        self,
        node_id: str,
        op: str | HasOpName,
        /,
        *,
        deps: Iterable[str] | None = None,
        cache: Cache = True,
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

    def __setitem__(self, node_id: str, node: Vertex) -> None:
        check_id(node_id)
        check_vertex(node_id, node)
        if node_id in self._nodes:
            msg = f"there is a node {node_id!r} already ({self._nodes[node_id]!r:.60})"
            raise DuplicateNodeError(msg)
        self._nodes[node_id] = node

    def __getitem__(self, node_id: str) -> Vertex:
        return self._nodes[node_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def _card(self) -> Card:
        # Parameters are left out: they may be large, or nobody's business.
        rows = [
            (node_id, _what(vertex), ", ".join(vertex.refs))
            for node_id, vertex in self._nodes.items()
        ]
        count = f"{len(self):,} node{'s' if len(self) != 1 else ''}"
        title = f"Graph {self.name}: {count}" if self.name else f"Graph: {count}"
        return Card(title, columns=("node", "op", "takes"), rows=rows)

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<Graph{name}: {len(self)} nodes>"


def _what(vertex: Vertex) -> str:
    if isinstance(vertex, Node):
        return vertex.op_name
    return "(subgraph)" if isinstance(vertex, SubGraphNode) else "(switch)"
