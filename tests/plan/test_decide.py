"""Planning looks up little, in few rounds, and decides as a naive evaluation would."""

from __future__ import annotations

import pytest
import sample_ops
from hypothesis import given, settings
from hypothesis import strategies as st

from invariant_dask import Graph, MemoryStore, compile, ref
from invariant_dask.plan.decide import decide
from invariant_dask.plan.plan import Decision, Plan
from invariant_dask.testing import CountingStore


class Asked:
    """Answers a planner from a store and keeps the rounds."""

    def __init__(self, compiled, **options) -> None:
        self.rounds: list[int] = []
        questions = decide(compiled.program, **options)
        try:
            batch = next(questions)
            while True:
                self.rounds.append(len(batch))
                batch = questions.send(compiled.store.lookup(batch))
        except StopIteration as done:
            self.plan: Plan = done.value


def chain(length: int, seed: int = 3) -> Graph:
    g = Graph()
    last = g.add("0", sample_ops.source, seed=seed)
    last = g.add("1", sample_ops.total, values=last)
    for i in range(2, length):
        last = g.add(str(i), sample_ops.total, values=[last], plus=i)
    return g


def test_hit_at_the_root_costs_one_lookup() -> None:
    store = MemoryStore()
    compile(chain(50), store=store).compute(scheduler="sync")
    asked = Asked(compile(chain(50), store=store))
    assert asked.rounds == [1]
    assert asked.plan.counts()[Decision.PRUNED] == 49


def test_unknown_chain_takes_a_logarithmic_number_of_rounds() -> None:
    asked = Asked(compile(chain(4000), store=MemoryStore()))
    downwards = [size for size in asked.rounds if size]
    assert sum(downwards) == 4000
    assert len(downwards) <= 14
    assert asked.plan.counts()[Decision.RUN] == 4000


def test_probes_beyond_a_hit_are_at_most_as_many_as_useful_ones() -> None:
    for stored in (1, 10, 100, 500, 998):
        store = MemoryStore(cache="unbounded")
        compile(chain(1000), [str(stored)], store=store).compute(scheduler="sync")
        asked = Asked(compile(chain(1000), store=store))
        useful = 1000 - stored
        assert asked.plan.counts() == {
            Decision.RUN: useful - 1,
            Decision.REUSE: 1,
            Decision.INLINE: 0,
            Decision.PRUNED: stored,
        }
        assert sum(asked.rounds) <= 2 * useful + 1


def test_nothing_is_read_to_plan(tmp_path) -> None:
    store = CountingStore(MemoryStore())
    compile(chain(10), store=store).compute(scheduler="sync")
    store.forget()
    compile(chain(11), store=store).plan()
    assert store.fetched == []


@st.composite
def graphs(draw):
    """A random graph of cheap ops, as (list of (op, sources, number))."""
    count = draw(st.integers(1, 8))
    nodes = []
    for i in range(count):
        sources = draw(st.lists(st.integers(0, i - 1), max_size=3)) if i else []
        nodes.append((draw(st.sampled_from(["sum", "parity"])), sources, draw(st.integers(0, 3))))
    return nodes


def build(nodes) -> Graph:
    g = Graph()
    for i, (kind, sources, number) in enumerate(nodes):
        values = [ref(str(source)) for source in sources]
        total = g.add(f"{i}" if kind == "sum" else f"{i}s", "t:total", values=values, plus=number)
        if kind == "parity":
            g.add(f"{i}", "t:parity", value=total)
    return g


def naive(nodes) -> list[int]:
    values: list[int] = []
    for kind, sources, number in nodes:
        total = sum(values[source] for source in sources) + number
        values.append(total % 2 if kind == "parity" else total)
    return values


@settings(max_examples=60, deadline=None)
@given(first=graphs(), second=graphs(), data=st.data())
def test_result_equals_a_naive_recompute_whatever_is_stored(first, second, data) -> None:
    """Two graphs after each other on one store, with entries forgotten in between."""
    store = MemoryStore(cache="unbounded")
    for nodes in (first, second, first):
        compiled = compile(build(nodes), [str(i) for i in range(len(nodes))], store=store)
        expected = {str(i): value for i, value in enumerate(naive(nodes))}
        assert compiled.run(scheduler="sync").values == expected
        forgotten = st.sets(st.sampled_from(sorted(compiled.program.index)))
        for node in data.draw(forgotten):
            compiled.invalidate(node)
        assert compiled.run(scheduler="sync").values == expected


@settings(max_examples=60, deadline=None)
@given(nodes=graphs())
def test_second_plan_runs_nothing(nodes) -> None:
    store = MemoryStore(cache="unbounded")
    compile(build(nodes), store=store).compute(scheduler="sync")
    assert compile(build(nodes), store=store).plan().counts()[Decision.RUN] == 0


def test_one_node_of_a_plan_is_found_without_walking_all_of_them(monkeypatch) -> None:
    g = chain(5)
    g.add("known", "stdlib:identity", value=3)
    g.add("user", sample_ops.double, value=ref("known"))
    plan = compile(g, store=MemoryStore()).plan()
    nodes = {planned.node: planned for planned in plan.nodes()}
    assert list(plan) == list(nodes)
    assert plan["known"].decision is Decision.INLINE
    monkeypatch.setattr(Plan, "nodes", None)
    assert {node: plan[node] for node in nodes} == nodes
    assert all(node in plan for node in nodes)
    assert "nowhere" not in plan
    with pytest.raises(KeyError, match="nowhere"):
        plan["nowhere"]
