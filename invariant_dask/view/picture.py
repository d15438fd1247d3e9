"""What a picture shows, whoever draws it: nodes with states, edges, clusters, a line above."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from invariant_dask.view.states import State


class Kind(Enum):
    """What a node of a picture stands for."""

    NODE = "node"
    SWITCH = "switch"
    SUBGRAPH = "subgraph"
    GROUP = "group"


class EdgeKind(Enum):
    """What an edge stands for."""

    DATA = "data"
    ORDER = "order only"
    GHOST = "may be"


@dataclass(frozen=True, slots=True)
class PictureNode:
    """One node of a picture, or a group of them."""

    name: str
    """Its id in the whole graph, or what a group has in common."""
    label: str
    """What is written on it: its id in its cluster."""
    op: str
    kind: Kind
    state: State
    """For a group the state of most of it."""
    notes: tuple[str, ...] = ()
    """What else there is to say, a line each."""
    cluster: int | None = None
    is_output: bool = False
    counts: Mapping[State, int] = field(default_factory=dict)
    """Of a group: how many of its nodes are in each state."""

    @property
    def size(self) -> int:
        """How many nodes of the graph it stands for."""
        return sum(self.counts.values()) or 1

    def tooltip(self) -> tuple[str, ...]:
        """Return all there is to say of it, a line each."""
        if self.kind is Kind.GROUP:
            states = tuple(f"{count:,} {state.value}" for state, count in self.counts.items())
            return (self.name, *states, *self.notes)
        what = self.op if self.kind is Kind.NODE else self.kind.value
        return (self.name, *((what,) if what else ()), self.state.value, *self.notes)


@dataclass(frozen=True, slots=True)
class Edge:
    """A line from one node to another, by their places in the picture."""

    source: int
    target: int
    kind: EdgeKind
    weight: int = 1
    """How many edges of the graph it stands for."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A subgraph: a box around nodes, in another cluster or in none."""

    name: str
    label: str
    parent: int | None


@dataclass(frozen=True, slots=True)
class Picture:
    """A graph as it is drawn.

    Equal graphs in equal states give equal pictures, however their nodes are sorted.
    """

    title: str
    summary: str
    nodes: tuple[PictureNode, ...]
    edges: tuple[Edge, ...]
    clusters: tuple[Cluster, ...] = ()
    """Each behind the one that it is in."""
    remarks: tuple[str, ...] = ()
    """What a reader has to know about the picture itself."""

    def states(self) -> list[State]:
        """Return the states that occur, in the order of a legend."""
        found = {state for node in self.nodes for state in (node.counts or (node.state,))}
        return [state for state in State if state in found]

    def edge_kinds(self) -> list[EdgeKind]:
        """Return the kinds of edges that occur, in the order of a legend."""
        found = {edge.kind for edge in self.edges}
        return [kind for kind in EdgeKind if kind in found]
