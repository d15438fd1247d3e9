"""Put sorted layers of boxes in rows and columns: near their neighbours, and not too high."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from invariant_dask.view.layers import SWEEPS, WIRE, Layered, Point, middle

COLUMN_GAP = 46.0
ROW_GAP = 12.0
_FOLD_GAP = 22.0
AROUND = 3.5
"""How far from a box a line passes it that leads to one behind, in the same layer."""

_ROWS = 16
"""A layer of so many boxes is never folded."""

_SHAPE = 1.6
"""How much wider than high the whole should be."""


@dataclass(slots=True)
class Grid:
    """Layers as rows of boxes side by side, where a layer would be too high otherwise."""

    rows: list[list[tuple[int, ...]]]
    """For each layer its rows from top to bottom; a wire has a row of its own."""
    column: list[int]
    """Of each box, within its layer."""


def fold(made: Layered, sizes: Sequence[Point]) -> Grid:
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
    grid = Grid([], [0] * len(sizes))
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


def heights(made: Layered, grid: Grid) -> list[float]:
    """Return how far down each item is: near its neighbours, and clear of its layer."""
    ys = [0.0] * len(made.heights)
    for rows in grid.rows:
        _settle(rows, made.heights, ys, lambda _item: 0.0)
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        near = made.before if forward else made.behind
        far = made.behind if forward else made.before

        def wish(item: int, near: list[list[int]] = near, far: list[list[int]] = far) -> float:
            # Who has no neighbours on this side would drift away from those on the other.
            return middle([ys[n] for n in near[item] or far[item]], ys[item])

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
        gap = WIRE if height <= WIRE else ROW_GAP + 2 * AROUND * (len(row) > 1)
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


def columns_of(sizes: Sequence[Point], grid: Grid) -> list[list[Point]]:
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
