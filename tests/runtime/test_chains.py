"""Runs over chains: a tier that fails or was wiped costs no result, and what it lacks is told."""

from __future__ import annotations

import shutil
import warnings

import pytest
import sample_ops

from invariant_dask import ChainStore, DiskStore, Graph, Tier, compile, ref
from invariant_dask.errors import StoreNotSharedError
from invariant_dask.testing import FlakyStore


def fan(count: int = 8) -> Graph:
    g = Graph()
    for i in range(count):
        g.add(f"n{i}", sample_ops.double, value=i)
    g.add("sum", sample_ops.total, values=[ref(f"n{i}") for i in range(count)])
    return g


@pytest.fixture(params=["threads", "cluster"])
def where(request):
    return "threads" if request.param == "threads" else request.getfixturevalue("client")


@pytest.mark.parametrize("policy", ["through", "behind"])
def test_results_are_far_when_a_run_is_over(where, policy, tmp_path, calls) -> None:
    far = DiskStore(tmp_path / "far")
    chain = ChainStore(DiskStore(tmp_path / "near"), Tier(far, write=policy))
    run = compile(fan(), store=chain).run(scheduler=where)
    assert (run.values["sum"], run.missed) == (56, [])
    calls.clear()
    assert compile(fan(), store=far).compute(scheduler="sync") == 56
    assert len(calls) == 0


def test_wiped_near_tier_costs_no_op(where, tmp_path, calls) -> None:
    far = DiskStore(tmp_path / "far")
    compile(fan(), store=ChainStore(DiskStore(tmp_path / "near"), far)).compute(scheduler=where)
    shutil.rmtree(tmp_path / "near")
    calls.clear()
    chain = ChainStore(DiskStore(tmp_path / "near"), far)
    assert compile(fan(), store=chain).compute(scheduler=where) == 56
    assert len(calls) == 0
    assert chain.tiers[1].hits > 0


def test_far_tier_that_goes_down_costs_no_result_and_what_it_lacks_is_told(
    where, tmp_path, calls
) -> None:
    switch = tmp_path / "down"
    far = DiskStore(tmp_path / "far")
    chain = ChainStore(DiskStore(tmp_path / "near"), FlakyStore(far, down_while=switch))
    compiled = compile(fan(), store=chain)
    compile(fan(2), store=chain).compute(scheduler=where)
    switch.touch()
    with pytest.warns(UserWarning, match=r"not in .*far .*made to fail"):
        run = compiled.run(scheduler=where)
    assert run.values["sum"] == 56
    (missed,) = run.missed
    assert missed.tier == far.url
    assert missed.count >= 7
    switch.unlink()
    calls.clear()
    assert compiled.compute(scheduler=where) == 56
    assert len(calls) == 0


@pytest.mark.parametrize("seed", range(3))
def test_far_tier_that_fails_by_chance_costs_no_result(tmp_path, seed, calls) -> None:
    far = FlakyStore(DiskStore(tmp_path / "far"), rate=0.3, seed=seed)
    chain = ChainStore(DiskStore(tmp_path / "near"), far, pauses=(0, 0))
    compiled = compile(fan(30), store=chain)
    with warnings.catch_warnings():
        # Whether the last attempt at the end of the run fails too is chance.
        warnings.filterwarnings("ignore", "not all results are where they belong")
        assert compiled.compute(scheduler="threads") == 870
    assert len(calls) == 31, "no op runs twice"
    assert far.failures > 0
    far.rate = 0
    assert chain.barrier() == ()
    assert far.inner.exists(bytes.fromhex(compiled.digests["sum"]))


def test_workers_that_see_no_shared_tier_are_told_before_anything_runs(
    client, tmp_path, calls
) -> None:
    chain = ChainStore(Tier(DiskStore(tmp_path / "near"), private=True))
    with pytest.raises(StoreNotSharedError, match="no tier that other processes share"):
        compile(fan(), store=chain).compute(scheduler=client)
    assert len(calls) == 0
