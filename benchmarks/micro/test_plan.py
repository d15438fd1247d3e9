"""Graphs to digests, and digests to decisions."""

from __future__ import annotations

import pytest

from invariant_dask import Compiled, Graph, MemoryStore, compile
from invariant_dask.plan.decide import decide
from invariant_dask.plan.plan import Decision, Plan

NODES = 1000


def layers(nodes: int) -> Graph:
    """Return a graph in which each node reads the two before it."""
    graph = Graph("micro")
    last = before = graph.add("n0", "stdlib:add", a=1, b=0)
    for number in range(1, nodes):
        before, last = last, graph.add(f"n{number}", "stdlib:add", a=last, b=before)
    return graph


def planned(compiled: Compiled, answers: dict) -> Plan:
    """Plan with answers that are at hand, so that no store is measured."""
    questions = decide(compiled.program)
    try:
        batch = next(questions)
        while True:
            batch = questions.send({d: answers[d] for d in batch if d in answers})
    except StopIteration as done:
        return done.value


@pytest.fixture(scope="module")
def graph() -> Graph:
    return layers(NODES)


@pytest.fixture(scope="module")
def outputs() -> list[str]:
    return [f"n{number}" for number in range(NODES)]


@pytest.fixture(scope="module")
def stored(graph, outputs) -> MemoryStore:
    store = MemoryStore("unbounded")
    compile(graph, outputs, store=store).compute(scheduler="sync")
    return store


def test_digest_of_one_node(benchmark) -> None:
    graph, store = layers(1), MemoryStore()
    compiled = benchmark(compile, graph, store=store)
    assert compiled.digests == compile(layers(1), store=store).digests
    assert len(compiled.digests) == 1


def test_digests_of_1k_nodes(benchmark, graph, outputs) -> None:
    compiled = benchmark(compile, graph, outputs, store=MemoryStore())
    assert len({compiled.digests[name] for name in outputs}) == NODES


def test_decide_with_all_missing(benchmark, graph) -> None:
    compiled = compile(graph, store=MemoryStore())
    plan = benchmark(planned, compiled, {})
    assert plan.counts()[Decision.RUN] == NODES


def test_decide_with_all_present_and_wanted(benchmark, graph, outputs, stored) -> None:
    compiled = compile(graph, outputs, store=stored)
    digests = [bytes.fromhex(digest) for digest in compiled.digests.values()]
    plan = benchmark(planned, compiled, stored.lookup(digests))
    assert plan.counts()[Decision.REUSE] == NODES


def test_decide_with_the_output_present(benchmark, graph, stored) -> None:
    compiled = compile(graph, store=stored)
    digests = [bytes.fromhex(digest) for digest in compiled.digests.values()]
    plan = benchmark(planned, compiled, stored.lookup(digests))
    assert plan.counts()[Decision.REUSE] == 1
    assert plan.counts()[Decision.PRUNED] == NODES - 1
