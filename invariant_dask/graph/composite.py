"""Vertices that stand for others: a graph within a graph, and a choice between nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from invariant_dask.core.scalars import is_text
from invariant_dask.errors import GraphError
from invariant_dask.graph import upstream
from invariant_dask.graph.markers import find_refs
from invariant_dask.graph.node import Node, check_deps


class SubGraphNode:
    """A graph within a graph; its artifact is that of one of the inner nodes.

    Inner nodes see the parameters as context values, and nothing else of the outer graph. They are
    compiled together with all other nodes, so equal work is done once wherever it stands.

    Parameters
    ----------
    params : dict
        What inner markers may name, besides inner nodes; may hold markers of the outer graph.
    deps : iterable of str, optional
        Outer node ids to wait for; by default what the markers name.
    graph : mapping
        The inner vertices by id.
    output : str
        The inner vertex whose artifact this is.

    Raises
    ------
    GraphError
        If a field is of the wrong kind, or the output is not inside.
    """

    __slots__ = ("deps", "graph", "origin", "output", "params", "refs")

    params: dict[str, Any]
    deps: tuple[str, ...]
    graph: dict[str, Vertex]
    output: str
    refs: tuple[str, ...]
    origin: Any
    """The document that the graph was read from, if that is one of its own."""

    def __init__(
        self,
        params: dict[str, Any] | None = None,
        deps: Iterable[str] | None = None,
        graph: Mapping[str, Vertex] | None = None,
        output: str = "",
    ) -> None:
        what = "a subgraph"
        params = {} if params is None else params
        given: object = params
        if not isinstance(given, dict) or not all(type(name) is str for name in given):
            msg = f"the params of {what} must be a dict with str keys, not {params!r:.80}"
            raise GraphError(msg)
        self.graph = dict(_checked_vertices(graph))
        self.origin = getattr(graph, "origin", None)
        if output not in self.graph:
            inside = ", ".join(sorted(self.graph))
            msg = f"the output {output!r} of {what} is not inside; there are {inside}"
            raise GraphError(msg)
        self.params = params
        self.output = output
        self.refs, _ = find_refs(params)
        self.deps = self.refs if deps is None else check_deps(what, deps, self.refs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SubGraphNode):
            return NotImplemented
        fields = ("deps", "graph", "output", "params")
        return all(getattr(self, name) == getattr(other, name) for name in fields)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"SubGraphNode({len(self.graph)} nodes, output={self.output!r})"


class SwitchNode:
    """A choice between nodes of the same graph, by the value of a selector.

    Only the chosen node is compiled and run, with what it needs; the others have to exist and are
    not looked at any further.

    Parameters
    ----------
    selector
        A marker, or a value. Text stands for itself, `True` and `False` for `"true"` and
        `"false"`, None for `"null"`, an int or Decimal for its decimal text.
    deps : iterable of str, optional
        Node ids that the selector may name; by default what it names.
    cases : mapping of str to str
        The node to take, by the text of the selector.
    default : str, optional
        The node to take where no case fits.

    Raises
    ------
    GraphError
        If a field is of the wrong kind, or there are no cases.
    """

    __slots__ = ("cases", "default", "deps", "refs", "selector")

    selector: Any
    deps: tuple[str, ...]
    cases: dict[str, str]
    default: str | None
    refs: tuple[str, ...]

    def __init__(
        self,
        selector: Any = None,
        deps: Iterable[str] | None = None,
        cases: Mapping[str, str] | None = None,
        default: str | None = None,
    ) -> None:
        if not isinstance(cases, Mapping) or not cases:
            msg = f"a switch needs cases, a mapping of text to node ids, not {cases!r}"
            raise GraphError(msg)
        for case, target in cases.items():
            if type(case) is not str or type(target) is not str or not target:
                msg = f"a case of a switch is text, and its target a node id: {case!r}: {target!r}"
                raise GraphError(msg)
        if default is not None and (type(default) is not str or not default):
            msg = f"the default of a switch is a node id, not {default!r}"
            raise GraphError(msg)
        self.selector = selector
        self.cases = dict(cases)
        self.default = default
        self.refs, _ = find_refs({"selector": selector})
        self.deps = self.refs if deps is None else check_deps("a switch", deps, self.refs)

    @property
    def targets(self) -> tuple[str, ...]:
        """The nodes it may choose, each once, sorted."""
        return tuple(sorted({*self.cases.values(), *([self.default] if self.default else [])}))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SwitchNode):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"SwitchNode({self.selector!r}, {len(self.cases)} cases)"


Vertex: TypeAlias = "Node | SubGraphNode | SwitchNode"


def _checked_vertices(graph: object) -> Mapping[str, Vertex]:
    if not (isinstance(graph, Mapping) and graph):
        msg = f"the graph of a subgraph is a mapping of ids to vertices, not {graph!r:.80}"
        raise GraphError(msg)
    for vertex_id, vertex in graph.items():
        check_id(vertex_id)
        check_vertex(vertex_id, vertex)
    return graph


def check_id(vertex_id: object) -> None:
    """Raise GraphError unless `vertex_id` can name a vertex."""
    if type(vertex_id) is not str or not is_text(vertex_id) or vertex_id[:1] in {"", "<"}:
        msg = (
            "a node id must be non-empty text that has a UTF-8 form and does not start with '<', "
            f"not {vertex_id!r}"
        )
        raise GraphError(msg)


def check_vertex(vertex_id: str, vertex: object) -> None:
    """Raise GraphError unless `vertex` is one, or one of upstream's, which `foreign` converts."""
    if not isinstance(vertex, Node | SubGraphNode | SwitchNode) and not upstream.is_vertex(vertex):
        msg = (
            f"node {vertex_id!r} must be a Node, SubGraphNode or SwitchNode, "
            f"not {type(vertex).__name__}"
        )
        raise GraphError(msg)
