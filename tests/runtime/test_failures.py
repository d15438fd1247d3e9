"""Failures name the node, keep the cause, store nothing of it, and lose nothing else."""

from __future__ import annotations

import pickle

import pytest
import sample_ops

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


def test_store_folder_that_is_another_one_on_the_workers_is_noticed(client, tmp_path) -> None:
    """A folder of the same name on another host lacks the client's token."""
    store = DiskStore(tmp_path / "s")
    ref = store.ref()
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
