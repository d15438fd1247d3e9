"""A picture of a run from its state alone, as a journal gives it: no graph, no plan."""

from __future__ import annotations

from invariant_dask.ledger.folding import NodeState, RunState
from invariant_dask.view.amounts import span_text
from invariant_dask.view.critical import time_of
from invariant_dask.view.grouping import by_op
from invariant_dask.view.picture import Edge, EdgeKind, Kind, Picture, PictureNode
from invariant_dask.view.states import State

ONE_BY_ONE = 120
"""How many nodes a report draws; of more it draws groups by op."""

MOST_NODES = 20_000
"""How many nodes are looked at for groups."""

STATE_OF = {
    "ran": State.RAN, "reused": State.REUSED, "shared": State.SHARED, "failed": State.FAILED,
    "skipped": State.SKIPPED, "cancelled": State.PRUNED, "running": State.RUNNING,
    "planned": State.TO_RUN, "not looked at": State.PRUNED, "inline": State.INLINE,
}  # fmt: skip
"""How the states of a run are painted."""


def picture_of_run(state: RunState) -> Picture | None:
    """Return what a run did as a picture; nothing if it did nothing or is too large for one.

    Nodes that nobody looked at have no events, and so no place in it.
    """
    if not 0 < len(state.nodes) <= MOST_NODES:
        return None
    outputs = set(state.asked.outputs) if state.asked is not None else set()
    names = _in_order(state)
    places = {name: place for place, name in enumerate(names)}
    nodes = tuple(_node(state.nodes[name], is_output=name in outputs) for name in names)
    edges = {
        Edge(places[source], places[name], EdgeKind.DATA)
        for name in names
        for source in _sources(state.nodes[name])
        if source in places and places[source] < places[name]
    }
    picture = Picture("", "", nodes, tuple(sorted(edges, key=_ends)))
    return picture if len(nodes) <= ONE_BY_ONE else by_op(picture)


def _sources(node: NodeState) -> tuple[str, ...]:
    return (node.shares,) if node.shares else node.inputs


def _ends(edge: Edge) -> tuple[int, int]:
    return edge.source, edge.target


def _node(node: NodeState, *, is_output: bool) -> PictureNode:
    notes = [node.why] if node.decision == "run" and node.why else []
    if took := time_of(node):
        notes.append(f"took {span_text(took)}")
    if node.error:
        notes.append(node.error)
    state = STATE_OF[node.state]
    return PictureNode(
        node.node, node.node, node.op, Kind.NODE, state, tuple(notes), is_output=is_output
    )


def _in_order(state: RunState) -> list[str]:
    """Return all nodes, each behind its inputs, in the same order for equal states."""
    done: dict[str, None] = {}
    opened: set[str] = set()
    for start in sorted(state.nodes):
        stack = [start]
        while stack:
            name = stack[-1]
            if name in opened:
                done.setdefault(name)
                stack.pop()
                continue
            opened.add(name)
            sources = _sources(state.nodes[name])
            stack += [each for each in sources[::-1] if each in state.nodes and each not in opened]
    return list(done)
