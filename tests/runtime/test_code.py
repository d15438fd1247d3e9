"""Code reaches workers that do not have it, and old code never runs under a new digest."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import dask
import pytest

from invariant_dask import MemoryStore, compile
from invariant_dask.errors import StaleCodeError
from invariant_dask.ops.registry import OpRegistry
from invariant_dask.runtime import code
from invariant_dask.store.disk import DiskStore

OPS = """
from invariant_dask import op
from helpers import scale

OFFSET = 0

@op("shade:level")
def level(value):
    return scale(value) + OFFSET
"""

HELPERS = """
def scale(value):
    return 10 * value
"""

CLIENT = """
import sys
from invariant_dask import Graph, compile
import shading

if __name__ == "__main__":
    g = Graph()
    g.add("x", shading.level, value=int(sys.argv[3]))
    compiled = compile(g, store=sys.argv[1])
    run = compiled.run(scheduler=sys.argv[2])
    print(run.values["x"], len(run.ran()), compiled.digests["x"])
"""


class Remote:
    """A scheduler and a worker started by command line, and clients in processes of their own."""

    def __init__(self, folder: Path, worker_sees_ops: bool) -> None:
        self.folder = folder
        self.ops = folder / "project"
        self.ops.mkdir()
        self.write(OPS, HELPERS)
        (self.ops / "client.py").write_text(CLIENT)
        self.processes: list[subprocess.Popen[str]] = []
        (folder / "elsewhere").mkdir()
        scheduler = self.start(
            ["scheduler", "--port", "0", "--dashboard-address", ":0"], r"Scheduler at: +(tcp://\S+)"
        )
        self.address = scheduler
        self.start(
            ["worker", scheduler, "--nworkers", "1", "--nthreads", "1", "--no-nanny",
             "--dashboard-address", ":0", "--local-directory", str(folder / "scratch")],
            r"Registered to: +(tcp://\S+)",
            path=self.ops if worker_sees_ops else None,
        )  # fmt: skip

    def write(self, ops: str, helpers: str) -> None:
        (self.ops / "shading.py").write_text(ops)
        (self.ops / "helpers.py").write_text(helpers)

    def start(self, arguments: list[str], ready: str, path: Path | None = None) -> str:
        env = {**os.environ, "PYTHONPATH": str(path or ""), "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]],
            cwd=self.folder / "elsewhere", env=env, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.processes.append(process)
        assert process.stderr is not None
        for line in process.stderr:
            found = re.search(ready, line)
            if found:
                return found[1]
        raise AssertionError(f"{arguments} ended: {process.wait()}")

    def run(self, value: int = 2) -> tuple[int, int, str]:
        """Compile and run in a fresh client; return the value, how many ops ran, the digest."""
        done = subprocess.run(
            [sys.executable, "client.py", str(self.folder / "store"), self.address, str(value)],
            cwd=self.ops, capture_output=True, text=True, check=False, timeout=120,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        result, ran, digest = done.stdout.split()
        return int(result), int(ran), digest

    def stop(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert process.stderr is not None
            process.stderr.close()


@pytest.fixture(params=[True, False], ids=["worker has the module", "worker lacks it"])
def remote(request, tmp_path) -> Iterator[Remote]:
    running = Remote(tmp_path, request.param)
    yield running
    running.stop()


def test_edits_reach_a_running_worker_and_are_never_mixed_up(remote) -> None:
    first = remote.run()
    assert first[:2] == (20, 1)
    assert remote.run()[:2] == (20, 0)

    remote.write("# a comment\n" + OPS, HELPERS + "\n\ndef unrelated():\n    return 1\n")
    assert remote.run() == (20, 0, first[2])

    remote.write(OPS.replace("OFFSET = 0", "OFFSET = 1"), HELPERS)
    changed_constant = remote.run()
    assert changed_constant[:2] == (21, 1)

    remote.write(OPS, HELPERS.replace("10", "100"))
    assert remote.run()[:2] == (200, 1)

    remote.write(OPS.replace("+ OFFSET", "- OFFSET - 5"), HELPERS)
    assert remote.run()[:2] == (15, 1)

    remote.write(OPS, HELPERS)
    assert remote.run() == (20, 0, first[2])
    # A value that was never asked for, on the worker that has seen all versions.
    assert remote.run(3)[:2] == (30, 1)


def run_python(code: str, *arguments: object, cwd: Path) -> str:
    (cwd / "script.py").write_text(textwrap.dedent(code))
    done = subprocess.run(
        [sys.executable, "script.py", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


SCRIPT = """
import sys
from dataclasses import dataclass
from invariant_dask import Graph, cacheable, compile, op

FACTOR = 3

@cacheable
@dataclass(frozen=True)
class Point:
    x: int
    y: int

def helper(value):
    return FACTOR * value

@op
def make(x):
    return Point(x, helper(x))

@op
def norm(point):
    assert isinstance(point, Point)
    return point.x + point.y

if __name__ == "__main__":
    g = Graph()
    point = g.add("point", make, x=2)
    g.add("norm", norm, point=point)
    run = compile(g, ["norm", "point"], store=sys.argv[1]).run(scheduler=sys.argv[2])
    print(run.values["norm"], run.values["point"], len(run.ran()))
"""


@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes", "address"])
def test_ops_and_types_of_a_script_work_everywhere(scheduler, tmp_path, cluster) -> None:
    address = cluster.scheduler_address if scheduler == "address" else scheduler
    outputs = [run_python(SCRIPT, tmp_path / "s", address, cwd=tmp_path) for _ in range(2)]
    assert outputs == ["8 Point(x=2, y=6) 2\n", "8 Point(x=2, y=6) 0\n"]


def test_plain_dask_takes_script_ops_to_other_processes(tmp_path, cluster) -> None:
    script = SCRIPT.replace(
        "run = compile", "from distributed import Client\n    run = compile"
    ).replace(
        """.run(scheduler=sys.argv[2])
    print(run.values["norm"], run.values["point"], len(run.ran()))""",
        """
    with Client(sys.argv[2]) as client:
        print(client.compute(run).result())""",
    )
    printed = run_python(script, tmp_path / "s", cluster.scheduler_address, cwd=tmp_path)
    assert printed == "{'norm': 8, 'point': Point(x=2, y=6)}\n"


NOTEBOOK = """
import sys
from IPython.core.interactiveshell import InteractiveShell

CELLS = [
    "from invariant_dask import Graph, compile, op",
    "K = 2\\ndef helper(v):\\n    return K * v",
    "@op\\ndef scaled(value):\\n    return helper(value)",
    "g = Graph(); _ = g.add('x', scaled, value=5)",
    "run = compile(g, store=STORE).run(scheduler=WHERE); print(run.values['x'], len(run.ran()))",
]
AGAIN = [CELLS[-1]]
EDITED = [
    "def helper(v):\\n    return K * v + 1",
    CELLS[-1],
    "K = 3",
    CELLS[-1],
    "@op\\ndef scaled(value):\\n    # only a comment\\n    return helper(value)",
    CELLS[-1],
]

if __name__ == "__main__":
    shell = InteractiveShell.instance()
    shell.user_ns.update(STORE=sys.argv[1], WHERE=sys.argv[2])
    for cell in CELLS + AGAIN + EDITED:
        shell.run_cell(cell, store_history=True).raise_error()
"""


@pytest.mark.parametrize("scheduler", ["sync", "address"])
def test_notebook_cells_are_followed_as_they_change(scheduler, tmp_path, cluster) -> None:
    address = cluster.scheduler_address if scheduler == "address" else scheduler
    printed = run_python(NOTEBOOK, tmp_path / "s", address, cwd=tmp_path)
    assert printed.split("\n")[:5] == ["10 1", "10 0", "11 1", "16 1", "16 0"]


THRESHOLD = 1


def test_code_that_changed_after_compiling_is_noticed(monkeypatch) -> None:
    ops = OpRegistry()

    @ops.op("t:above")
    def above(value):
        return value > THRESHOLD

    compiled = compile({"x": above_node(value=2)}, store=MemoryStore(), registry=ops)
    monkeypatch.setattr(sys.modules[__name__], "THRESHOLD", 5)
    with pytest.raises(StaleCodeError, match="changed since the graph was compiled"):
        compiled.compute(scheduler="sync")
    again = compile({"x": above_node(value=2)}, store=compiled.store, registry=ops)
    assert again.digests != compiled.digests
    assert again.compute(scheduler="sync") is False


def before_change(entry, client):
    """Return what to call after the change; a Dask object is made before it."""
    return {
        "dask.compute": lambda c: lambda: dask.compute(c, scheduler="threads"),
        "graph seen": lambda c: (c.dask, lambda: dask.compute(c, scheduler="threads"))[1],
        "client": lambda c: lambda: client.compute(c).result(),
        "frozen": lambda c: lambda: c.frozen(),
        "pickled": lambda c: lambda: pickle.dumps(c),
        "frozen before": lambda c: partial(c.frozen().compute, scheduler="threads"),
        "delayed before": lambda c: partial(dask.delayed(str)(c).compute, scheduler="sync"),
    }[entry]


@pytest.mark.parametrize("first", [False, True], ids=["never ran", "ran before"])
@pytest.mark.parametrize(
    "entry",
    [
        "dask.compute", "graph seen", "client", "frozen", "pickled", "frozen before",
        "delayed before",
    ],
)  # fmt: skip
def test_plain_dask_never_runs_code_that_changed_after_compiling(
    entry, first, monkeypatch, tmp_path, client
) -> None:
    monkeypatch.setattr(code, "FRESH", 0)
    ops, store = OpRegistry(), DiskStore(tmp_path / "s")

    @ops.op("t:above")
    def above(value):
        return value > THRESHOLD

    one, two = (
        compile({"x": above_node(value=value)}, store=store, registry=ops) for value in (3, 2)
    )
    if first:
        assert dask.compute(one, scheduler="threads") == (True,)
    act = before_change(entry, client)(two)
    monkeypatch.setattr(sys.modules[__name__], "THRESHOLD", 5)
    with pytest.raises(StaleCodeError, match="changed since the graph was compiled"):
        act()
    assert not store.exists(bytes.fromhex(two.digests["x"]))
    monkeypatch.setattr(sys.modules[__name__], "THRESHOLD", 1)
    assert dask.compute(two, scheduler="threads") == (True,)


def above_node(**params):
    from invariant_dask import Node

    return Node("t:above", params)


def make_versioned(factor: int, ops: OpRegistry, **options):
    def scaled(value):
        return factor * value

    ops.register("t:versioned", scaled, version="1", replace=True, **options)
    return {"x": _versioned_node(5), "y": _versioned_node(6)}


def _versioned_node(value):
    from invariant_dask import Node

    return Node("t:versioned", {"value": value})


def test_edited_code_under_one_version_is_reused_reported_and_run_where_it_must() -> None:
    ops, store = OpRegistry(), MemoryStore()
    first = compile(make_versioned(2, ops), ["x"], store=store, registry=ops)
    assert first.compute(scheduler="sync") == 10
    both = compile(make_versioned(3, ops), ["x", "y"], store=store, registry=ops)
    with pytest.warns(UserWarning, match="'t:versioned' has other code than when its version '1'"):
        assert both.compute(scheduler="sync") == {"x": 10, "y": 18}


@pytest.mark.parametrize(
    ("policy", "writer"), [("error", None), ("warn", "somebody@elsewhere")], ids=["told", "other"]
)
def test_drift_is_an_error_if_asked_or_if_the_result_is_somebody_elses(
    policy, writer, monkeypatch
) -> None:
    from invariant_dask.runtime import driver

    ops, store = OpRegistry(), MemoryStore()
    if writer is not None:
        monkeypatch.setattr(driver, "writer", lambda: writer)
    graph = make_versioned(2, ops, on_drift=policy)
    compile(graph, ["x"], store=store, registry=ops).compute(scheduler="sync")
    monkeypatch.undo()
    again = compile(make_versioned(3, ops, on_drift=policy), ["x"], store=store, registry=ops)
    with pytest.raises(StaleCodeError, match="raise the version"):
        again.compute(scheduler="sync")


def test_drift_can_be_ignored() -> None:
    ops, store = OpRegistry(), MemoryStore()
    graph = make_versioned(2, ops, on_drift="ignore")
    compile(graph, ["x"], store=store, registry=ops).compute(scheduler="sync")
    again = make_versioned(3, ops, on_drift="ignore")
    assert compile(again, ["x"], store=store, registry=ops).compute(scheduler="sync") == 10
