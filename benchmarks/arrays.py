"""Store and load large arrays, beside the physical limits and other tools in the same run.

    python -m benchmarks.arrays [--mb 8,80,800] [--repeat R] [--json FILE]

Two floors are measured: SHA-256 on one core and on all cores, each overlapped with a plain write
(to store) or over a memory map (to load). Times are medians of rounds in which all cases take
turns; each gets memory that was touched before. Nothing is synced to the device, by anybody. Where
others use the machine, `x cpu` is to be trusted: processor time, and that of the floor with all
cores (the two floors take the same).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import array_floors as floors
from benchmarks import array_ours as ours
from benchmarks import array_peers as peers
from benchmarks.array_floors import Cost

MB = 10**6
STORE = ("one", "store_one"), ("tree", "store_tree")
LOAD = ("one", "load_one"), ("tree", "load_tree")
ALONE = "op_alone"


class Row(NamedTuple):
    """One case: its section, name, what does it, what to compare with."""

    section: str
    name: str
    case: floors.Case
    against: tuple[tuple[str, str], ...] = ()
    with_op: bool = False
    """Whether the op's own time is part of it, and so is added to the floors."""

    @property
    def key(self) -> str:
        return self.case.__name__


ROWS = [
    Row("limits", "copy in memory", floors.copy),
    Row("limits", "plain write", floors.write),
    Row("limits", "SHA-256, one core", floors.sha_one),
    Row("limits", "SHA-256 tree, all cores", floors.sha_tree),
    Row("limits", "store floor: write || SHA-256 on one core", floors.store_one, STORE),
    Row("limits", "store floor: write || tree on all cores", floors.store_tree, STORE),
    Row("limits", "load floor: map, SHA-256 on one core", floors.load_one, LOAD),
    Row("limits", "load floor: map, tree on all cores", floors.load_tree, LOAD),
    Row("limits", "an op that makes the array, alone", ours.op_alone),
    Row("store", "numpy.save", peers.numpy_save, STORE),
    Row("store", "joblib.dump", peers.joblib_dump, STORE),
    Row("store", "joblib.Memory, first call", peers.joblib_memory_store, STORE),
    Row("store", "diskcache set", peers.diskcache_set, STORE),
    Row("store", "ours: put", ours.put, STORE),
    Row("store", "ours: put again", ours.put_again, STORE),
    Row("store", "ours: compile, compute (with the op)", ours.compute, STORE, with_op=True),
    Row("load", "numpy.load, not verified", peers.numpy_load, LOAD),
    Row("load", "numpy.load mapped, not read", peers.numpy_map, LOAD),
    Row("load", "joblib.load, not verified", peers.joblib_load, LOAD),
    Row("load", "joblib.Memory, second call, not verified", peers.joblib_memory_load, LOAD),
    Row("load", "diskcache get, not verified", peers.diskcache_get, LOAD),
    Row("load", "ours: get, verified", ours.get, LOAD),
    Row("load", "ours: compile, compute warm, verified", ours.compute_warm, LOAD),
    Row("load", "ours: the same in a fresh process", ours.compute_fresh, LOAD),
]


def measure(mb: int, repeat: int, folder: Path) -> dict[str, Cost]:
    """Return the median cost of each case that can run here."""
    array = np.random.default_rng(mb).random(mb * MB // 8)
    work = floors.Work(array, folder)
    floors.plain_write(work.stored, work.view)
    missing = peers.absent()
    rows = [row for row in ROWS if not row.key.startswith(tuple(missing))]
    taken: dict[str, list[Cost]] = {row.key: [] for row in rows}
    for turn in range(repeat + 1):  # the first warms up and is not counted
        random.shuffle(rows)
        for row in rows:
            cost = once(row, work, check=turn == 0)
            if turn:
                taken[row.key].append(cost)
    work.stored.unlink()
    median = statistics.median
    return {
        name: Cost(median(cost.wall for cost in costs), median(cost.cpu for cost in costs))
        for name, costs in taken.items()
    }


def rounds(mb: int) -> int:
    """Return how often cases are measured by default."""
    return max(3, min(15, 720 // mb))


def once(row: Row, work: floors.Work, *, check: bool) -> Cost:
    """Measure one case once."""
    with row.case(work) as run:
        gc.collect()
        touch_memory(work)
        start, cpu = time.perf_counter(), time.process_time()
        result = run()
        cost = Cost(time.perf_counter() - start, time.process_time() - cpu)
        if isinstance(result, Cost):  # measured in another process, and checked there
            return result
        if check and isinstance(result, np.ndarray):
            op_made = "compute" in row.key or row.key == ALONE
            expected = np.arange(work.array.size) if op_made else work.array
            if not np.array_equal(result, expected):
                raise SystemExit(f"{row.name}: wrong array")
        if check and isinstance(result, bytes) and result != floors.tree(work.view, 1):
            raise SystemExit(f"{row.name}: wrong hash")
        del result
    return cost


def touch_memory(work: floors.Work) -> None:
    """Make the machine back memory for twice the array now: a guest's idle memory is slow."""
    block = np.empty(2 * work.array.nbytes, np.uint8)
    block[::4096] = 1
    del block
    path = work.path()  # the kernel has other free pages for files
    floors.plain_write(path, work.view)
    floors.plain_write(again := work.path(), work.view)
    path.unlink()
    again.unlink()


def ratios(row: Row, costs: dict[str, Cost]) -> dict[str, float]:
    """Return how many times its floors a case takes."""
    wall, cpu = costs[row.key]
    own = costs[ALONE] if row.with_op else Cost(0.0, 0.0)
    found = {name: wall / (costs[floor].wall + own.wall) for name, floor in row.against}
    if found:
        found["cpu"] = cpu / (costs[dict(row.against)["tree"]].cpu + own.cpu)
    return found


def time_table(results: dict[int, dict[str, Cost]]) -> Table:
    """Return the table of times and ratios."""
    table = Table(title="Large arrays: milliseconds, and times the floor")
    table.add_column("")
    for mb in results:
        table.add_column(f"{mb} MB", justify="right")
        table.add_column("x one", justify="right")
        table.add_column("x all", justify="right")
        table.add_column("x cpu", justify="right")
    section = ROWS[0].section
    for row in ROWS:
        if row.section != section:
            table.add_section()
            section = row.section
        cells = []
        for costs in results.values():
            if row.key not in costs:
                cells += ["absent", "", "", ""]
                continue
            found = ratios(row, costs)
            cells.append(f"{costs[row.key].wall * 1000:.1f}")
            for name in ("one", "tree", "cpu"):
                cells.append(f"{found[name]:.2f}" if name in found else "")
        table.add_row(row.name, *cells, style="bold" if row.name.startswith("ours") else "")
    return table


def measure_memory(mb: int, folder: Path) -> dict[str, dict[str, float]]:
    """Return what putting, loading and computing take above the array, as parts of its size."""
    items = mb * MB // 8
    found = {}
    for what in ("put", "load", "compute"):
        result = ours.child(what, folder / f"memory-{mb}", items)
        found[what] = {name: value / (8 * items) for name, value in result.items()}
    return found


def memory_table(results: dict[int, dict[str, dict[str, float]]]) -> Table:
    """Return the table of memory."""
    table = Table(title="Memory of ours, in sizes of the array")
    for name in ("", "MB", "peak", "peak, anonymous", "held, anonymous"):
        table.add_column(name, justify="right")
    notes = {"put": "put, above the array", "load": "get", "compute": "compute, all"}
    for mb, found in results.items():
        for what, sizes in found.items():
            cells = [f"{sizes[name]:.2f}" for name in ("peak", "peak_anonymous", "held_anonymous")]
            table.add_row(notes[what], str(mb), *cells)
    return table


def machine() -> dict[str, object]:
    """Describe the machine, without its name."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": floors.cores(),
        "memory_gb": round(pages / 1e9),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 1),
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arrays")
    parser.add_argument("--mb", default="8,80,800", help="sizes in 10^6 bytes")
    parser.add_argument("--repeat", type=int, help="rounds; by default fewer for larger arrays")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    sizes = [int(mb) for mb in options.mb.split(",")]
    before = machine()
    with tempfile.TemporaryDirectory() as folder:
        times = {mb: measure(mb, options.repeat or rounds(mb), Path(folder)) for mb in sizes}
        memory = {mb: measure_memory(mb, Path(folder)) for mb in sizes}
    console = Console(width=None if os.isatty(1) else 150)
    console.print(time_table(times), memory_table(memory))
    for name in peers.absent():
        console.print(f"{name} is absent: pip install 'invariant-dask[peers]'", markup=False)
    console.print(", ".join(f"{name} {value}" for name, value in before.items()))
    if options.json:
        rows = {
            mb: {row.key: {"seconds": costs[row.key].wall, "cpu_seconds": costs[row.key].cpu,
                           **ratios(row, costs)}
                 for row in ROWS if row.key in costs}
            for mb, costs in times.items()
        }  # fmt: skip
        report = {"machine": before, "arrays": rows, "memory": memory}
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
