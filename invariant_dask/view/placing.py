"""Place boxes that lines connect, and say where the lines bend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from invariant_dask.view.layers import Line, Point, circles, layered, ranks, sort
from invariant_dask.view.rows import AROUND, columns_of, fold, heights


@dataclass(slots=True)
class Placed:
    """Where boxes are, by their middle, and where lines bend."""

    centres: list[Point]
    bends: list[list[Point]]
    """For each line the points between its ends, from source to target, where it passes layers."""
    width: float
    height: float


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
    backward = circles(len(sizes), pairs)
    forward = [line if line not in backward else (line[1], line[0]) for line in lines]
    rank = ranks(len(sizes), [(a, b) for a, b in forward if a is not None and b is not None])
    made = layered(sizes, forward, rank)
    sort(made)
    grid = fold(made, sizes)
    ys = heights(made, grid)
    columns = columns_of(sizes, grid)
    centres = [
        (sum(columns[rank[box]][grid.column[box]]) / 2, ys[box]) for box in range(len(sizes))
    ]
    bends = []
    for line, turned, wires in zip(lines, forward, made.wires, strict=True):
        source, target = turned
        points = []
        if source is not None:
            points += _way_out(
                columns[rank[source]], grid.column[source], ys[source], sizes[source]
            )
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
    below = y + size[1] / 2 + AROUND
    return [(columns[column + 1][0], below), (columns[-1][1], below)]


def _way_in(columns: Sequence[Point], column: int, y: float, size: Point) -> list[Point]:
    """Return the points above the boxes of a row that are before one."""
    if column == 0:
        return []
    above = y - size[1] / 2 - AROUND
    return [(columns[0][0], above), (columns[column - 1][1], above)]


def _at_origin(sizes: Sequence[Point], centres: list[Point], bends: list[list[Point]]) -> Placed:
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
