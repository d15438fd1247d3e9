"""Graphs to measure on: what they look like, their functions, and what they evaluate to.

A graph is a list of nodes, each a number and the positions of its inputs; nodes come after their
inputs, and the last one is the output. Every node has a value of its own, so that a library that
names results by the values of arguments finds nothing by chance.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

Nodes = list[tuple[int, tuple[int, ...]]]

SHAPES = ("chain", "fan", "diamond")
VARIABLE = "BENCHMARK_OP_MS"
"""The environment variable that says how long an op takes."""

ARITY = 8
_PRIME = 2**61 - 1
_CHANGE = 10**9
_OP_SECONDS = float(os.environ.get(VARIABLE) or 0) / 1000


def shape_of(name: str, count: int) -> Nodes:
    """Return a graph of about `count` nodes.

    Parameters
    ----------
    name
        `chain`: each node has the one before as its input. `fan`: a tree in which eight nodes at
        a time are reduced to one. `diamond`: layers in which each node has two inputs in the layer
        before, and a reduction of the last layer.
    count
        How many nodes, roughly; a fan or diamond gets the nearest number that fits.
    """
    if name == "chain":
        return [(i, (i - 1,) if i else ()) for i in range(count)]
    if name == "fan":
        leaves = max(1, round(count * (ARITY - 1) / ARITY))
        return _reduced([(i, ()) for i in range(leaves)], leaves)
    if name == "diamond":
        depth = min(100, max(2, count // 100))
        width = max(2, count // depth)
        nodes: Nodes = [(i, ()) for i in range(width)]
        for layer in range(1, depth):
            start = (layer - 1) * width
            for i in range(width):
                nodes.append((len(nodes), (start + i, start + (i + 1) % width)))
        return _reduced(nodes, width)
    raise ValueError(f"no shape {name!r}; there are {', '.join(SHAPES)}")


def _reduced(nodes: Nodes, width: int) -> Nodes:
    """Add nodes that reduce the last `width` nodes to one."""
    level = range(len(nodes) - width, len(nodes))
    while len(level) > 1:
        start = len(nodes)
        for i in range(0, len(level), ARITY):
            nodes.append((len(nodes), tuple(level[i : i + ARITY])))
        level = range(start, len(nodes))
    return nodes


def changed(nodes: Nodes) -> Nodes:
    """Return the graph with another number in its first leaf."""
    return [(nodes[0][0] + _CHANGE, nodes[0][1]), *nodes[1:]]


def evaluate(nodes: Nodes) -> list[int]:
    """Return the value of each node, by plain Python and without waiting."""
    values: list[int] = []
    for number, inputs in nodes:
        values.append(_value(number, [values[i] for i in inputs]))
    return values


def _value(number: int, inputs: list[int] | tuple[int, ...]) -> int:
    total = number * 1_000_003 + 1
    for each in inputs:
        total = (total * 31 + each) % _PRIME
    return total


def mix(number: int, *inputs: int) -> int:
    """Return the value of a node, after as much CPU time as was asked for."""
    if _OP_SECONDS:
        # CPU time of this thread: a clock on the wall would hide what other threads take away.
        end = time.thread_time() + _OP_SECONDS
        while time.thread_time() < end:
            pass
    return _value(number, inputs)


# One function for each number of inputs: some libraries want fixed signatures with types.


def combine_0(number: int) -> int:
    return mix(number)


def combine_1(number: int, a: int) -> int:
    return mix(number, a)


def combine_2(number: int, a: int, b: int) -> int:
    return mix(number, a, b)


def combine_3(number: int, a: int, b: int, c: int) -> int:
    return mix(number, a, b, c)


def combine_4(number: int, a: int, b: int, c: int, d: int) -> int:
    return mix(number, a, b, c, d)


def combine_5(number: int, a: int, b: int, c: int, d: int, e: int) -> int:
    return mix(number, a, b, c, d, e)


def combine_6(number: int, a: int, b: int, c: int, d: int, e: int, f: int) -> int:
    return mix(number, a, b, c, d, e, f)


def combine_7(number: int, a: int, b: int, c: int, d: int, e: int, f: int, g: int) -> int:
    return mix(number, a, b, c, d, e, f, g)


def combine_8(number: int, a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int) -> int:
    return mix(number, a, b, c, d, e, f, g, h)


FUNCTIONS: tuple[Callable[..., int], ...] = (
    combine_0, combine_1, combine_2, combine_3, combine_4, combine_5, combine_6, combine_7,
    combine_8,
)  # fmt: skip
"""The function of a node, by its number of inputs."""

NAMES = "abcdefgh"
"""The names of the parameters that take inputs."""
