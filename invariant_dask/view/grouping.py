"""Levels of detail: a picture of many nodes becomes one of groups of them, by op.

Nodes of one op that get their inputs from the same groups are drawn as one, with how many of them
are in each state. If that still makes too many groups, those of one op at the same distance from
the beginning are taken together, and then all of one op.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, get_args

from invariant_dask.errors import PictureError
from invariant_dask.view.picture import Edge, EdgeKind, Kind, Picture, PictureNode
from invariant_dask.view.states import State

Detail = Literal["auto", "nodes", "ops"]
DETAILS: tuple[Detail, ...] = get_args(Detail)

MANY = 500
"""How many nodes are drawn one by one, unless they are asked for."""

MOST_GROUPS = 120
"""How many groups are drawn."""


def at_level(picture: Picture, detail: Detail = "auto") -> Picture:
    """Return a picture with all nodes, or of groups by op.

    Parameters
    ----------
    picture
        A picture with all nodes.
    detail
        `nodes`, `ops`, or `auto`: by op if there are more than 500 nodes.

    Raises
    ------
    PictureError
        If there is no such level of detail.
    """
    check_detail(detail)
    if detail == "nodes" or (detail == "auto" and len(picture.nodes) <= MANY):
        return picture
    return by_op(picture)


def check_detail(detail: str) -> None:
    """Raise PictureError if there is no such level of detail."""
    if detail not in DETAILS:
        raise PictureError(f"there is no detail {detail!r}; there are {', '.join(DETAILS)}")


def by_op(picture: Picture) -> Picture:
    """Return a picture in which nodes of one op are drawn together."""
    keys: list[Hashable] = []
    for way in (_by_inputs, _by_distance, _by_name):
        keys = list(way(picture))
        if len(set(keys)) <= MOST_GROUPS:
            break
    else:
        keys = _largest(keys)
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    group_of = [numbers[key] for key in keys]
    members: list[list[PictureNode]] = [[] for _ in numbers]
    for node, group in zip(picture.nodes, group_of, strict=True):
        members[group].append(node)
    remark = f"{len(picture.nodes):,} nodes, drawn as {len(members)} groups by op"
    return Picture(
        picture.title, picture.summary, tuple(map(_group, members)),
        tuple(_edges(picture.edges, group_of)), remarks=(*picture.remarks, remark),
    )  # fmt: skip


def _name(node: PictureNode) -> str:
    return node.op or node.kind.value


def _sources(picture: Picture) -> list[list[int]]:
    """Return where each node has its inputs from; those are drawn before it."""
    sources: list[list[int]] = [[] for _ in picture.nodes]
    for edge in picture.edges:
        if edge.source < edge.target:  # ghosts stand at the end
            sources[edge.target].append(edge.source)
    return sources


def _by_inputs(picture: Picture) -> Iterator[Hashable]:
    keys: list[int] = []
    numbers: dict[Hashable, int] = {}
    for node, sources in zip(picture.nodes, _sources(picture), strict=True):
        key = (_name(node), frozenset(keys[source] for source in sources))
        keys.append(numbers.setdefault(key, len(numbers)))
    return iter(keys)


def _by_distance(picture: Picture) -> Iterator[Hashable]:
    distances: list[int] = []
    for node, sources in zip(picture.nodes, _sources(picture), strict=True):
        distances.append(1 + max((distances[source] for source in sources), default=-1))
        yield _name(node), distances[-1]


def _by_name(picture: Picture) -> Iterator[Hashable]:
    return map(_name, picture.nodes)


def _largest(keys: Sequence[Hashable]) -> list[Hashable]:
    """Keep the largest groups, and put all others into one."""
    kept = {key for key, _ in Counter(keys).most_common(MOST_GROUPS - 1)}
    return [key if key in kept else None for key in keys]


def _group(members: Sequence[PictureNode]) -> PictureNode:
    if len(members) == 1:
        return replace(members[0], label=members[0].name, cluster=None)
    counted = Counter(node.state for node in members)
    counts = {state: counted[state] for state in State if counted[state]}
    most = max(counts, key=counts.__getitem__)
    ops = Counter(map(_name, members))
    [(op, _)] = ops.most_common(1)
    name = op if len(ops) == 1 else f"{len(ops)} other ops"
    shown = ", ".join(node.name for node in members[:3])
    rest = f" and {len(members) - 3:,} more" if len(members) > 3 else ""
    return PictureNode(
        name, name, _told(counts), Kind.GROUP, most, (shown + rest,),
        is_output=any(node.is_output for node in members), counts=counts,
    )  # fmt: skip


def _told(counts: dict[State, int]) -> str:
    return ", ".join(f"{count:,} {state.word}" for state, count in counts.items())


def _edges(edges: Sequence[Edge], group_of: Sequence[int]) -> Iterator[Edge]:
    says: Callable[[EdgeKind], int] = list(EdgeKind).index
    weights: Counter[tuple[int, int]] = Counter()
    kinds: dict[tuple[int, int], EdgeKind] = {}
    for edge in edges:
        pair = group_of[edge.source], group_of[edge.target]
        if pair[0] == pair[1]:
            continue
        weights[pair] += edge.weight
        kinds[pair] = min(kinds.get(pair, edge.kind), edge.kind, key=says)
    for (source, target), weight in weights.items():
        yield Edge(source, target, kinds[source, target], weight)
