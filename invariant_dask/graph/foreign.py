"""Graphs of the package `invariant`, and mixtures of its objects with ours, made ours.

Its vertices become vertices of ours, with the rules of ours: what an expression names is checked
now, and markers inside tuples are markers too. Parameters that hold no foreign marker are taken
over as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from invariant_dask.core.encode import MAX_DEPTH
from invariant_dask.core.sealed import SealedDict, SealedList
from invariant_dask.errors import GraphError
from invariant_dask.graph import upstream
from invariant_dask.graph.composite import SubGraphNode, SwitchNode, Vertex
from invariant_dask.graph.markers import Cel, Ref
from invariant_dask.graph.model import Graph
from invariant_dask.graph.node import Node

_CONTAINERS = frozenset({list, tuple, dict, SealedList, SealedDict})
_MAPPINGS = frozenset({dict, SealedDict})

Level: TypeAlias = Mapping[str, Any]
"""One graph, without what is inside its subgraphs."""


def adopt(graph: Mapping[str, Any]) -> Mapping[str, Vertex]:
    """Return a graph of our vertices and markers: the same object, if nothing in it is foreign.

    Nothing is looked at where the package `invariant` was never imported. What is neither ours nor
    upstream's stays, for `check_graph` to refuse.

    Raises
    ------
    GraphError
        If a vertex breaks a rule of ours, or a graph contains itself.
    ExpressionError
        If an expression cannot be read.
    """
    if not upstream.is_present() or not isinstance(graph, Mapping):
        return graph
    return _Adoption().run(graph)


def adopt_outputs(outputs: Any) -> Any:
    """Return outputs with markers of ours in place of upstream's."""
    if outputs is None or isinstance(outputs, str | bytes) or not upstream.is_present():
        return outputs
    if upstream.kind_of(outputs, upstream.MARKERS) == "ref":
        return Ref(outputs.dep)
    if not isinstance(outputs, Iterable):
        return outputs
    return [
        Ref(output.dep) if upstream.kind_of(output, upstream.MARKERS) == "ref" else output
        for output in outputs
    ]


class _Adoption:
    """One pass over a graph and the graphs inside it, each of them and each value visited once."""

    def __init__(self) -> None:
        # By identity of the original, which is kept: who shares a thing goes on sharing it.
        self.levels: dict[int, tuple[Level, Level]] = {}
        self.vertices: dict[int, tuple[Any, Any]] = {}
        self.containers: dict[int, tuple[Any, Any]] = {}
        self.kinds = dict.fromkeys((Ref, Cel, str, int, bool, type(None)), "")
        self.shapes = {Node: "", SwitchNode: "", SubGraphNode: "SubGraphNode"}
        self.makers: dict[str, Callable[[Any], Vertex]] = {
            "Node": self.foreign_node,
            "SubGraphNode": self.foreign_subgraph,
            "SwitchNode": self.foreign_switch,
        }

    def run(self, graph: Level) -> Level:
        """Convert the innermost graphs first; a stack of our own, for any depth of them."""
        open_: set[int] = set()
        stack = [graph]
        while stack:
            level = stack[-1]
            key = id(level)
            if key in self.levels:
                stack.pop()
            elif key in open_:
                stack.pop()
                self.levels[key] = level, self.level(level)
            else:
                open_.add(key)
                for vertex_id, vertex in level.items():
                    inner = self.inside(vertex)
                    if inner is None or id(inner) in self.levels:
                        continue
                    if id(inner) in open_:
                        msg = f"node {vertex_id!r}: the graph of this subgraph contains itself"
                        raise GraphError(msg)
                    stack.append(inner)
        return self.levels[id(graph)][1]

    def inside(self, vertex: Any) -> Level | None:
        return vertex.graph if self.shape(vertex) == "SubGraphNode" else None

    def shape(self, vertex: object) -> str:
        """Return which of upstream's vertices it is; ours count only where graphs are inside."""
        cls = type(vertex)
        shape = self.shapes.get(cls)
        if shape is None:
            ours = "SubGraphNode" if isinstance(vertex, SubGraphNode) else ""
            shape = self.shapes[cls] = ours or upstream.kind_of(vertex, upstream.VERTICES)
        return shape

    def level(self, level: Level) -> Level:
        changed = False
        adopted = {}
        for vertex_id, vertex in level.items():
            new = adopted[vertex_id] = self.vertex(vertex_id, vertex)
            changed = changed or new is not vertex
        if not changed:
            return level
        return Graph(level.name, adopted) if isinstance(level, Graph) else adopted

    def vertex(self, vertex_id: object, vertex: Any) -> Any:
        if isinstance(vertex, Node) and not self.holds_foreign(vertex.params):
            return vertex
        known = self.vertices.get(id(vertex))
        if known is None:
            try:
                known = vertex, self.converted(vertex)
            except GraphError as error:
                if type(error) is GraphError:
                    msg = f"node {vertex_id!r}: {error}"
                    raise GraphError(msg) from None
                error.add_note(f"This is in node {vertex_id!r}.")
                raise
            self.vertices[id(vertex)] = known
        return known[1]

    def converted(self, vertex: Any) -> Any:
        if isinstance(vertex, Node):
            params = self.value(vertex.params)
            hints = vertex.hints or {}
            return Node(vertex.op_name, params, _deps_of(vertex), vertex.cache, **hints)
        if isinstance(vertex, SubGraphNode):
            params, graph = self.value(vertex.params), self.levels[id(vertex.graph)][1]
            if params is vertex.params and graph is vertex.graph:
                return vertex
            return SubGraphNode(params, _deps_of(vertex), graph, vertex.output)
        if isinstance(vertex, SwitchNode):
            selector = self.value(vertex.selector)
            if selector is vertex.selector:
                return vertex
            return SwitchNode(selector, _deps_of(vertex), vertex.cases, vertex.default)
        shape = self.shape(vertex)
        return self.makers[shape](vertex) if shape else vertex

    def foreign_node(self, vertex: Any) -> Node:
        return Node(vertex.op_name, self.value(vertex.params), vertex.deps, vertex.cache)

    def foreign_subgraph(self, vertex: Any) -> SubGraphNode:
        graph = self.levels[id(vertex.graph)][1]
        return SubGraphNode(self.value(vertex.params), vertex.deps, graph, vertex.output)

    def foreign_switch(self, vertex: Any) -> SwitchNode:
        return SwitchNode(self.value(vertex.selector), vertex.deps, vertex.cases, vertex.default)

    def holds_foreign(self, root: dict[str, Any]) -> bool:
        """Return whether there is a foreign marker in parameters; nothing is made."""
        kinds, seen = self.kinds, set[int]()
        stack: list[Any] = [root]
        while stack:
            container = stack.pop()
            for item in container.values() if isinstance(container, dict) else container:
                cls = type(item)
                if cls in _CONTAINERS:
                    if id(item) not in seen:
                        seen.add(id(item))
                        stack.append(item)
                elif kinds.get(cls, "?") and self.kind(item):
                    return True
        return False

    def kind(self, value: object) -> str:
        kind = self.kinds.get(type(value))
        if kind is None:
            kind = self.kinds[type(value)] = upstream.kind_of(value, upstream.MARKERS)
        return kind

    def value(self, value: Any, depth: int = 0) -> Any:
        """Return a value with markers of ours; the same object, if there are no others in it."""
        cls = type(value)
        if cls in _CONTAINERS:
            # What is nested deeper, or holds itself, is refused when it is encoded.
            return value if depth > MAX_DEPTH else self.container(value, depth)
        kind = self.kind(value)
        if kind == "ref":
            return Ref(value.dep)
        return Cel(value.expr) if kind else value

    def container(self, value: Any, depth: int) -> Any:
        known = self.containers.get(id(value))
        if known is not None:
            return known[1]
        self.containers[id(value)] = value, value  # for what holds itself
        items = value.values() if type(value) in _MAPPINGS else value
        new = [self.value(item, depth + 1) for item in items]
        if any(a is not b for a, b in zip(new, items, strict=True)):
            made = dict(zip(value, new, strict=True)) if type(value) in _MAPPINGS else new
            self.containers[id(value)] = value, type(value)(made)
        return self.containers[id(value)][1]


def _deps_of(vertex: Vertex) -> tuple[str, ...] | None:
    """Return declared dependencies; None where they were found in markers, and are to be again."""
    return None if vertex.deps == vertex.refs else vertex.deps
