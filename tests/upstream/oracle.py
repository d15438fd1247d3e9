"""Upstream's executor as the oracle: one graph, two engines, the same results, no more calls."""

from __future__ import annotations

import functools
import io
import threading
from collections import Counter
from dataclasses import dataclass, field

import celpy
import dask
import invariant
from invariant.store.memory import MemoryStore as TheirStore

import invariant_dask as inv
from invariant_dask.core.sealed import SealedDict, SealedList
from invariant_dask.ops import stdlib
from invariant_dask.ops.registry import OpRegistry

# Ours evaluates these inside each consumer or while compiling: they are as good as free, and how
# often they are called is not promised.
INLINE = frozenset(f"stdlib:{name}" for name in stdlib.INLINE)
LOCAL = ("sync", "threads", "plain Dask")

# The first one of a process raises the recursion limit, which Hypothesis must not see.
celpy.Environment()


class Counted:
    """Functions that count their calls, from any thread of this process."""

    def __init__(self):
        self.calls = Counter()
        self._lock = threading.Lock()

    def wrap(self, name, function):
        @functools.wraps(function)
        def counting(*args, **kwargs):
            with self._lock:
                self.calls[name] += 1
            return function(*args, **kwargs)

        return counting

    def take(self):
        """Return the calls since the last time."""
        with self._lock:
            taken, self.calls = self.calls, Counter()
        return taken


class Theirs:
    """Upstream's executor with every op that can be discovered, and an unbounded store."""

    def __init__(self):
        self.counted = Counted()
        self._table = _Table(
            {name: self.counted.wrap(name, function) for name, function in _theirs().items()}
        )
        self.executor = invariant.Executor(self._table, TheirStore(cache="unbounded"))

    def add_op(self, name, function):
        self._table.ops[name] = self.counted.wrap(name, function)

    def run(self, graph, outputs, context=None):
        return self.executor.execute(graph, outputs, context)


@functools.cache
def _theirs():
    """Return every op of theirs by name."""
    # Their registry is one object for the whole process.
    registry = invariant.OpRegistry()
    registry.clear()
    registry.auto_discover()
    return {name: binding.op for name, binding in registry._bindings.items()}


class _Table:
    """What the executor asks of a registry."""

    def __init__(self, ops):
        self.ops = ops

    def has(self, name):
        return name in self.ops

    def get(self, name):
        return self.ops[name]


@functools.cache
def discovered():
    """Return every op of ours by name, those of `invariant-gfx` among them."""
    registry = OpRegistry()
    registry.discover()
    assert not registry.problems
    return {name: registry.get(name).function for name in registry.names()}


class Ours:
    """Our engine with the same ops, a store of its own and one scheduler."""

    def __init__(self, scheduler):
        self.counted = Counted()
        self.scheduler = scheduler
        self.store = inv.MemoryStore()
        self.registry = OpRegistry(stdlib=False, discovery=False)
        for name, function in discovered().items():
            self.add_op(name, function)

    def add_op(self, name, function):
        self.registry.register(
            name,
            self.counted.wrap(name, function),
            version="1",
            on_drift="ignore",
            inline=name in INLINE,
        )

    def run(self, graph, outputs, context=None):
        compiled = inv.compile(graph, outputs, context, store=self.store, registry=self.registry)
        if self.scheduler != "plain Dask":
            return compiled.run(scheduler=self.scheduler).values
        (value,) = dask.compute(compiled, scheduler="threads")
        return {outputs[0]: value} if len(compiled.outputs) == 1 else value


@dataclass
class Both:
    """What both engines made of a graph, and what they called for it."""

    value: dict
    """What upstream returned."""
    theirs: Counter
    """Calls of upstream's first run."""
    ours: dict[str, Counter] = field(default_factory=dict)
    """Calls of our first run, by scheduler."""
    again: dict[str, Counter] = field(default_factory=dict)
    """Calls of our second run, by scheduler."""


def shape(value):
    """Return what two results are compared by: values with their exact types."""
    if isinstance(value, dict):
        assert type(value) in {dict, SealedDict}
        return "dict", sorted((key, shape(item)) for key, item in value.items())
    if isinstance(value, list):
        assert type(value) in {list, SealedList}
        return "list", [shape(item) for item in value]
    if isinstance(value, tuple):
        return "tuple", [shape(item) for item in value]
    if hasattr(value, "get_stable_hash"):
        stream = io.BytesIO()
        value.to_stream(stream)
        pixels = value.image.tobytes() if hasattr(value, "image") else b""
        return type(value).__name__, value.get_stable_hash(), stream.getvalue(), pixels
    # A Decimal is compared with its exponent.
    return type(value).__name__, repr(value)


def counted(calls):
    return Counter({name: count for name, count in calls.items() if name not in INLINE})


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for output, value in expected.items():
        assert shape(found[output]) == shape(value), output


def compare(graph, outputs, context=None, *, ops=None, schedulers=LOCAL, once=True):
    """Run a graph through both engines; results are the same and ours calls no op more often.

    Parameters
    ----------
    ops
        More ops, by name.
    once
        Whether a second run calls no op at all, as it must unless nodes are ephemeral.
    """
    theirs = Theirs()
    for name, function in (ops or {}).items():
        theirs.add_op(name, function)
    expected = theirs.run(graph, outputs, context)
    both = Both(expected, counted(theirs.counted.take()))
    for scheduler in schedulers:
        ours = Ours(scheduler)
        for name, function in (ops or {}).items():
            ours.add_op(name, function)
        for calls in (both.ours, both.again):
            assert_same(ours.run(graph, outputs, context), expected)
            calls[scheduler] = counted(ours.counted.take())
        assert both.ours[scheduler] <= both.theirs
        if once:
            assert not both.again[scheduler]
    return both


def compare_on_cluster(graph, outputs, context, client, folder, *, ops=None):
    """Run a graph through upstream's executor and on a cluster, twice; return the second run."""
    theirs, registry = Theirs(), OpRegistry()
    for name, function in (ops or {}).items():
        theirs.add_op(name, function)
        registry.register(name, function, version="1")
    expected = theirs.run(graph, outputs, context)
    store = inv.DiskStore(folder)
    for _ in range(2):
        compiled = inv.compile(graph, outputs, context, store=store, registry=registry)
        run = compiled.run(scheduler=client)
        assert_same(run.values, expected)
    return run
