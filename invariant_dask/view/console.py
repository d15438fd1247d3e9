"""What terminals show while a run goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import IO, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from invariant_dask.ledger.events import Event
from invariant_dask.store.sizes import size_text
from invariant_dask.view.amounts import seconds_text
from invariant_dask.view.pace import Expected, Pace


class Bar:
    """Draws how far a run is, as long as it has something to do, and leaves no trace.

    It is a sink of events. A run that finds everything stored shows nothing.

    Parameters
    ----------
    expected
        What is known of ops from earlier runs; without it nothing is said of the time left.
    stream
        Where to draw; by default standard error.
    """

    def __init__(self, expected: Expected | None = None, stream: IO[str] | None = None) -> None:
        self.pace = Pace(expected)
        self._stream = stream
        self._shown: Progress | None = None

    def write(self, events: Sequence[Event]) -> None:
        """Take events."""
        for event in events:
            self.pace.take(event)
        if self._shown is None and self.pace.has_begun:
            self._shown = self._start()
        if self._shown is not None:
            pace = self.pace
            self._shown.update(self._shown.task_ids[0], completed=pace.done, total=pace.total)

    def _start(self) -> Progress:
        console = Console(file=self._stream or sys.stderr)
        columns: Sequence[Any] = (
            TextColumn("running"), BarColumn(), MofNCompleteColumn(), _Told(self.pace),
            TimeElapsedColumn(), _Left(self.pace),
        )  # fmt: skip
        # What ops print to a pipe or a file must get there.
        shown = Progress(
            *columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()
        )
        shown.start()
        shown.add_task("", total=self.pace.total)
        return shown

    def close(self) -> None:
        """Take it off the screen."""
        if self._shown is not None:
            self._shown.stop()
            self._shown = None


class _Told(ProgressColumn):
    """Bytes that were made, and failures."""

    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self._pace = pace

    def render(self, task: Task) -> Text:  # noqa: ARG002
        told = Text(size_text(self._pace.size), style="progress.filesize")
        if self._pace.failed:
            told.append(f" {self._pace.failed} failed", style="red")
        return told


class _Left(ProgressColumn):
    """How long the rest may take."""

    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self._pace = pace

    def render(self, task: Task) -> Text:  # noqa: ARG002
        left = self._pace.time_left(time.time_ns())
        if left is None:
            return Text("")
        return Text(f"{seconds_text(round(left))} left", style="progress.remaining")
