"""What a plan says it will cost comes from what ops took before."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invariant_dask import Graph, MemoryStore, OpRegistry, compile, ref
from invariant_dask.plan.cost import Expected, span
from invariant_dask.plan.estimate import cost_of

SECOND = 10**9


def ops() -> OpRegistry:
    registry = OpRegistry()
    registry.register("here:slow", lambda n: n, version="1")
    registry.register("here:fast", lambda n: n, version="1")
    return registry


def graph(n: int = 1) -> Graph:
    g = Graph()
    for name in "ab":
        g.add(name, "here:slow", n=n)
        n += 1
    g.add("joined", "here:fast", n=ref("a"))
    g.add("last", "here:slow", n=ref("joined"))
    return g


def test_nothing_is_expected_of_ops_that_were_never_timed() -> None:
    plan = compile(graph(), store=MemoryStore(), registry=ops()).plan()
    assert plan.cost is not None
    assert (plan.cost.seconds, plan.cost.untimed_nodes) == (0, 4)
    assert plan.cost.untimed == ("here:slow", "here:fast")
    assert "4 nodes of ops never timed before (here:slow, here:fast)" in str(plan)


def test_median_times_of_calls_add_up_and_chains_are_at_least_as_long() -> None:
    plan = compile(graph(), store=MemoryStore(), registry=ops()).plan()
    took = {"here:slow": [4 * SECOND, SECOND, 2 * SECOND], "here:fast": [SECOND // 2]}
    cost = cost_of(plan, lambda op: took[op])
    assert cost.seconds == 2 + 2 + 0.5 + 2
    assert cost.longest == 2 + 0.5 + 2
    # The middle half of 1, 2 and 4 is 1.5 wide; three such calls, taken as independent.
    assert cost.spread == pytest.approx(3**0.5 * 1.5 / 1.349)
    assert cost.untimed == ()
    assert str(cost).startswith("about 6.5 s of work (± ")
    assert str(cost).endswith("at least 4.5 s long")


def test_plan_knows_what_ops_took_from_what_is_stored() -> None:
    store, registry = MemoryStore(), ops()
    compile(graph(), store=store, registry=registry).compute(scheduler="sync")
    plan = compile(graph(100), store=store, registry=registry).plan()
    assert plan.cost is not None
    assert plan.cost.seconds > 0
    assert plan.cost.untimed == ()


def test_stored_inputs_of_what_runs_are_to_be_loaded() -> None:
    store, registry = MemoryStore(), OpRegistry()
    registry.register("here:make", lambda: b"x" * 5000, version="1")
    registry.register("here:use", lambda data, n: n, version="1")

    def of(n: int) -> Graph:
        g = Graph()
        g.add("made", "here:make")
        g.add("used", "here:use", data=ref("made"), n=n)
        return g

    made = compile(of(1), store=store, registry=registry).run(scheduler="sync")
    plan = compile(of(2), store=store, registry=registry).plan()
    assert plan.cost is not None
    assert plan.cost.load_bytes == made.state.nodes["made"].size >= 5000


def test_a_plan_without_work_says_nothing_of_costs() -> None:
    store, registry = MemoryStore(), ops()
    compile(graph(), store=store, registry=registry).compute(scheduler="sync")
    plan = compile(graph(), store=store, registry=registry).plan()
    assert plan.costs() == []


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=60))
def test_one_call_is_expected_to_take_the_median_of_those_before(took: list[int]) -> None:
    expected = Expected.of(took)
    assert expected is not None
    assert abs(expected.median - statistics.median(took)) <= 1
    assert expected.spread >= 0
    assert expected.seen == len(took)
    if len(set(took)) == 1:
        assert expected.spread == 0


def test_times_read_as_people_say_them() -> None:
    assert [span(s) for s in (0.0005, 0.25, 12.34, 150, 7300)] == [
        "0.5 ms", "250 ms", "12.3 s", "2 min", "2 h 2 min"
    ]  # fmt: skip
