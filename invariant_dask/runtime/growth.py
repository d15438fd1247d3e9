"""The growth task of plain Dask: make in place what depends on switches that were not decided.

It gets what the switches read as handles, decides, compiles the rest and follows a plan for it, as
a run in the client's process does.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import cache
from operator import getitem
from typing import Any, NamedTuple

from dask._task_spec import Task, TaskRef

from invariant_dask.errors import InvariantError
from invariant_dask.ops.entry import OnDrift
from invariant_dask.plan.program import BoundOp, Program
from invariant_dask.plan.seed import Seed, Sown
from invariant_dask.runtime import code
from invariant_dask.runtime.graph import DaskGraph, Work, add_value, step_tasks
from invariant_dask.runtime.handle import Handle
from invariant_dask.runtime.loop import run_here
from invariant_dask.runtime.run import Run
from invariant_dask.runtime.spec import RunInfo, bind_types
from invariant_dask.runtime.stages import Stages
from invariant_dask.runtime.watching import Emit
from invariant_dask.store.backend import Missed
from invariant_dask.store.base import Store


class _ShippedOp(NamedTuple):
    ref: code.CodeRef
    inline: bool
    on_drift: OnDrift


_Unpacked = tuple[Seed, tuple[str, ...], Mapping[str, "_ShippedOp | InvariantError"]]


class Growth:
    """All that it takes to make some outputs of an undecided graph, but for the handles.

    It travels as bytes that only the worker which uses them unpickles: it weighs as much as the
    graph.
    """

    __slots__ = ("digest", "info", "packed")

    def __init__(self, packed: bytes, digest: bytes, info: RunInfo) -> None:
        self.packed = packed
        self.digest = digest
        self.info = info

    @classmethod
    def of(cls, sown: Sown, outputs: tuple[str, ...], info: RunInfo) -> Growth:
        """Pack a graph with the ops that it may need.

        Parameters
        ----------
        sown
            The graph.
        outputs
            The outputs to make.
        info
            What all tasks share.
        """
        ops = {name: _shipped(each) for name, each in sown.ops.items()}
        return cls(pickle.dumps((sown.seed, outputs, ops)), sown.digest, info)

    def unpacked(self) -> _Unpacked:
        """Return the graph, the outputs to make, and the ops."""
        # Part of a task, which came through Dask like all tasks.
        return pickle.loads(self.packed)  # type: ignore[no-any-return]  # noqa: S301

    def __reduce__(self) -> tuple[Any, ...]:
        return Growth, (self.packed, self.digest, self.info)

    def __dask_tokenize__(self) -> str:
        return self.digest.hex()

    def __repr__(self) -> str:
        return f"<Growth {self.digest.hex()[:8]}>"


def _shipped(bound: BoundOp | InvariantError) -> _ShippedOp | InvariantError:
    if isinstance(bound, InvariantError):
        return bound
    return _ShippedOp(code.reference(bound), bound.op.inline, bound.op.on_drift)


def growing_graph(program: Program, sown: Sown, info: RunInfo) -> DaskGraph:
    """Return the graph for plain Dask of a program with switches that are not decided."""
    graph, keys = step_tasks(program, info)
    rest = tuple(name for name in program.outputs if name not in program.index)
    key = f"growth-{sown.digest.hex()}"
    growth = Growth.of(sown, rest, info)
    graph[key] = Task(key, grow, growth, *[TaskRef(keys.of(index)) for index in sown.needs])
    refs = [
        Task(None, getitem, TaskRef(key), rest.index(name))
        if name in rest
        else TaskRef(keys.of(program.index[name]))
        for name in program.outputs
    ]
    add_value(graph, growing_key(sown), program.outputs, refs, info)
    return graph


def growing_key(sown: Sown) -> str:
    """Return the key under which plain Dask finds the value of the outputs."""
    return f"value-{sown.digest.hex()}"


def grow(growth: Growth, *handles: Handle) -> list[Handle]:
    """Make the outputs that depend on what some switches take; return their artifacts, loaded.

    Parameters
    ----------
    growth
        The graph.
    handles
        What is there of it already.

    Raises
    ------
    SpecError
        If what the switches take is not valid.
    OpError
        If an op fails.
    """
    info = growth.info
    bind_types(info.types)
    seed, outputs, ops = growth.unpacked()

    @cache
    def bind(name: str) -> BoundOp:
        found = ops[name]
        if isinstance(found, InvariantError):
            raise found
        return code.receive(found.ref, inline=found.inline, on_drift=found.on_drift)

    def compiled(decisions: Mapping[str, str]) -> Program:
        return seed.grow(bind, outputs, decisions)

    run = Run(info.run, compiled({}), time.time_ns())
    stages = Stages(
        info.store.open(), lambda: nullcontext(_InPlace()),
        info=info, read=Handle.loaded, made={handle.planned: handle for handle in handles},
    )  # fmt: skip
    stages.follow(run, compiled)
    return [run.values[name] for name in outputs]


class _InPlace:
    """Runs everything in the thread of the growth task, which is the one it was given."""

    reports_by_event = False

    def __init__(self) -> None:
        self.missed: list[Missed] = []

    def prepare(self, store: Store) -> None:
        self.store = store

    def known(self, keys: Sequence[str]) -> Mapping[str, str]:  # noqa: ARG002  as on a cluster
        return {}

    def page(self) -> None:
        pass

    def execute(self, work: Work, emit: Emit | None) -> list[Handle]:
        return run_here(work, self.store, emit)

    def close(self) -> None:
        pass
