"""Run real workflow graphs: cold, warm and with one task changed; check every artifact.

    python -m benchmarks.workflows FILE... [--schedulers threads,cluster] [--work SECONDS]

FILE is a WfFormat document (JSON, may be gzipped), as published by the WfCommons project. Each
task becomes a node whose op hashes its inputs, and works for its recorded run time scaled down.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

from invariant_dask import DiskStore, Graph, compile, op, ref


@op("workflow:task")
def task(name, work, inputs):
    import hashlib
    import time

    end = time.perf_counter() + float(work)
    while time.perf_counter() < end:
        hashlib.sha256(b"work" * 256).digest()
    return hashlib.sha256("|".join([name, *inputs]).encode()).hexdigest()


def load(path: Path) -> list[tuple[str, list[str], float]]:
    """Return id, parents and recorded seconds of each task."""
    data = path.read_bytes()
    workflow = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)["workflow"]
    runs = workflow.get("execution", {}).get("tasks", ())
    seconds = {run["id"]: float(run.get("runtimeInSeconds", 0)) for run in runs}
    tasks = workflow["specification"]["tasks"]
    return [(t["id"], list(t["parents"]), seconds.get(t["id"], 0.0)) for t in tasks]


def graph_of(tasks: list[tuple[str, list[str], float]], scale: float, changed: str = "") -> Graph:
    """Return the graph of a workflow; the task `changed` gets another name to hash."""
    graph = Graph("workflow")
    for name, parents, seconds in tasks:
        work = Fraction(seconds * scale).limit_denominator(10**6)
        text = name + "'" if name == changed else name
        graph.add(name, task, name=text, work=work, inputs=[ref(parent) for parent in parents])
    return graph


def plain(tasks: list[tuple[str, list[str], float]], changed: str = "") -> dict[str, str]:
    """Evaluate a workflow without us, as an oracle."""
    parents_of = {name: parents for name, parents, _ in tasks}
    values: dict[str, str] = {}
    stack = list(parents_of)
    while stack:
        name = stack[-1]
        missing = [parent for parent in parents_of[name] if parent not in values]
        if name in values or not missing:
            stack.pop()
            text = name + "'" if name == changed else name
            inputs = [values[parent] for parent in parents_of[name]]
            values[name] = hashlib.sha256("|".join([text, *inputs]).encode()).hexdigest()
        stack.extend(missing)
    return values


def descendants(tasks: list[tuple[str, list[str], float]], root: str) -> set[str]:
    """Return a task and all that depend on it."""
    children: dict[str, list[str]] = {}
    for name, parents, _ in tasks:
        for parent in parents:
            children.setdefault(parent, []).append(name)
    found, stack = {root}, [root]
    while stack:
        for child in children.get(stack.pop(), ()):
            if child not in found:
                found.add(child)
                stack.append(child)
    return found


def measure(path: Path, scheduler: object, scale: float) -> str:
    """Run one workflow three times on a fresh store; return a row of the table."""
    tasks = load(path)
    changed = tasks[len(tasks) // 2][0]
    names = [name for name, _, _ in tasks]
    row = [path.name.partition(".")[0][:40].ljust(40), f"{len(tasks):6d}"]
    with tempfile.TemporaryDirectory() as folder:
        for change, expected_runs in (("", set(names)), ("", set()), (changed, None)):
            store = DiskStore(Path(folder, "store"))
            start = time.perf_counter()
            run = compile(graph_of(tasks, scale, change), names, store=store).run(
                scheduler=scheduler
            )
            seconds = time.perf_counter() - start
            expected = descendants(tasks, changed) if expected_runs is None else expected_runs
            if run.values != plain(tasks, change):
                raise SystemExit(f"{path.name}: wrong artifacts")
            if set(run.ran()) != expected:
                raise SystemExit(f"{path.name}: {len(run.ran())} ran, not {len(expected)}")
            row += [f"{len(run.ran()):6d}", f"{seconds:8.2f}"]
            store.close()
    return " ".join(row)


@contextmanager
def scheduler_named(name: str) -> Iterator[object]:
    """Yield what `scheduler=` takes for a name of the command line."""
    if name != "cluster":
        yield name
        return
    from distributed import Client

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=":0") as client:
        yield client


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workflows")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--schedulers", default="threads,cluster")
    parser.add_argument("--work", type=float, default=0.0, help="seconds per recorded hour")
    options = parser.parse_args(arguments)
    for name in options.schedulers.split(","):
        print(f"{name}\n{'workflow':40s}  tasks   cold  seconds   warm  seconds changed  seconds")
        with scheduler_named(name) as scheduler:
            for path in options.files:
                print(measure(path, scheduler, options.work / 3600), flush=True)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
