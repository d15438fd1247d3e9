"""Sort boxes into layers from left to right, so that lines between them seldom cross.

The steps are those of Sugiyama, Tagawa and Toda: turn around what closes a circle, give each box a
layer, and sort the layers by where the neighbours of a box are. All of it is deterministic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

WIRE = 5.0
"""How high a line is where it goes past a box."""

SWEEPS = 10
"""How often layers are gone through, to and fro."""

_MOST_WIRES = 20_000
"""How many places of lines between boxes are kept apart; more would take too long."""

Point = tuple[float, float]
Line = tuple[int | None, int | None]
"""From a box to a box. None stands for what is outside: such a line goes to the margin."""


@dataclass(slots=True)
class Layered:
    """Boxes and wires (a line where it passes a layer) by number, in layers."""

    layers: list[list[int]]
    before: list[list[int]]
    """The neighbours of each in the layer before."""
    behind: list[list[int]]
    heights: list[float]
    wires: list[list[tuple[int, int]]] = field(default_factory=list)
    """For each line its layers, with the wire in each."""


def circles(count: int, pairs: Sequence[tuple[int, int]]) -> set[Line]:
    """Return lines that close a circle: turned around, none is left."""
    targets: list[list[int]] = [[] for _ in range(count)]
    for source, target in pairs:
        targets[source].append(target)
    state = [0] * count
    closing: set[Line] = set()
    for root in range(count):
        stack = [root] if not state[root] else []
        while stack:
            box = stack[-1]
            if state[box]:
                stack.pop()
                state[box] = 2
                continue
            state[box] = 1
            for target in reversed(targets[box]):
                if state[target] == 1:
                    closing.add((box, target))
                elif not state[target]:
                    stack.append(target)
    return closing


def ranks(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Return the layer of each box: behind its sources, and beginnings close to their targets."""
    targets: list[list[int]] = [[] for _ in range(count)]
    missing = [0] * count
    for source, target in pairs:
        targets[source].append(target)
        missing[target] += 1
    rank, ready = [0] * count, [box for box in range(count) if not missing[box]]
    beginnings = list(ready)
    for box in ready:  # it grows
        for target in targets[box]:
            rank[target] = max(rank[target], rank[box] + 1)
            missing[target] -= 1
            if not missing[target]:
                ready.append(target)
    for box in beginnings:
        if targets[box]:
            rank[box] = min(rank[target] for target in targets[box]) - 1
    return rank


def layered(sizes: Sequence[Point], lines: Sequence[Line], rank: Sequence[int]) -> Layered:
    layers: list[list[int]] = [[] for _ in range(max(rank, default=0) + 1)]
    for box, layer in enumerate(rank):
        layers[layer].append(box)
    count = len(sizes)
    made = Layered(
        layers, [[] for _ in range(count)], [[] for _ in range(count)], [h for _, h in sizes]
    )
    passed = [
        range(-1 if a is None else rank[a], len(layers) if b is None else rank[b])[1:]
        for a, b in lines
    ]
    apart = sum(map(len, passed)) <= _MOST_WIRES
    shared: dict[tuple[int, int], int] = {}  # lines with one source go together until they part
    for (source, target), between in zip(lines, passed, strict=True):
        last, wires = source, []
        for layer in between if apart else ():
            wire = None if source is None else shared.get((source, layer))
            if wire is None:
                wire = len(made.heights)
                made.heights.append(WIRE)
                made.before.append([])
                made.behind.append([])
                _connect(made, last, wire)
                layers[layer].append(wire)
                if source is not None:
                    shared[source, layer] = wire
            wires.append((layer, wire))
            last = wire
        if apart or not between:
            _connect(made, last, target)
        made.wires.append(wires)
    return made


def _connect(made: Layered, source: int | None, target: int | None) -> None:
    if source is not None and target is not None:
        made.before[target].append(source)
        made.behind[source].append(target)


def sort(made: Layered) -> None:
    """Sort each layer by the middle of where the neighbours are, to and fro."""
    position = [0.0] * len(made.heights)

    def note(layer: list[int]) -> None:
        for place_, item in enumerate(layer):
            position[item] = place_ / len(layer)

    for layer in made.layers:
        note(layer)
    best, fewest = [list(layer) for layer in made.layers], _crossings(made, position)
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        near = made.before if forward else made.behind
        for layer in made.layers if forward else reversed(made.layers):
            layer.sort(key=lambda item: middle([position[n] for n in near[item]], position[item]))
            note(layer)
        crossed = _crossings(made, position)
        if crossed < fewest:
            best, fewest = [list(layer) for layer in made.layers], crossed
    made.layers[:] = best


def middle(values: list[float], otherwise: float) -> float:
    """Return the mean of some values, if there are any."""
    return sum(values) / len(values) if values else otherwise


def _crossings(made: Layered, position: Sequence[float]) -> int:
    """Return how many lines cross, between all layers: inversions, counted in a Fenwick tree."""
    total = 0
    for layer in made.layers[1:]:
        ends = [
            (position[item], position[source]) for item in layer for source in made.before[item]
        ]
        ends.sort()
        slots = {value: slot for slot, value in enumerate(sorted({s for _, s in ends}), start=1)}
        tree = [0] * (len(slots) + 1)
        for seen, (_, source) in enumerate(ends):
            slot, smaller = slots[source], 0
            while slot:
                smaller += tree[slot]
                slot -= slot & -slot
            total += seen - smaller
            slot = slots[source]
            while slot < len(tree):
                tree[slot] += 1
                slot += slot & -slot
    return total
