"""Random graphs through both engines."""

from __future__ import annotations

import tempfile

import invariant
import invariant.executor
import pytest
from hypothesis import HealthCheck, given, settings
from upstream import noted_ops
from upstream.oracle import LOCAL, Ours, Theirs, assert_same, counted, shape
from upstream.random_graphs import graphs, in_our_words

import invariant_dask as inv
from invariant_dask.core.encode import encode
from invariant_dask.graph.documents import dump_graph, load_document
from invariant_dask.graph.foreign import adopt

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
    for scheduler, written in [*((name, graph) for name in LOCAL), ("sync", in_our_words(graph))]:
        ours = Ours(scheduler)
        for calls in (first, second):
            assert_same(ours.run(written, outputs, context), expected)
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


@given(graphs())
@settings(max_examples=200, deadline=None, suppress_health_check=HEALTH)
def test_documents_of_random_graphs_are_read_alike(given):
    graph, outputs, context = given
    there = invariant.dump_graph(graph, output=outputs[0])
    document = load_document(there)
    assert (document.graph, document.output) == (adopt(graph), outputs[0])
    back, output = invariant.load_graph_document(dump_graph(document.graph, outputs[0]))
    assert (adopt(back), output) == (adopt(graph), outputs[0])
    uri = invariant.dump_graph_data_uri(graph, context=context)
    assert shape(dict(load_document(uri).context)) == shape(context)


def check_on_cluster(given, client, calls):
    """Equal planned digests run once, equal calls once in a process, and none in a second run."""
    graph, outputs, context = given
    expected = Theirs().run(graph, outputs, context)
    # Each graph has a store of its own.
    client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.task_metadata.clear())
    with tempfile.TemporaryDirectory() as folder:
        store = inv.DiskStore(folder)
        compiled = inv.compile(graph, outputs, context, store=store, registry=noted_ops.registry())
        calls.clear()
        run = compiled.run(scheduler=client)
        assert_same(run.values, expected)
        if not ephemeral(graph):
            ran = [outcome for outcome in run.outcomes.values() if outcome.kind == "ran"]
            assert len(calls) <= len(ran)
            assert not calls or max(calls.counts.values()) == 1
            calls.clear()
        again = compiled.run(scheduler=client)
        assert_same(again.values, expected)
        assert ephemeral(graph) or not calls
        store.close()


@given(graphs())
@settings(max_examples=40, deadline=None, suppress_health_check=HEALTH)
def test_random_graphs_have_the_same_values_on_a_cluster(client, calls, given):
    check_on_cluster(given, client, calls)


@pytest.mark.full
@pytest.mark.timeout(3600)
@given(graphs())
@settings(max_examples=1_000, deadline=None, suppress_health_check=HEALTH)
def test_many_random_graphs_have_the_same_values_on_a_cluster(client, calls, given):
    check_on_cluster(given, client, calls)
