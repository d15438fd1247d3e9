"""Where the nodes of a run lie in a picture: in layers, each right of those it takes from.

Small graphs are shown node by node, large ones op by op.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from invariant_dask.ledger.folding import STATES
from invariant_dask.runtime.board_run import OpTally, WatchedRun

NODES = 2000
"""More nodes than these are shown by op."""

COLUMN = 36
"""The most nodes of one layer below each other."""


@dataclass(frozen=True, slots=True)
class Spot:
    """One thing in the picture: a node, or all nodes of an op."""

    name: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Picture:
    """Spots, and lines between them by their numbers."""

    by_op: bool
    spots: tuple[Spot, ...]
    lines: tuple[tuple[int, int], ...]


def picture(run: WatchedRun) -> Picture:
    """Return where the nodes of a run lie."""
    nodes = run.state.nodes
    by_op = not run.whole or len(nodes) > NODES
    inputs: Mapping[str, Sequence[str]]
    if by_op:
        takes: dict[str, list[str]] = {op: [] for op in run.ops}
        for source, target in run.links:
            if source != target and source in takes and target in takes:
                takes[target].append(source)
        inputs = takes
    else:
        inputs = {
            name: [each for each in node.inputs if each in nodes and each != name]
            for name, node in nodes.items()
        }
    numbers = {name: number for number, name in enumerate(inputs)}
    spots = _spots(inputs)
    lines = tuple(
        (numbers[source], numbers[target])
        for target, sources in inputs.items()
        for source in dict.fromkeys(sources)
    )
    return Picture(by_op, tuple(spots[name] for name in inputs), lines)


def state_of(op: OpTally) -> str:
    """Return the one state that an op is shown in: the first that any of its nodes is in."""
    for state in ("failed", "running", "planned", "ran", "reused", "shared"):
        if op.counts[state] > 0:
            return state
    return next((state for state in STATES if op.counts[state] > 0), "planned")


def _spots(inputs: Mapping[str, Sequence[str]]) -> dict[str, Spot]:
    layers: dict[int, list[str]] = {}
    for name, layer in _layers(inputs).items():
        layers.setdefault(layer, []).append(name)
    heights: dict[str, float] = {}
    spots: dict[str, Spot] = {}
    left = 0.0
    for layer in sorted(layers):
        names = layers[layer]
        # Each beside the middle of what it takes, so that lines cross little.
        names.sort(key=lambda name: _middle(heights, inputs[name]))
        columns = -(-len(names) // COLUMN)
        rows = -(-len(names) // columns)
        for place, name in enumerate(names):
            column, row = place % columns, place // columns
            height = row - (rows - 1) / 2 + 0.35 * column / columns
            heights[name] = height
            spots[name] = Spot(name, left + 0.45 * column, -height)
        left += 1.0 + 0.45 * (columns - 1)
    return spots


def _middle(heights: Mapping[str, float], sources: Sequence[str]) -> float:
    known = [heights[source] for source in sources if source in heights]
    return sum(known) / len(known) if known else 0.0


def _layers(inputs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return for each name one more than the most of its inputs; what is in a circle gets 0."""
    waiting = {name: len(sources) for name, sources in inputs.items()}
    users: dict[str, list[str]] = {name: [] for name in inputs}
    for name, sources in inputs.items():
        for source in sources:
            users[source].append(name)
    layers = dict.fromkeys(inputs, 0)
    ready = [name for name, count in waiting.items() if not count]
    while ready:
        name = ready.pop()
        for user in users[name]:
            layers[user] = max(layers[user], layers[name] + 1)
            waiting[user] -= 1
            if not waiting[user]:
                ready.append(user)
    return layers
