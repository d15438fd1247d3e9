"""What measuring the bars takes: single cells on folders that are kept, copied and thrown away."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.peers.everyone import BASELINE, everyone
from benchmarks.peers.rounds import Cell, Progress, Settings, expected_values, run_child, take
from benchmarks.peers.shapes import shape_of


class NoNumberError(Exception):
    """Something could not be measured, or gave a wrong answer; the text says what."""


@dataclass(frozen=True)
class Bar:
    """A ratio or size that has to be reached."""

    number: int
    what: str
    bar: str
    measured: str
    met: bool | None
    """None if it could not be measured."""
    pace: float = 0.0
    """Microseconds per node of bare Dask just before: how fast the machine was."""


@dataclass(frozen=True)
class Lab:
    """Measures single cells."""

    settings: Settings
    progress: Progress
    full: bool = False

    @property
    def rounds(self) -> range:
        """How often each thing is measured."""
        return range(self.settings.repeat)

    def slowed(self, op_ms: float) -> Lab:
        """Return a lab in which ops take some time."""
        return replace(self, settings=replace(self.settings, op_ms=op_ms))

    def cell(self, peer: str, shape: str, count: int, mode: str, state: Path) -> Cell:
        """Measure a peer once.

        Raises
        ------
        NoNumberError
            If there is no number.
        """
        size = len(shape_of(shape, count))
        cell = Cell(peer, shape, count, mode, size)
        self.progress(f"{count} {shape} {mode}: {peer}")
        job = {"peer": peer, "shape": shape, "nodes": count, "mode": mode, "state": str(state)}
        outside = everyone()[peer].outside
        answer = run_child("benchmarks.peers.child", job, self.settings, outside=outside)
        take(cell, answer, expected_values(shape_of(shape, count), mode))
        if cell.problem:
            raise NoNumberError(f"{peer}, {shape}, {mode}: {cell.problem}")
        return cell

    def fresh(self, peer: str, shape: str, count: int) -> Cell:
        """Measure a peer with nothing stored; ours must have stored everything then.

        Raises
        ------
        NoNumberError
            If there is no number, or a node is not stored when another process asks for it.
        """
        with folder() as state:
            cell = self.cell(peer, shape, count, "cold", state)
            if peer.startswith("ours/"):
                again = self.cell(peer, shape, count, "all", state)
                if again.details[0]["artifacts put"]:
                    raise NoNumberError(f"{peer}, {shape}: not every node was stored")
            return cell

    def probe(self, probe: str, **job: Any) -> dict[str, Any]:
        """Measure something that no peer has.

        Raises
        ------
        NoNumberError
            If there is no number.
        """
        self.progress(f"{probe} {job}")
        answer = run_child("benchmarks.peers.probe", {"probe": probe, **job}, self.settings)
        if "problem" in answer:
            raise NoNumberError(f"{probe}: {answer['problem']}")
        return answer

    def pace(self) -> float:
        """Return microseconds per node of `dask.get` on a fan of 10,000."""
        return self.fresh(BASELINE, "fan", 10_000).micros

    def bars(self, number: int, what: str, of: Callable[[Lab], Iterator[Bar]]) -> Iterator[Bar]:
        """Measure some bars; what goes wrong is one that is not met."""
        try:
            yield from of(self)
        except NoNumberError as error:
            yield Bar(number, what, "", str(error), met=None)


@contextmanager
def folder() -> Iterator[Path]:
    """Yield a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="overhead-") as path:
        yield Path(path)


@contextmanager
def copied(state: Path) -> Iterator[Path]:
    """Yield a copy of a folder that goes away."""
    with folder() as path:
        yield Path(shutil.copytree(state, path / "copy"))
