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
_FOLD_GAP = 22.0
_AROUND = 3.5
"""How far from a box a line passes it that leads to one behind, in the same layer."""
_ROWS = 16
"""A layer of so many boxes is never folded."""
_SHAPE = 1.6
"""How much wider than high the whole should be."""
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
    grid = _fold(layered, sizes)
    ys = _heights(layered, grid)
    columns = _columns(sizes, grid)
    centres = [(sum(columns[rank[box]][grid.column[box]]) / 2, ys[box]) for box in range(len(sizes))]
    bends = []
    for line, turned, wires in zip(lines, forward, layered.wires, strict=True):
        source, target = turned
        points = []
        if source is not None:
            points += _way_out(columns[rank[source]], grid.column[source], ys[source], sizes[source])
        for layer, wire in wires:
            points += [(columns[layer][0][0], ys[wire]), (columns[layer][-1][1], ys[wire])]
        if target is not None:
            points += _way_in(columns[rank[target]], grid.column[target], ys[target], sizes[target])
        bends.append(points if line == turned else points[::-1])
    return _at_origin(sizes, centres, bends)


def _way_out(columns: Sequence[Point], column: int, y: float, size: Point) -> list[Point]:
    """Return the points below the boxes of a row that are behind one, to the end of the layer."""
    if column == len(columns) - 1:
        return []
    below = y + size[1] / 2 + _AROUND
    return [(columns[column + 1][0], below), (columns[-1][1], below)]


def _way_in(columns: Sequence[Point], column: int, y: float, size: Point) -> list[Point]:
    """Return the points above the boxes of a row that are before one."""
    if column == 0:
        return []
    above = y - size[1] / 2 - _AROUND
    return [(columns[0][0], above), (columns[column - 1][1], above)]


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
    shared: dict[tuple[int, int], int] = {}  # lines with one source go together until they part
    for (source, target), between in zip(lines, passed, strict=True):
        last, wires = source, []
        for layer in between if apart else ():
            wire = None if source is None else shared.get((source, layer))
            if wire is None:
                wire = len(made.heights)
                made.heights.append(_WIRE)
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


@dataclass(slots=True)
class _Grid:
    """Layers as rows of boxes side by side, where a layer would be too high otherwise."""

    rows: list[list[tuple[int, ...]]]
    """For each layer its rows from top to bottom; a wire has a row of its own."""
    column: list[int]
    """Of each box, within its layer."""


def _fold(made: _Layered, sizes: Sequence[Point]) -> _Grid:
    """Fold layers that are much higher than the whole is wide."""
    boxes = [sum(item < len(sizes) for item in layer) for layer in made.layers]
    widths = [
        max((sizes[item][0] for item in layer if item < len(sizes)), default=0.0)
        for layer in made.layers
    ]
    high = max((h for _, h in sizes), default=0.0) + ROW_GAP
    most = _ROWS
    while most < max(boxes):
        folded = (
            w * -(-n // most) + _FOLD_GAP * (-(-n // most) - 1) + COLUMN_GAP
            for w, n in zip(widths, boxes, strict=True)
        )
        if most * high * _SHAPE >= sum(folded):
            break
        most += 1
    grid = _Grid([], [0] * len(sizes))
    for layer, count in zip(made.layers, boxes, strict=True):
        beside = -(-count // most)
        rows: list[tuple[int, ...]] = []
        row: tuple[int, ...] = ()
        for item in layer:
            if item >= len(sizes):
                rows.append((item,))
                continue
            grid.column[item] = len(row)
            row = (*row, item)
            if len(row) == beside:
                rows.append(row)
                row = ()
        grid.rows.append([*rows, row] if row else rows)
    return grid


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


def _heights(made: _Layered, grid: _Grid) -> list[float]:
    """Return how far down each item is: near its neighbours, and clear of its layer."""
    ys = [0.0] * len(made.heights)
    for rows in grid.rows:
        _settle(rows, made.heights, ys, lambda _item: 0.0)
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        near = made.before if forward else made.behind
        far = made.behind if forward else made.before

        def wish(item: int, near: list[list[int]] = near, far: list[list[int]] = far) -> float:
            # Who has no neighbours on this side would drift away from those on the other.
            return _middle([ys[n] for n in near[item] or far[item]], ys[item])

        for rows in grid.rows if forward else reversed(grid.rows):
            _settle(rows, made.heights, ys, wish)
    return ys


def _settle(
    rows: Sequence[tuple[int, ...]],
    heights: Sequence[float],
    ys: list[float],
    wish: Callable[[int], float],
) -> None:
    """Put the rows of a layer as close to their wishes as their order and sizes let them.

    Less the room that those before it need, the place of a row must not be less than that of the
    one before: an isotonic regression, which pooling adjacent violators solves.
    """
    blocks: list[tuple[float, int]] = []  # mean and count
    offsets, room, previous = [], 0.0, 0.0
    for number, row in enumerate(rows):
        height = max(heights[item] for item in row)
        gap = _WIRE if height <= _WIRE else ROW_GAP + 2 * _AROUND * (len(row) > 1)
        room += (previous + height) / 2 + gap if number else 0.0
        previous = height
        offsets.append(room)
        mean, count = sum(map(wish, row)) / len(row) - room, 1
        while blocks and blocks[-1][0] > mean:
            other, members = blocks.pop()
            mean = (mean * count + other * members) / (count + members)
            count += members
        blocks.append((mean, count))
    means = [mean for mean, count in blocks for _ in range(count)]
    for row, mean, offset in zip(rows, means, offsets, strict=True):
        for item in row:
            ys[item] = mean + offset


def _columns(sizes: Sequence[Point], grid: _Grid) -> list[list[Point]]:
    """Return where the columns of each layer begin and end, left to right."""
    columns: list[list[Point]] = []
    x = 0.0
    for rows in grid.rows:
        beside = max(map(len, rows))
        widths = [0.0] * beside
        for row in rows:
            for column, item in enumerate(row):
                if item < len(sizes):
                    widths[column] = max(widths[column], sizes[item][0])
        columns.append([])
        for width in widths:
            columns[-1].append((x, x + width))
            x += width + _FOLD_GAP
        x += COLUMN_GAP - _FOLD_GAP
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
