"""Show cells as tables, with a footnote for each reason why a number is missing."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.peers.lab import Bar
from benchmarks.peers.rounds import Cell

TITLES = {
    "cold": "cold",
    "warm": "warm, one output",
    "all": "warm, every node",
    "changed": "one leaf changed",
}
STRETCHES = ("describe", "open", "compile", "plan", "build", "run", "asks", "puts", "claims")
COUNTS = ("digests asked", "artifacts put")


class Notes:
    """Numbers reasons in the order in which they come up."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def mark(self, reason: str) -> str:
        """Return the mark of a reason."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return f"*{self.reasons.index(reason) + 1}"


def show(cells: Sequence[Cell], console: Console) -> None:
    """Print a table for each number of nodes, and one of where our time goes."""
    for count in dict.fromkeys(cell.nodes for cell in cells):
        chosen = [cell for cell in cells if cell.nodes == count]
        _show_peers(chosen, count, console)
        _show_parts(chosen, count, console)


def _show_peers(cells: Sequence[Cell], count: int, console: Console) -> None:
    title = f"{count:,} nodes: microseconds per node (ratio to bare dask.get)"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    columns = list(dict.fromkeys((cell.mode, cell.shape) for cell in cells))
    columns.sort(key=lambda column: list(TITLES).index(column[0]))
    for mode, shape in columns:
        table.add_column(f"{TITLES[mode]}\n{shape}", justify="right")
    notes = Notes()
    found = {(cell.peer, cell.mode, cell.shape): cell for cell in cells}
    for peer in dict.fromkeys(cell.peer for cell in cells):
        table.add_row(peer, *[_text(found[peer, *column], notes) for column in columns])
    console.print(table)
    for number, reason in enumerate(notes.reasons, 1):
        console.print(f"*{number}: {reason}", markup=False, highlight=False)
    console.print()


def _text(cell: Cell, notes: Notes) -> str:
    if cell.problem == "WRONG":
        return "[bold red]WRONG[/]"
    if cell.problem:
        return notes.mark(cell.problem)
    if not cell.seconds:
        return ""
    ratio = f" ({digits(cell.ratio)})" if cell.ratio is not None else ""
    return digits(cell.micros) + ratio


def digits(number: float) -> str:
    """Return a number with about three digits."""
    if number == int(number) or number >= 100:
        return f"{number:,.0f}"
    if number >= 10:
        return f"{number:.1f}"
    return f"{number:.2f}" if number >= 1 else f"{number:.3f}"


def _show_parts(cells: Sequence[Cell], count: int, console: Console) -> None:
    """Print where the time of our own rows goes; puts are within run, run is what is left."""
    rows = [cell for cell in cells if cell.part("compute") is not None]
    if not rows:
        return
    title = (
        f"{count:,} nodes: our own time, microseconds per node; total is open to run. Asking the "
        "store is part of plan and run; putting and claiming, of run"
    )
    table = Table("", "mode", "shape", title=title, title_justify="left")
    for name in (*STRETCHES, "total", *COUNTS):
        table.add_column(name, justify="right")
    for cell in rows:
        stretches = [_stretch(cell, name) for name in STRETCHES]
        counts = ["?" if cell.part(n) is None else f"{cell.part(n):,.0f}" for n in COUNTS]
        table.add_row(cell.peer, cell.mode, cell.shape, *stretches, digits(cell.micros), *counts)
    console.print(table)
    console.print()


def _stretch(cell: Cell, name: str) -> str:
    seconds = run_seconds(cell) if name == "run" else cell.part(name)
    return "?" if seconds is None else digits(seconds / cell.size * 1e6)


def run_seconds(cell: Cell) -> float | None:
    """Return what `.compute()` took beyond planning and making the Dask graph."""
    compute = cell.part("compute")
    return None if compute is None else compute - sum(cell.part(n) or 0 for n in ("plan", "build"))


def show_bars(bars: Sequence[Bar], console: Console) -> None:
    """Print what has to be reached, what was measured, and whether it is met."""
    table = Table("", "what", "bar", "measured", "met", "pace")
    words = {True: "[green]yes[/]", False: "[bold red]no[/]", None: ""}
    for bar in bars:
        known = words[bar.met] if bar.bar or bar.met is not None else ""
        table.add_row(str(bar.number), bar.what, bar.bar, bar.measured, known, digits(bar.pace))
    console.print(table)
