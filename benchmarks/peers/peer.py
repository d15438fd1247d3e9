"""What a peer is, and what measuring it gives."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peers.shapes import Nodes

MODES = ("cold", "warm", "all", "changed")
"""Nothing stored; all stored and one output asked for; all stored and every node asked for; all
stored but for one leaf whose number is another."""


@dataclass
class Measured:
    """What one run in one process gave."""

    values: list[int]
    """Of every node if every node was asked for, else of the output alone."""
    parts: dict[str, float]
    """Seconds of each stretch of time, in order."""
    outside: tuple[str, ...] = ()
    """The stretches that do not count: the writing down of the graph, and closing files."""
    inside: dict[str, float] = field(default_factory=dict)
    """Seconds within the stretches that were measured in more detail."""
    counts: dict[str, int] = field(default_factory=dict)
    """Look-ups and puts, of the peers that count them."""

    @property
    def seconds(self) -> float:
        """What counts."""
        return sum(time for name, time in self.parts.items() if name not in self.outside)


HUGE = 50_000
"""Above this many nodes only some peers are measured."""

Runner = Callable[[Nodes, Path, bool], Measured]
"""Evaluates a graph, with a folder that is kept between modes, and asks for one or every node."""


@dataclass(frozen=True)
class Peer:
    """Something to measure."""

    name: str
    run: Runner
    needs: str
    """The distribution it is in."""
    module: str
    """The module to look for."""
    keeps: str = "disk"
    """Where results outlast a run: on `disk`, in the `memory` of the process, or as `nothing`."""
    limits: dict[str, tuple[int, str]] = field(default_factory=dict)
    """The most nodes of a shape, `*` being any, and the reason."""
    huge: bool = False
    """Whether it is measured on huge graphs."""
    outside: bool = False
    """Whether it runs in an interpreter of its own."""

    def absent(self) -> str:
        """Return why it cannot be measured in this process, or nothing."""
        if importlib.util.find_spec(self.module) is None:
            return f"{self.needs} is not installed"
        return ""

    def cannot(self, shape: str, count: int) -> str:
        """Return why it is not measured on a graph, or nothing."""
        for name in (shape, "*"):
            most, reason = self.limits.get(name, (count, ""))
            if count > most:
                return f"above {most:,} nodes: {reason}"
        if count > HUGE and not self.huge:
            return f"above {HUGE:,} nodes only this project and bare Dask are measured"
        return ""


class Clock:
    """Cuts time into named stretches."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """End a stretch."""
        now = time.perf_counter()
        self.parts[name] = self.parts.get(name, 0.0) + now - self._last
        self._last = time.perf_counter()
