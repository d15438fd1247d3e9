"""Random graphs through both engines."""

from __future__ import annotations

import invariant.executor
import pytest
from hypothesis import HealthCheck, given, settings
from upstream.oracle import LOCAL, Ours, Theirs, assert_same, counted
from upstream.random_graphs import graphs

from invariant_dask.core.encode import encode

HEALTH = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


@pytest.fixture(autouse=True)
def true_digests(monkeypatch):
    """Let upstream tell apart what ops can tell apart.

    Its digests of 1 and "1" are equal, as are those of [] and {}: what its store returns then
    depends on what ran before. `test_differences` has that; here it would hide everything else.
    """
    monkeypatch.setattr(
        invariant.executor, "hash_manifest", lambda manifest: encode(manifest).identity
    )


def ephemeral(graph):
    """Return whether any node, however deep, is never stored."""
    stack = [graph]
    while stack:
        for vertex in stack.pop().values():
            if not getattr(vertex, "cache", True):
                return True
            stack.append(getattr(vertex, "graph", {}))
    return False


def check(given):
    graph, outputs, context = given
    theirs = Theirs()
    expected = theirs.run(graph, outputs, context)
    first = counted(theirs.counted.take())
    theirs.run(graph, outputs, context)
    second = counted(theirs.counted.take())
    assert ephemeral(graph) or not second
    for scheduler in LOCAL:
        ours = Ours(scheduler)
        for calls in (first, second):
            assert_same(ours.run(graph, outputs, context), expected)
            assert counted(ours.counted.take()) <= calls


@given(graphs())
@settings(max_examples=200, deadline=None, suppress_health_check=HEALTH)
def test_random_graphs_have_the_same_values_and_cost_no_more(given):
    check(given)


@pytest.mark.full
@pytest.mark.timeout(7200)
@given(graphs())
@settings(max_examples=10_000, deadline=None, suppress_health_check=HEALTH)
def test_many_random_graphs_have_the_same_values_and_cost_no_more(given):
    check(given)
