"""Place boxes in layers from left to right, so that lines are short and seldom cross.

The steps are those of Sugiyama, Tagawa and Toda: break circles, give each box a layer, sort the
layers by where the neighbours of a box are, and then move boxes towards these as far as the order
lets them. All of it is deterministic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

COLUMN_GAP = 46.0
ROW_GAP = 12.0
_WIRE = 5.0
"""How high a line is where it goes past a box."""
_SWEEPS = 10
_MOST_WIRES = 20_000
"""How many places of lines between boxes are kept apart; more would take too long."""

Point = tuple[float, float]
Line = tuple[int | None, int | None]
"""From a box to a box. None stands for what is outside: such a line goes to the margin."""


@dataclass(slots=True)
class Placed:
    """Where boxes are, by their middle, and where lines bend."""

    centres: list[Point]
    bends: list[list[Point]]
    """For each line the points between its ends, from source to target, where it passes layers."""
    width: float
    height: float


@dataclass(slots=True)
class _Layered:
    """Boxes and wires (a line where it passes a layer) by number, in layers."""

    layers: list[list[int]]
    before: list[list[int]]
    """The neighbours of each in the layer before."""
    behind: list[list[int]]
    heights: list[float]
    wires: list[list[tuple[int, int]]] = field(default_factory=list)
    """For each line its layers, with the wire in each."""


def place(sizes: Sequence[Point], lines: Sequence[Line]) -> Placed:
    """Place boxes that lines connect.

    Parameters
    ----------
    sizes
        Width and height of each box.
    lines
        What connects them, by number.
    """
    pairs = [(a, b) for a, b in lines if a is not None and b is not None]
    backward = _circles(len(sizes), pairs)
    forward = [line if line not in backward else (line[1], line[0]) for line in lines]
    ranks = [(a, b) for a, b in forward if a is not None and b is not None]
    rank = _ranks(len(sizes), ranks)
    layered = _layer(sizes, forward, rank)
    _sort(layered)
    ys = _heights(layered)
    columns = _columns(sizes, layered.layers)
    centres = [(sum(columns[rank[box]]) / 2, ys[box]) for box in range(len(sizes))]
    bends = []
    for line, turned, wires in zip(lines, forward, layered.wires, strict=True):
        points = [(x, ys[wire]) for layer, wire in wires for x in columns[layer]]
        bends.append(points if line == turned else points[::-1])
    return _at_origin(sizes, centres, bends)


def _circles(count: int, pairs: Sequence[tuple[int, int]]) -> set[Line]:
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


def _ranks(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
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


def _layer(sizes: Sequence[Point], lines: Sequence[Line], rank: Sequence[int]) -> _Layered:
    layers: list[list[int]] = [[] for _ in range(max(rank, default=0) + 1)]
    for box, layer in enumerate(rank):
        layers[layer].append(box)
    count = len(sizes)
    made = _Layered(
        layers, [[] for _ in range(count)], [[] for _ in range(count)], [h for _, h in sizes]
    )
    passed = [
        range(-1 if a is None else rank[a], len(layers) if b is None else rank[b])[1:]
        for a, b in lines
    ]
    apart = sum(map(len, passed)) <= _MOST_WIRES
    for (source, target), between in zip(lines, passed, strict=True):
        last, wires = source, []
        for layer in between if apart else ():
            wire = len(made.heights)
            made.heights.append(_WIRE)
            made.before.append([])
            made.behind.append([])
            _connect(made, last, wire)
            layers[layer].append(wire)
            wires.append((layer, wire))
            last = wire
        if apart or not between:
            _connect(made, last, target)
        made.wires.append(wires)
    return made


def _connect(made: _Layered, source: int | None, target: int | None) -> None:
    if source is not None and target is not None:
        made.before[target].append(source)
        made.behind[source].append(target)


def _sort(made: _Layered) -> None:
    """Sort each layer by the middle of where the neighbours are, to and fro."""
    position = [0.0] * len(made.heights)

    def note(layer: list[int]) -> None:
        for place_, item in enumerate(layer):
            position[item] = place_ / len(layer)

    for layer in made.layers:
        note(layer)
    best, fewest = [list(layer) for layer in made.layers], _crossings(made, position)
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        near = made.before if forward else made.behind
        for layer in made.layers if forward else reversed(made.layers):
            layer.sort(key=lambda item: _middle([position[n] for n in near[item]], position[item]))
            note(layer)
        crossed = _crossings(made, position)
        if crossed < fewest:
            best, fewest = [list(layer) for layer in made.layers], crossed
    made.layers[:] = best


def _middle(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _crossings(made: _Layered, position: Sequence[float]) -> int:
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


def _heights(made: _Layered) -> list[float]:
    """Return how far down each item is: near its neighbours, and clear of its layer."""
    ys = [0.0] * len(made.heights)
    for layer in made.layers:
        _settle(layer, made.heights, ys, lambda _item: 0.0)
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        for layer in made.layers if forward else reversed(made.layers):
            near = made.before if forward else made.behind
            far = made.behind if forward else made.before

            def wish(item: int, near: list[list[int]] = near, far: list[list[int]] = far) -> float:
                # Who has no neighbours on this side would drift away from those on the other.
                return _middle([ys[n] for n in near[item] or far[item]], ys[item])

            _settle(layer, made.heights, ys, wish)
    return ys


def _settle(
    layer: Sequence[int],
    heights: Sequence[float],
    ys: list[float],
    wish: Callable[[int], float],
) -> None:
    """Put the items of a layer as close to their wishes as their order and sizes let them.

    Less the room that those before it need, the place of an item must not be less than that of
    the one before: an isotonic regression, which pooling adjacent violators solves.
    """
    blocks: list[tuple[float, int]] = []  # mean and count
    offsets, room, previous = [], 0.0, 0.0
    for number, item in enumerate(layer):
        gap = ROW_GAP if heights[item] > _WIRE else _WIRE
        room += (previous + heights[item]) / 2 + gap if number else 0.0
        previous = heights[item]
        offsets.append(room)
        mean, count = wish(item) - room, 1
        while blocks and blocks[-1][0] > mean:
            other, members = blocks.pop()
            mean = (mean * count + other * members) / (count + members)
            count += members
        blocks.append((mean, count))
    means = [mean for mean, count in blocks for _ in range(count)]
    for item, mean, offset in zip(layer, means, offsets, strict=True):
        ys[item] = mean + offset


def _columns(sizes: Sequence[Point], layers: Sequence[Sequence[int]]) -> list[Point]:
    """Return where each layer begins and ends, left to right."""
    columns, x = [], 0.0
    for layer in layers:
        width = max((sizes[item][0] for item in layer if item < len(sizes)), default=0.0)
        columns.append((x, x + width))
        x += width + COLUMN_GAP
    return columns


def _at_origin(
    sizes: Sequence[Point], centres: list[Point], bends: list[list[Point]]
) -> Placed:
    tops = [y - h / 2 for (_, y), (_, h) in zip(centres, sizes, strict=True)]
    bottoms = [y + h / 2 for (_, y), (_, h) in zip(centres, sizes, strict=True)]
    wires = [y for each in bends for _, y in each]
    left = min((x - w / 2 for (x, _), (w, _) in zip(centres, sizes, strict=True)), default=0.0)
    right = max((x + w / 2 for (x, _), (w, _) in zip(centres, sizes, strict=True)), default=0.0)
    top, bottom = min([*tops, *wires], default=0.0), max([*bottoms, *wires], default=0.0)
    return Placed(
        [(x - left, y - top) for x, y in centres],
        [[(x - left, y - top) for x, y in each] for each in bends],
        right - left,
        bottom - top,
    )
