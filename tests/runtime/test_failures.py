"""Failures name the node, keep the cause, store nothing of it, and lose nothing else."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import dask
import pytest
import sample_ops
from distributed import Client

from invariant_dask import Graph, MemoryStore, Node, compile, ref
from invariant_dask.errors import (
    ArtifactNotFoundError,
    CodeIdentityError,
    InvariantError,
    NotCacheableError,
    OpError,
    OpFailedError,
    OpResultError,
    SchedulerError,
    StaleCodeError,
    StoreNotSharedError,
    StoreUnavailableError,
)
from invariant_dask.ops.registry import OpRegistry
from invariant_dask.store.disk import DiskStore


def failing(op=sample_ops.fail) -> Graph:
    g = Graph()
    src = g.add("src", sample_ops.source, seed=3)
    good = g.add("good", sample_ops.total, values=src)
    bad = g.add("bad", op, value=good)
    g.add("after", sample_ops.double, value=bad)
    return g


@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes", "cluster"])
@pytest.mark.parametrize(
    ("op", "kind", "text"),
    [
        (sample_ops.fail, "ValueError", "no"),
        (sample_ops.quit_, "SystemExit", "3"),
        (sample_ops.unpicklable, "Unpicklable", "deep trouble"),
    ],
    ids=["raises", "exits", "unpicklable"],
)
def test_failing_op_is_named_and_the_rest_is_kept(
    scheduler, op, kind, text, tmp_path, calls, request
) -> None:
    chosen = request.getfixturevalue("client") if scheduler == "cluster" else scheduler
    store = DiskStore(tmp_path / "s")
    compiled = compile(failing(op), store=store)
    with pytest.raises(OpFailedError) as caught:
        compiled.compute(scheduler=chosen)
    error = caught.value
    assert (error.node, error.op) == ("bad", op.op_name)
    assert error.digest == compiled.digests["bad"]
    assert (error.cause_type, error.cause_text) == (kind, text)
    assert "sample_ops.py" in error.traceback_text
    for part in ("'bad'", op.op_name, error.digest[:12], text):
        assert part in str(error)
    if kind == "ValueError":
        assert isinstance(error.__cause__, ValueError)

    # What succeeded is stored, nothing of the failed node is, and the next run starts from there.
    assert not store.exists(bytes.fromhex(compiled.digests["bad"]))
    calls.clear()
    with pytest.raises(OpFailedError):
        compile(failing(op), store=store).compute(scheduler=chosen)
    assert calls.names == [op.op_name.removeprefix("t:")]


def test_op_that_kills_its_worker_is_named(tmp_path) -> None:
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), Client(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0",
        local_directory=str(tmp_path), set_as_default=False,
    ) as client:  # fmt: skip
        compiled = compile(failing(sample_ops.kill), store=DiskStore(tmp_path / "s"))
        with pytest.raises(OpFailedError, match="its worker died") as caught:
            compiled.compute(scheduler=client)
    assert (caught.value.node, caught.value.op) == ("bad", "t:kill")
    assert caught.value.digest == compiled.digests["bad"]


def test_failed_task_that_a_cluster_still_holds_is_tried_again_for_what_follows(
    client, tmp_path, calls
) -> None:
    store = DiskStore(tmp_path / "s")
    g = Graph()
    first = g.add("first", sample_ops.needs_file, path=str(tmp_path / "ready"))
    held = client.compute(compile(g, store=store))
    assert held.exception() is not None
    (tmp_path / "ready").write_text("now")
    g.add("next", sample_ops.pack, text=first)
    assert compile(g, store=store).compute(scheduler=client) == {"text": "now"}
    assert calls.names == ["needs_file", "needs_file", "pack"]
    assert compile(g, ["first"], store=store).compute(scheduler=client) == "now"


def test_failure_is_told_under_the_node_id_of_this_graph(client, tmp_path) -> None:
    store = DiskStore(tmp_path / "s")
    for name in ("mine", "yours"):
        g = Graph()
        g.add(name, sample_ops.fail, value=1)
        with pytest.raises(OpFailedError, match=f"node '{name}'"):
            compile(g, store=store).compute(scheduler=client)


@pytest.mark.parametrize("scheduler", ["sync", "cluster"])
def test_result_that_cannot_be_an_artifact_has_its_path_and_cure(
    scheduler, tmp_path, request
) -> None:
    chosen = request.getfixturevalue("client") if scheduler == "cluster" else scheduler
    g = Graph()
    g.add("half", sample_ops.halves, value=3)
    with pytest.raises(OpResultError, match=r"\$\[1\]\.half: float 1\.5 .* Decimal\('1\.5'\)"):
        compile(g, store=DiskStore(tmp_path / "s")).compute(scheduler=chosen)


def test_uncached_node_may_not_return_a_float_either() -> None:
    g = Graph()
    g.add("half", sample_ops.halves, value=3, cache=False)
    with pytest.raises(OpResultError, match="float"):
        compile(g, store=MemoryStore()).compute(scheduler="sync")


def test_scheduler_that_does_not_answer_is_an_error_before_anything_runs(tmp_path, calls) -> None:
    compiled = compile(failing(), store=DiskStore(tmp_path / "s"))
    with pytest.raises(SchedulerError, match="no Dask scheduler answers"):
        compiled.compute(scheduler="tcp://127.0.0.1:9")
    assert calls.names == []


def test_store_that_workers_do_not_see_is_an_error_before_anything_runs(client, calls) -> None:
    compiled = compile(failing(), store=MemoryStore())
    with pytest.raises(StoreNotSharedError, match="does not see the store"):
        compiled.compute(scheduler=client)
    with pytest.raises(StoreNotSharedError, match="processes"):
        compiled.compute(scheduler="processes")
    assert calls.names == []


class FullStore(DiskStore):
    """A store whose disk is full as soon as it is told so."""

    full = False

    def _show_token(self):
        self._check()
        super()._show_token()

    def _write_entries(self, rows):
        self._check()
        return super()._write_entries(rows)

    def _quarantine_entry(self, digest, data):
        self._check()
        super()._quarantine_entry(digest, data)

    def _check(self):
        if self.full:
            raise StoreUnavailableError("no space left")


@pytest.mark.parametrize("entry", ["compute", "plain", "cluster"])
def test_full_store_is_used_for_what_it_holds(entry, tmp_path, calls, request) -> None:
    store = FullStore(tmp_path / "s")
    g = Graph()
    src = g.add("src", sample_ops.source, seed=3)
    g.add("total", sample_ops.total, values=src)
    g.add("same", sample_ops.double, value=3)
    g.add("found", sample_ops.double, value=ref("total"))
    g.add("new", sample_ops.parity, value=ref("found"))
    compile(g, ["total", "same"], store=store).compute(scheduler="sync")
    calls.clear()
    store = FullStore(tmp_path / "s")
    store.full = True
    compiled = compile(g, ["found", "new"], store=store)
    if entry == "cluster":
        with pytest.raises(StoreNotSharedError, match="no space left"):
            compiled.compute(scheduler=request.getfixturevalue("client"))
        return
    if entry == "compute":
        with pytest.warns(UserWarning, match=r"1 artifact is not in .* \(new\): no space left"):
            values = compiled.compute(scheduler="sync")
    else:
        (values,) = dask.compute(compiled, scheduler="sync")
    assert values == {"found": 6, "new": 0}
    assert calls.names == ["parity"]


def test_damaged_entry_in_a_full_store_counts_as_absent(tmp_path, calls) -> None:
    store = FullStore(tmp_path / "s")
    compiled = compile({"x": Node("t:double", {"value": 2})}, store=store)
    compiled.compute(scheduler="sync")
    damage = "UPDATE entries SET data = substr(data, 1, length(data) - 1)"
    store._index.transact(lambda sql: sql.execute(damage))
    store.full = True
    with pytest.warns(UserWarning, match="no space left"):
        assert compiled.compute(scheduler="sync") == 4
    assert calls.names == ["double", "double"]


@pytest.mark.parametrize("in_use", [True, False], ids=["in use", "at rest"])
def test_store_that_cannot_be_written_is_read(in_use) -> None:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)  # so that other users can reach it
    root = folder / "s"
    store = DiskStore(root)
    g = Graph()
    small = g.add("small", sample_ops.source, seed=4)
    large = g.add("large", sample_ops.array, n=20_000)
    g.add("new", sample_ops.mean, values=large)
    compile(g, [small, large], store=store).compute(scheduler="sync")
    if not in_use:
        store.close()
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    script = """
import os, sys
import dask
import sample_ops
from invariant_dask import DiskStore, Graph, compile
g = Graph()
small = g.add("small", sample_ops.source, seed=4)
large = g.add("large", sample_ops.array, n=20_000)
new = g.add("new", sample_ops.mean, values=large)
g.add("also", sample_ops.mean, values=large)
compile(g, store="memory:").compute(scheduler="threads")  # while all code can be read
dask.compute(compile(g, store="memory:"), scheduler="sync")
if os.geteuid() == 0:  # for whom nothing is locked
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
store = DiskStore(sys.argv[1])
run = compile(g, [small, large], store=store).run(scheduler="threads")
print(run.counts()["ran"], run.values["small"], len(run.values["large"]))
print(compile(g, [new], store=store).compute(scheduler="threads"))
print(*dask.compute(compile(g, ["also"], store=store), scheduler="sync"))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(sample_ops.__file__).parent)}
    environment.pop("INVARIANT_TEST_LOG", None)
    done = subprocess.run(
        [sys.executable, "-c", script, str(root)],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    store.close()
    for path in folders:
        path.chmod(0o755)
    shutil.rmtree(folder)
    assert done.stdout.splitlines() == ["0 [0, 1, 2, 3] 20000", "9999", "9999"], done.stderr


def test_store_folder_that_is_another_one_on_the_workers_is_noticed(client, tmp_path) -> None:
    """A folder of the same name on another host lacks the client's token."""
    store = DiskStore(tmp_path / "s")
    ref = store.ref()
    ref.show()
    (token,) = (tmp_path / "s" / "tokens").iterdir()
    token.unlink()
    with pytest.raises(StoreNotSharedError):
        client.submit(ref.open, pure=False).result()


def test_plain_dask_with_a_store_that_workers_do_not_see_says_so(client) -> None:
    g = Graph()
    g.add("src", sample_ops.source, seed=3)
    with pytest.raises(StoreNotSharedError):
        client.compute(compile(g, store=MemoryStore())).result()


@pytest.mark.parametrize(
    "error",
    [
        OpFailedError(node="n", op="o", digest="d" * 64, cause_type="E", cause_text="t"),
        NotCacheableError(path="$.a", reason="r"),
        ArtifactNotFoundError(digest="d"),
        CodeIdentityError(op="o", path="p", reason="r"),
        StaleCodeError("old"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_pickling(error: InvariantError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy._fields == error._fields


def test_renamed_error_keeps_its_cause() -> None:
    error = OpError(node="a", op="o", digest="d" * 64, cause_type="E", cause_text="t")
    error.__cause__ = ValueError("x")
    assert error.renamed("b").node == "b"
    assert error.renamed("b").__cause__ is error.__cause__


@pytest.mark.parametrize("error", [AssertionError, NotImplementedError, RecursionError, SystemExit])
def test_failure_of_an_inline_op_on_known_values_is_that_of_its_node(error) -> None:
    ops = OpRegistry()

    @ops.op("t:inline", inline=True, version="1")
    def inline(value):
        raise error("no")

    g = {"a": Node("t:inline", {"value": 1}), "b": Node("stdlib:identity", {"value": ref("a")})}
    compiled = compile(g, ["b"], store=MemoryStore(), registry=ops)
    with pytest.raises(OpFailedError, match=rf"node 'a' .*{error.__name__}: no"):
        compiled.compute(scheduler="sync")


def test_store_removed_while_a_cluster_lives_is_made_anew(client, tmp_path) -> None:
    where = tmp_path / "s"
    for n in (1, 2):
        g = Graph()
        g.add("sum", "stdlib:add", a=n, b=2)
        assert compile(g, store=where).compute(scheduler=client) == n + 2
        assert len(compile(g, store=where).plan().run) == 0
        shutil.rmtree(where)
