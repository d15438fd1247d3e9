"""The vertices of a graph as they stand in a picture: subgraphs opened, cases of switches told.

Only what outputs need is there, and what a switch may choose or might have chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from invariant_dask.graph.composite import SubGraphNode, SwitchNode, Vertex
from invariant_dask.graph.markers import find_refs
from invariant_dask.graph.node import Node
from invariant_dask.plan.program import Program
from invariant_dask.view.picture import Cluster, Edge, EdgeKind, Kind

DEEPEST = 12
"""Clusters within clusters; what is deeper stands in the last of them."""

Behind = tuple[int, ...]
"""The places that stand for a vertex, or for a value from outside: none for a known one."""


@dataclass(frozen=True, slots=True)
class Place:
    """A vertex of the graph as it stands in a picture."""

    name: str
    label: str
    op: str
    kind: Kind
    cluster: int | None
    not_taken: bool = False


@dataclass(slots=True)
class Outline:
    """What there is to draw; places come behind those they depend on, but for ghosts."""

    places: list[Place] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    clusters: list[Cluster] = field(default_factory=list)
    outputs: set[int] = field(default_factory=set)
    """Places of what was asked for."""


@dataclass(slots=True)
class _Scope:
    graph: Mapping[str, Vertex]
    path: str = ""
    cluster: int | None = None
    depth: int = 0
    outside: dict[str, Behind] = field(default_factory=dict)
    after: Behind = ()
    """What all of it waits for."""
    made: dict[str, Behind] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)

    def behind(self, name: str) -> Behind:
        """Return the places of a vertex or parameter; none for what comes from outside."""
        if name in self.graph:
            return self.made.get(name, ())
        return self.outside.get(name, ())


def outline(program: Program, outputs: Collection[str]) -> Outline:
    """Return what there is to draw of a compiled graph.

    Parameters
    ----------
    program
        The compiled graph; what it does not know is undecided.
    outputs
        What was asked for.
    """
    drawer = _Drawer(program)
    top = _Scope(program.graph)
    for output in sorted(outputs):
        drawer.draw(top, output)
    drawer.outline.outputs.update(place for name in outputs for place in top.behind(name))
    drawer.add_not_taken()
    drawer.outline.edges = _each_once(drawer.outline.edges)
    return drawer.outline


class _Drawer:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.outline = Outline()
        self.switches: list[tuple[_Scope, SwitchNode, int, tuple[str, ...]]] = []
        self.to_do: list[Callable[[], None]] = []
        """Of what is to be drawn, what comes first at the end."""
        self.closing: list[tuple[_Scope, str, int]] = []
        """Edges that close a circle, through a case that nobody can take."""
        self.compiled = _folders((*program.index, *program.inlined))
        """Subgraphs of which anything is known, by their paths."""

    def draw(self, top: _Scope, output: str) -> None:
        """Draw a vertex of a graph, behind all it needs; without recursion, for any depth."""
        self.ask(top, output)
        while self.to_do:
            self.to_do.pop()()

    def ask(self, scope: _Scope, name: str) -> None:
        if name in scope.open or name not in scope.graph:
            return  # drawn, or a circle
        scope.open.add(name)
        vertex = scope.graph[name]
        self.to_do.append(partial(self.make, scope, name, vertex))
        needs = self.needs(scope, name, vertex)
        self.to_do.extend(partial(self.ask, scope, need) for need in reversed(needs))

    def needs(self, scope: _Scope, name: str, vertex: Vertex) -> list[str]:
        if isinstance(vertex, SwitchNode):
            return [*vertex.deps, *self.taken(scope, name, vertex)]
        return list(vertex.deps)

    def taken(self, scope: _Scope, name: str, switch: SwitchNode) -> tuple[str, ...]:
        """Return the case that a switch chose, or all that it may choose."""
        known = self.value(scope.path + name)
        if known is None:
            return switch.targets
        chosen = [t for t in switch.targets if self.value(scope.path + t) is known]
        return tuple(chosen[:1])

    def value(self, name: str) -> object:
        """Return what a name stands for: the same object for the same work; None if undecided."""
        index = self.program.index.get(name)
        return self.program.inlined.get(name) if index is None else self.program.steps[index]

    def make(self, scope: _Scope, name: str, vertex: Vertex) -> None:
        if isinstance(vertex, SwitchNode):
            self.add_switch(scope, name, vertex)
        elif isinstance(vertex, Node) or scope.path + name not in self.compiled:
            self.add_node(scope, name, vertex)
        else:
            inner = self.enter(scope, name, vertex)
            self.to_do.append(partial(self.leave, scope, name, inner, vertex.output))
            self.ask(inner, vertex.output)

    def leave(self, scope: _Scope, name: str, inner: _Scope, output: str) -> None:
        scope.made[name] = inner.behind(output)

    def enter(self, scope: _Scope, name: str, vertex: SubGraphNode) -> _Scope:
        outside: dict[str, Behind] = {}
        for param, value in vertex.params.items():
            behind = {
                place for each in find_refs({param: value})[0] for place in scope.behind(each)
            }
            outside[param] = tuple(sorted(behind))
        order = {place for dep in vertex.deps for place in scope.behind(dep)}
        order -= {place for each in vertex.refs for place in scope.behind(each)}
        cluster, depth = scope.cluster, scope.depth
        if depth < DEEPEST:
            self.outline.clusters.append(Cluster(scope.path + name, name, cluster))
            cluster, depth = len(self.outline.clusters) - 1, depth + 1
        after = tuple(sorted({*(scope.after if _is_first(scope, vertex) else ()), *order}))
        path = f"{scope.path}{name}/"
        return _Scope(vertex.graph, path, cluster, depth, outside, after)

    def add(self, scope: _Scope, name: str, vertex: Vertex, *, not_taken: bool = False) -> int:
        op = vertex.op_name if isinstance(vertex, Node) else ""
        self.outline.places.append(
            Place(scope.path + name, name, op, _kind_of(vertex), scope.cluster, not_taken)
        )
        return len(self.outline.places) - 1

    def add_node(self, scope: _Scope, name: str, node: Node | SubGraphNode) -> None:
        place = self.add(scope, name, node)
        sure = self.value(scope.path + name) is not None
        for dep in node.deps:
            kind = EdgeKind.DATA if dep in node.refs else EdgeKind.ORDER
            self.connect(scope, dep, place, kind if sure else EdgeKind.GHOST)
        self.connect_after(scope, node, place)
        scope.made[name] = (place,)

    def add_switch(self, scope: _Scope, name: str, switch: SwitchNode) -> None:
        place = self.add(scope, name, switch)
        for dep in switch.deps:
            kind = EdgeKind.DATA if dep in switch.refs else EdgeKind.ORDER
            self.connect(scope, dep, place, kind)
        sure = self.value(scope.path + name) is not None
        taken = self.taken(scope, name, switch)
        for target in taken:
            self.connect(scope, target, place, EdgeKind.DATA if sure else EdgeKind.GHOST)
        self.connect_after(scope, switch, place)
        self.switches.append((scope, switch, place, taken))
        scope.made[name] = (place,)

    def connect_after(self, scope: _Scope, vertex: Vertex, place: int) -> None:
        """Connect what a subgraph waits for with the vertices in it that others wait for."""
        if _is_first(scope, vertex):
            self.edges_from(scope.after, place, EdgeKind.ORDER)

    def connect(self, scope: _Scope, source: str, target: int, kind: EdgeKind) -> None:
        if source in scope.open and source not in scope.made:  # it closes a circle
            self.closing.append((scope, source, target))
        self.edges_from(scope.behind(source), target, kind)

    def edges_from(self, sources: Behind, target: int, kind: EdgeKind) -> None:
        for source in sources:
            unsure = self.value(self.outline.places[source].name) is None
            self.outline.edges.append(Edge(source, target, EdgeKind.GHOST if unsure else kind))

    def add_not_taken(self) -> None:
        """Draw the cases that switches did not take, without what these would need."""
        for scope, switch, place, taken in self.switches:
            for target in switch.targets:
                if target in taken:
                    continue
                if target in scope.graph and target not in scope.made:
                    made = self.add(scope, target, scope.graph[target], not_taken=True)
                    scope.made[target] = (made,)
                self.connect(scope, target, place, EdgeKind.GHOST)
        for scope, name, place in self.closing:
            self.edges_from(scope.behind(name), place, EdgeKind.GHOST)


def _folders(names: Iterable[str]) -> set[str]:
    """Return all paths that lead to some names."""
    found: set[str] = set()
    for name in names:
        path = name.rpartition("/")[0]
        while path and path not in found:
            found.add(path)
            path = path.rpartition("/")[0]
    return found


def _is_first(scope: _Scope, vertex: Vertex) -> bool:
    """Whether a vertex waits for no other of its graph."""
    return not any(dep in scope.graph for dep in vertex.deps)


def _each_once(edges: Iterable[Edge]) -> list[Edge]:
    """Return one edge for each pair: of several the one that says most."""
    says = list(EdgeKind)
    best: dict[tuple[int, int], Edge] = {}
    for edge in edges:
        pair = edge.source, edge.target
        if pair not in best or says.index(edge.kind) < says.index(best[pair].kind):
            best[pair] = edge
    return list(best.values())


def _kind_of(vertex: Vertex) -> Kind:
    if isinstance(vertex, Node):
        return Kind.NODE
    return Kind.SWITCH if isinstance(vertex, SwitchNode) else Kind.SUBGRAPH
