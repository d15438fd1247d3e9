"""Bar 7: how long it takes to start, and which heavy modules come along.

Each command is a process of its own, timed from outside; modules are compiled beforehand.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks.peers.lab import Bar, Lab, NoNumberError
from benchmarks.peers.rounds import ROOT
from benchmarks.peers.tables import digits

HEAVY = (
    "IPython", "asyncio", "bokeh", "cloudpickle", "dask", "dask.array", "dask.delayed",
    "distributed", "fsspec", "hypothesis", "numpy", "pandas", "pyarrow", "rich", "sqlite3", "ssl",
    "tornado", "click",
)  # fmt: skip

GRAPH = """
from invariant_dask import Graph, op

@op("census:count")
def count(words, at_least=1):
    return sum(len(word) >= at_least for word in words)

g = Graph("census")
words = g.add("words", "stdlib:split", text="to be or not to be")
total = g.add("total", count, words=words)
long = g.add("long", count, words=words, at_least=3)
share = g.add("share", "stdlib:divide", a=long, b=total)
"""

_AFTER = "import sys, json; print(json.dumps([m for m in {heavy!r} if m in sys.modules]))"
_RUN = (
    "import sys; sys.argv = ['invariant-dask', *sys.argv[1:]]\n"
    "from invariant_dask.cli import main\n"
    "try:\n    main()\nexcept SystemExit:\n    pass\n"
)
ROUNDS = 7
"""At least so many: these are short."""


def startup(lab: Lab) -> Iterator[Bar]:
    """Time imports and a run with nothing to do."""
    with tempfile.TemporaryDirectory(prefix="overhead-") as path:
        folder = Path(path)
        (folder / "census.py").write_text(GRAPH)
        run = ["-m", "invariant_dask", "run", "census.py:g", "--store", "store"]
        commands = {
            "python": ["-c", "pass"],
            "dask.delayed": ["-c", "import dask.delayed"],
            "package": ["-c", "import invariant_dask"],
            "names": ["-c", "from invariant_dask import Graph, compile, op"],
            "run": run,
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        # The first turn compiles modules, and stores the results.
        for turn in range(max(ROUNDS, lab.settings.repeat) + 1):
            for name, command in commands.items():
                lab.progress(f"start-up {turn}: {name}")
                start = time.perf_counter()
                _python(command, folder)
                if turn:
                    times[name].append(time.perf_counter() - start)
        yield from _bars(times)
        imported = _python(["-c", "import invariant_dask\n" + _after()], folder)
        yield Bar(7, "heavy modules: import invariant_dask", "", _listed(imported), met=None)
        imported = _python(["-c", _RUN + _after(), *run[2:]], folder)
        yield Bar(7, "heavy modules: stored run", "", _listed(imported), met=None)


def _bars(times: dict[str, list[float]]) -> Iterator[Bar]:
    def more_than(a: str, b: str) -> float:
        return median(x - y for x, y in zip(times[a], times[b], strict=True)) * 1e3

    base = f"; dask.delayed {digits(median(times['dask.delayed']) * 1e3)} ms"
    base += f", bare Python {digits(median(times['python']) * 1e3)} ms"
    for name, what in (
        ("package", "import invariant_dask"),
        ("names", "from invariant_dask import Graph, compile, op"),
    ):
        value = more_than(name, "dask.delayed")
        measured = f"{value:+.0f} ms" + (base if name == "package" else "")
        yield Bar(7, f"{what}: above import dask.delayed", "<= +60 ms", measured, met=value <= 60)
    value = median(x / y for x, y in zip(times["run"], times["dask.delayed"], strict=True))
    measured = f"{digits(value)}x; {digits(median(times['run']) * 1e3)} ms"
    yield Bar(7, "stored run: to import dask.delayed", "<= 2x", measured, met=value <= 2)


def _after() -> str:
    return _AFTER.format(heavy=HEAVY)


def _listed(output: str) -> str:
    return ", ".join(json.loads(output.splitlines()[-1])) or "none"


def _python(command: Sequence[str], folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    if done.returncode:
        raise NoNumberError(f"{' '.join(command)[:60]!r} failed: {done.stderr.strip()[-200:]}")
    return done.stdout
