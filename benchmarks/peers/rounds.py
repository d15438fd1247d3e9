"""Measure cells, each in a process of its own, interleaved in rounds.

Machines are noisy: within a round the peers take turns in each mode, ratios are taken within the
round, and what is reported is the median over rounds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.peers.everyone import BASELINE
from benchmarks.peers.peer import Peer
from benchmarks.peers.shapes import VARIABLE, Nodes, changed, evaluate, shape_of

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Settings:
    """How cells are measured."""

    repeat: int = 3
    op_ms: float = 0.0
    timeout: float = 300.0
    graphchain_python: str = ""
    """The interpreter of the peers that need one of their own."""


@dataclass
class Cell:
    """One peer on one graph in one mode."""

    peer: str
    shape: str
    nodes: int
    """As asked for."""
    mode: str
    size: int
    """How many nodes the graph has."""
    problem: str = ""
    """Why there is no number: it is wrong, absent, cannot, or took too long."""
    seconds: list[float] = field(default_factory=list)
    """Of each round."""
    ratios: list[float] = field(default_factory=list)
    """To the baseline, within each round."""
    details: list[dict[str, Any]] = field(default_factory=list)
    """Stretches of time and counts of each round."""

    @property
    def micros(self) -> float:
        """Microseconds for each node; the median."""
        return median(self.seconds) / self.size * 1e6

    @property
    def ratio(self) -> float | None:
        """The median ratio to the baseline."""
        return median(self.ratios) if self.ratios else None

    def part(self, name: str) -> float | None:
        """Return the median seconds of a stretch, or None if it was not measured."""
        found = [each[name] for each in self.details if name in each]
        return median(found) if found else None


Progress = Callable[[str], None]


def measure(
    peers: Sequence[Peer],
    shapes: Sequence[str],
    counts: Sequence[int],
    modes: Sequence[str],
    settings: Settings,
    progress: Progress,
) -> list[Cell]:
    """Measure each peer on each graph in each mode."""
    cells = []
    for count in counts:
        for shape in shapes:
            cells += _measure_graph(peers, shape, count, modes, settings, progress)
    return cells


def _measure_graph(
    peers: Sequence[Peer],
    shape: str,
    count: int,
    modes: Sequence[str],
    settings: Settings,
    progress: Progress,
) -> list[Cell]:
    nodes = shape_of(shape, count)
    table = {
        (peer.name, mode): Cell(
            peer.name, shape, count, mode, len(nodes), _why_not(peer, shape, count, mode)
        )
        for peer in peers
        for mode in modes
    }
    expected = {mode: expected_values(nodes, mode) for mode in modes}
    for number in range(settings.repeat):
        with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
            for mode in modes:
                for peer, cell in ((peer, table[peer.name, mode]) for peer in peers):
                    if cell.problem:
                        continue
                    progress(f"{count} {shape} {mode} {number + 1}: {peer.name}")
                    _measure_cell(peer, cell, Path(folder), expected[mode], settings)
                    if cell.problem:
                        _give_up(table, peer.name, cell.problem)
                _add_ratios(table, peers, mode, number)
    return list(table.values())


def _why_not(peer: Peer, shape: str, count: int, mode: str) -> str:
    if peer.keeps == "nothing" and mode != "cold" and peer.name != BASELINE:
        return "nothing is stored, so this is as when cold"
    return peer.cannot(shape, count)


def expected_values(nodes: Nodes, mode: str) -> list[int]:
    """Return what a peer has to answer in a mode."""
    values = evaluate(changed(nodes) if mode == "changed" else nodes)
    return values if mode == "all" else values[-1:]


def _measure_cell(
    peer: Peer, cell: Cell, folder: Path, expected: list[int], settings: Settings
) -> None:
    state = folder / "".join(c if c.isalnum() else "-" for c in peer.name)
    state.mkdir(exist_ok=True)
    job = {
        "peer": peer.name, "shape": cell.shape, "nodes": cell.nodes, "mode": cell.mode,
        "state": str(state),
    }  # fmt: skip
    answer = run_child("benchmarks.peers.child", job, settings, outside=peer.outside)
    take(cell, answer, expected)


def take(cell: Cell, answer: dict[str, Any], expected: list[int]) -> None:
    """Take up what a process answered, if it is right."""
    if "problem" in answer:
        cell.problem = answer["problem"]
    elif answer["values"] != expected:
        cell.problem = "WRONG"
    else:
        cell.seconds.append(answer["seconds"])
        cell.details.append({**answer["parts"], **answer["inside"], **answer["counts"]})


def _give_up(table: dict[tuple[str, str], Cell], name: str, problem: str) -> None:
    """Do not try a peer again that cannot be measured; a wrong answer is about one mode."""
    if problem == "WRONG":
        return
    for (other, _), cell in table.items():
        if other == name and not cell.seconds:
            cell.problem = problem


def _add_ratios(
    table: dict[tuple[str, str], Cell], peers: Sequence[Peer], mode: str, number: int
) -> None:
    base = table.get((BASELINE, mode))
    if base is None or len(base.seconds) <= number:
        return
    for peer in peers:
        cell = table[peer.name, mode]
        if len(cell.seconds) > number:
            cell.ratios.append(cell.seconds[number] / base.seconds[number])


def run_child(
    module: str, job: dict[str, Any], settings: Settings, *, outside: bool = False
) -> dict[str, Any]:
    """Run a module with a job in a process of its own, and return what it answers.

    Whatever goes wrong is answered as `problem`.
    """
    python = settings.graphchain_python if outside else sys.executable
    if not python:
        return {"problem": "absent: it needs an interpreter of its own (--graphchain-python)"}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: str(settings.op_ms)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or sources are compiled in every process
    try:
        done = subprocess.run(
            [python, "-m", module, json.dumps(job)],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
            timeout=settings.timeout,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"problem": f"more than {settings.timeout:.0f} s"}
    except OSError as error:
        return {"problem": f"absent: {python} cannot be run: {error.strerror}"}
    if done.returncode:
        return {"problem": f"failed: {next(_last_lines(done.stderr), 'no message')[:120]}"}
    answer: dict[str, Any] = json.loads(next(_last_lines(done.stdout)))
    return answer


def _last_lines(text: str) -> Iterator[str]:
    return (line for line in reversed(text.splitlines()) if line.strip())
