"""Where everything of a picture is: clusters from within, unconnected parts side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

from invariant_dask.view.layers import Line, Point
from invariant_dask.view.picture import Kind, Picture, PictureNode
from invariant_dask.view.placing import place
from invariant_dask.view.text import fitted, width_of

LABEL_SIZE = 12.0
OP_SIZE = 10.0
_WIDEST = 190.0
_WIDEST_GROUP = 300.0
_NARROWEST = 56.0
_PAD = 9.0
_CLUSTER_PAD = 12.0
_CLUSTER_HEAD = 20.0
_PART_GAP = 26.0
_SHAPE = 1.7
"""How much wider than high a picture of several parts may be."""


@dataclass(slots=True)
class Box:
    """A rectangle, by its left upper corner, with the text on it."""

    x: float
    y: float
    width: float
    height: float
    label: str = ""
    below: str = ""

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


@dataclass(slots=True)
class Layout:
    """Boxes of nodes and clusters, and the points that edges go through."""

    nodes: list[Box]
    clusters: list[Box]
    edges: list[list[Point]]
    """From the source's side to the target's, with bends between."""
    width: float
    height: float


def lay_out(picture: Picture) -> Layout:
    """Return where everything of a picture is."""
    return _Arranger(picture).arrange()


def _box(node: PictureNode) -> Box:
    room = (_WIDEST_GROUP if node.kind is Kind.GROUP else _WIDEST) - 2 * _PAD
    label = fitted(_label(node), room, LABEL_SIZE)
    below = fitted("subgraph" if node.kind is Kind.SUBGRAPH else node.op, room, OP_SIZE)
    text = max(width_of(label, LABEL_SIZE), width_of(below, OP_SIZE))
    slant = 22.0 if node.kind is Kind.SWITCH else 0.0
    width = max(_NARROWEST, text + 2 * _PAD + slant)
    height = 48.0 if len(node.counts) > 1 else 36.0 if below else 26.0  # with room for a bar
    return Box(0, 0, round(width, 1), height, label, below)


def _label(node: PictureNode) -> str:
    return f"{node.label} \u00d7{node.size:,}" if node.kind is Kind.GROUP else node.label


class _Arranger:
    """Items are nodes by number, and clusters behind them."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.count = len(picture.nodes)
        self.boxes = [_box(node) for node in picture.nodes]
        self.boxes += [Box(0, 0, 0, 0, cluster.label) for cluster in picture.clusters]
        self.parent = [self.item(node.cluster) for node in picture.nodes]
        self.parent += [self.item(cluster.parent) for cluster in picture.clusters]
        self.inside: dict[int | None, list[int]] = {}
        for item, parent in enumerate(self.parent):
            self.inside.setdefault(parent, []).append(item)
        self.lines: dict[int | None, dict[Line, None]] = {}
        """What is to be connected in each cluster, and in the whole."""
        self.bends: dict[tuple[int | None, Line], list[Point]] = {}
        """Relative to the corner of their cluster."""

    def item(self, cluster: int | None) -> int | None:
        return None if cluster is None else self.count + cluster

    def arrange(self) -> Layout:
        ways = [self.way(edge.source, edge.target) for edge in self.picture.edges]
        for around, line in (part for way in ways for part in way):
            self.lines.setdefault(around, {})[line] = None
        for item in reversed(range(self.count, len(self.boxes))):  # what is inside comes first
            box = self.boxes[item]
            width, height = self.fill(item)
            label = fitted(box.label, max(width, _NARROWEST), LABEL_SIZE)
            box.width = max(width, width_of(label, LABEL_SIZE)) + 2 * _CLUSTER_PAD
            box.height = height + _CLUSTER_PAD + _CLUSTER_HEAD
            box.label = label
        width, height = self.fill(None)
        for item in range(self.count, len(self.boxes)):
            self.shift(item)
        for item in range(self.count):
            self.shift(item)
        edges = [
            self.route(edge.source, edge.target, way)
            for edge, way in zip(self.picture.edges, ways, strict=True)
        ]
        return Layout(self.boxes[: self.count], self.boxes[self.count :], edges, width, height)

    def way(self, source: int, target: int) -> list[tuple[int | None, Line]]:
        """Return the lines that an edge is made of: out of clusters, over, and into others."""
        out, into = list(self.upwards(source)), list(self.upwards(target))
        while len(out) > 1 and len(into) > 1 and out[-2][1] == into[-2][1]:
            out.pop()
            into.pop()
        (first, around), (last, _) = out.pop(), into.pop()
        return [
            *((cluster, (item, None)) for item, cluster in out),
            (around, (first, last)),
            *((cluster, (None, item)) for item, cluster in reversed(into)),
        ]

    def upwards(self, item: int) -> Iterator[tuple[int, int | None]]:
        while True:
            parent = self.parent[item]
            yield item, parent
            if parent is None:
                return
            item = parent

    def fill(self, around: int | None) -> Point:
        """Place what is in a cluster; return the width and height of it."""
        items = self.inside.get(around, [])
        parts = []
        for members, lines in _parts(items, list(self.lines.get(around, {}))):
            number = {item: place_ for place_, item in enumerate(members)}
            sizes = [(self.boxes[item].width, self.boxes[item].height) for item in members]
            numbered = [
                (None if a is None else number[a], None if b is None else number[b])
                for a, b in lines
            ]
            parts.append((members, lines, place(sizes, numbered)))
        corners, width, height = _pack([(placed.width, placed.height) for *_, placed in parts])
        for (members, lines, placed), (left, top) in zip(parts, corners, strict=True):
            for item, (x, y) in zip(members, placed.centres, strict=True):
                box = self.boxes[item]
                box.x, box.y = left + x - box.width / 2, top + y - box.height / 2
            for line, points in zip(lines, placed.bends, strict=True):
                self.bends[around, line] = [(left + x, top + y) for x, y in points]
        return width, height

    def shift(self, item: int) -> None:
        """Move from the corner of the cluster around, which has its place, to that of the whole."""
        x, y = self.corner(self.parent[item])
        self.boxes[item].x += x
        self.boxes[item].y += y

    def corner(self, around: int | None) -> Point:
        if around is None:
            return 0.0, 0.0
        return self.boxes[around].x + _CLUSTER_PAD, self.boxes[around].y + _CLUSTER_HEAD

    def route(
        self, source: int, target: int, way: Sequence[tuple[int | None, Line]]
    ) -> list[Point]:
        bends = []
        for around, line in way:
            left, top = self.corner(around)
            bends += [(left + x, top + y) for x, y in self.bends[around, line]]
        start, end = self.boxes[source], self.boxes[target]
        if end.x < start.x:  # back, in a circle of groups
            return [(start.x, start.middle), *bends, (end.x + end.width, end.middle)]
        return [(start.x + start.width, start.middle), *bends, (end.x, end.middle)]


def _parts(items: Sequence[int], lines: Sequence[Line]) -> Iterator[tuple[list[int], list[Line]]]:
    """Yield what hangs together, each with its lines, in the order of their first items."""
    root = {item: item for item in items}

    def find(item: int) -> int:
        while root[item] != item:
            root[item] = root[root[item]]
            item = root[item]
        return item

    for a, b in lines:
        if a is not None and b is not None:
            low, high = sorted((find(a), find(b)))
            root[high] = low
    members: dict[int, list[int]] = {}
    own: dict[int, list[Line]] = {}
    for item in items:
        members.setdefault(find(item), []).append(item)
    for line in lines:
        end = line[1] if line[0] is None else line[0]
        assert end is not None
        own.setdefault(find(end), []).append(line)
    for first, each in members.items():
        yield each, own.get(first, [])


def _pack(sizes: Sequence[Point]) -> tuple[list[Point], float, float]:
    """Put rectangles below each other in columns, for a whole of a pleasant shape."""
    area = sum((w + _PART_GAP) * (h + _PART_GAP) for w, h in sizes)
    limit = max([sqrt(area / _SHAPE), *(h for _, h in sizes)], default=0.0)
    corners: list[Point] = []
    left = top = widest = lowest = 0.0
    for width, height in sizes:
        if top and top + height > limit:
            left, top, widest = left + widest + _PART_GAP, 0.0, 0.0
        corners.append((left, top))
        widest, lowest = max(widest, width), max(lowest, top + height)
        top += height + _PART_GAP
    return corners, left + widest, lowest
