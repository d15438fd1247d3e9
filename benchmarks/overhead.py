"""Measure what each node costs: here, under bare Dask, and with other libraries that store results.

    python -m benchmarks.overhead [--nodes N[,N..]] [--shape chain,fan,diamond] [--peer NAME,..]
        [--modes cold,warm,all,changed] [--repeat R] [--op-ms MS] [--json FILE]
    python -m benchmarks.overhead --bars [NUMBER,..] [--full]

Each peer runs in each mode in a process of its own, on a folder that is kept from `cold` over
`warm` and `all` (warm, with every node asked for) to `changed` (one leaf has another number).
Imports and the start of clusters are not timed; what is, each module of `benchmarks.peers` says.
What keeps results in memory only is run once in the same process before `warm`, `all` and
`changed`. Describing the graph is not in the total of those that take a graph; for us, the second
table shows it. Every answer is checked against plain Python; a wrong one is printed as WRONG. Peers
run with the settings that they have by default, but for what their modules say.

A peer that is not installed is shown as absent; `pip install -e '.[peers]'` installs all but
graphchain, which needs Python 3.10 and an environment of its own:

    python3.10 -m venv DIR && DIR/bin/pip install graphchain==1.4.0 dask==2024.8.0
    python -m benchmarks.overhead --graphchain-python DIR/bin/python

`--bars` measures what has to be reached, and says which of it is. Ratios are within one round; for
the others the pace says how fast the machine was: microseconds per node of bare `dask.get`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.peers.bars import BARS
from benchmarks.peers.everyone import everyone
from benchmarks.peers.lab import Bar, Lab
from benchmarks.peers.peer import MODES, Peer
from benchmarks.peers.rounds import Cell, Settings, measure
from benchmarks.peers.shapes import SHAPES
from benchmarks.peers.tables import show, show_bars


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = parser().parse_args(arguments)
    settings = Settings(options.repeat, options.op_ms, options.timeout, options.graphchain_python)
    console = Console(width=None if sys.stdout.isatty() else 260)
    progress = Console(stderr=True)

    def tell(text: str) -> None:
        if progress.is_terminal:
            progress.print(text.ljust(60), end="\r", highlight=False, markup=False)

    if options.bars is not None:
        lab = Lab(settings, tell, options.full)
        report_bars(_bars(lab, options.bars, console), settings, options.json)
        return
    cells: list[Cell] = []
    for count in options.nodes:
        new = measure(options.peer, options.shape, [count], options.modes, settings, tell)
        show(new, console)
        cells += new
        if options.json:
            options.json.write_text(json.dumps(report(cells, settings), indent=1))


def _bars(lab: Lab, numbers: Sequence[int], console: Console) -> list[Bar]:
    """Measure the bars and print each as soon as it is known, then all of them together."""
    found = []
    for number in numbers:
        measure_bar = BARS[number]
        pace = lab.pace()
        what = (measure_bar.__doc__ or "").splitlines()[0]
        for bar in lab.bars(number, what, measure_bar):
            console.print(
                f"{bar.number}  {bar.what}: {bar.measured}", markup=False, highlight=False
            )
            found.append(replace(bar, pace=pace))
    show_bars(found, console)
    return found


def report_bars(bars: Sequence[Bar], settings: Settings, file: Path | None) -> None:
    """Write the bars as JSON, if that was asked for."""
    if file is not None:
        told = {"machine": machine(), "settings": asdict(settings), "bars": list(map(asdict, bars))}
        file.write_text(json.dumps(told, indent=1))


def report(cells: Sequence[Cell], settings: Settings) -> dict[str, Any]:
    """Return everything that was measured, and on what."""
    return {
        "machine": machine(),
        "settings": asdict(settings),
        "cells": [asdict(cell) for cell in cells],
    }


def machine() -> dict[str, Any]:
    """Return what results depend on beyond the code."""
    versions = {}
    for peer in everyone().values():
        try:
            versions[peer.needs] = importlib.metadata.version(peer.needs)
        except importlib.metadata.PackageNotFoundError:
            versions[peer.needs] = ""
    return {
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "versions": versions,
    }


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    result = argparse.ArgumentParser(prog="python -m benchmarks.overhead")
    result.add_argument("--nodes", type=_numbers, default=[1_000, 10_000])
    result.add_argument("--shape", type=_names(SHAPES), default=list(SHAPES))
    result.add_argument(
        "--peer", type=_peers, default=list(everyone().values()),
        help="names, or beginnings of names, such as ours,dask.get",
    )  # fmt: skip
    result.add_argument("--modes", type=_names(MODES), default=list(MODES))
    result.add_argument("--repeat", type=int, default=3)
    result.add_argument("--op-ms", type=float, default=0.0, help="CPU time of each op")
    result.add_argument("--timeout", type=float, default=300.0, help="seconds for one cell")
    result.add_argument("--graphchain-python", default="", metavar="PATH")
    result.add_argument(
        "--bars", type=_numbers, nargs="?", const=list(BARS), metavar="NUMBER,..",
        help="measure what has to be reached instead: all of it, or these",
    )  # fmt: skip
    result.add_argument("--full", action="store_true", help="bars: also what takes long")
    result.add_argument("--json", type=Path, metavar="FILE")
    return result


def _numbers(text: str) -> list[int]:
    return [int(number.replace("k", "000")) for number in text.split(",")]


def _names(known: Sequence[str]) -> Any:
    def names(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := set(chosen) - set(known):
            msg = f"no {unknown.pop()!r}; there are {', '.join(known)}"
            raise argparse.ArgumentTypeError(msg)
        return [name for name in known if name in chosen]

    return names


def _peers(text: str) -> list[Peer]:
    known = everyone()
    chosen: dict[str, Peer] = {}
    for name in text.split(","):
        found = {n: peer for n, peer in known.items() if n.startswith(name.strip())}
        if not found:
            msg = f"no {name!r}; there are {', '.join(known)}"
            raise argparse.ArgumentTypeError(msg)
        chosen.update({name: found[name]} if name in found else found)
    return list(chosen.values())


if __name__ == "__main__":
    main()
