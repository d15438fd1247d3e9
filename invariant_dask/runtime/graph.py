"""Dask graphs from programs and plans. Every key is `<op>-<hex of the planned digest>`.

The op name in front groups tasks on the dashboard; the hex alone is identity. Outputs asked for
through plain Dask get one more task, `value-<hex>`, that unwraps the artifact handle.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from dask._task_spec import GraphNode, Task, TaskRef

from invariant_dask.core.digest import DOMAIN_SALT, sha256
from invariant_dask.core.manifest import bundle_digest
from invariant_dask.plan.plan import Decision, Plan
from invariant_dask.plan.program import Program, Step
from invariant_dask.runtime import code
from invariant_dask.runtime.produce import RunInfo, Spec
from invariant_dask.runtime.task import load_node, run_node, unwrap, unwrap_all

DaskGraph = dict[str, GraphNode]

_NOT_IN_PREFIX = re.compile(r"[^A-Za-z0-9_:.]")


def prefix(op_name: str) -> str:
    """Return an op name as the dashboard can group by it: its first word, without dashes."""
    return _NOT_IN_PREFIX.sub("_", op_name)


@dataclass(frozen=True)
class Keys:
    """The Dask keys of a program's steps, some of them salted to stay clear of older tasks."""

    program: Program
    salt: bytes = b""
    salted: Collection[int] | None = None
    """Steps whose keys are salted, None being all, if there is a salt."""
    _cache: dict[int, str] = field(default_factory=dict)

    def of(self, index: int) -> str:
        """Return the key of a step."""
        key = self._cache.get(index)
        if key is None:
            step = self.program.steps[index]
            digest: bytes = step.planned
            if self.salt and (self.salted is None or index in self.salted):
                digest = sha256(DOMAIN_SALT + self.salt + digest).digest()
            key = self._cache[index] = f"{prefix(step.bound.op.name)}-{digest.hex()}"
        return key


def bundle_hex(program: Program) -> str:
    """Return the hex that names all outputs together: of one output, its own planned digest."""
    steps = [program.steps[index] for index in program.targets]
    if len(steps) == 1:
        return steps[0].planned.hex()
    named = zip(program.outputs, (step.planned for step in steps), strict=True)
    return bundle_digest(named).hex()


def value_key(program: Program) -> str:
    """Return the key under which plain Dask finds the value of the outputs."""
    return f"value-{bundle_hex(program)}"


def complete_graph(program: Program, info: RunInfo) -> DaskGraph:
    """Return the graph for plain Dask: every step, store-first, and the unwrapped outputs."""
    keys = Keys(program)
    graph: DaskGraph = {}
    for index in range(len(program.steps)):
        key = keys.of(index)
        graph[key] = _run_task(key, index, keys, info, store_first=True)
    _add_value(graph, program, keys)
    return graph


def frozen_graph(plan: Plan, info: RunInfo) -> DaskGraph:
    """Return the graph that a plan leaves, for plain Dask."""
    keys = Keys(plan.program)
    graph: DaskGraph = {}
    for index, decision in enumerate(plan.decisions):
        key = keys.of(index)
        if decision is Decision.RUN:
            graph[key] = _run_task(key, index, keys, info, store_first=True)
        elif decision is Decision.REUSE:
            graph[key] = Task(
                key, load_node, plan.program.steps[index].planned, info, _data_producer=True
            )
    _add_value(graph, plan.program, keys)
    return graph


def planned_graph(
    plan: Plan,
    keys: Keys,
    info: RunInfo,
    *,
    forced: Collection[int] = (),
    known: Collection[str] = (),
    reports: bool = False,
) -> DaskGraph:
    """Return the graph of what must run, with loaders for what is stored and needed.

    Parameters
    ----------
    plan
        What to run.
    keys
        The keys to use.
    info
        What the tasks share.
    forced
        Steps that must not look at the store.
    known
        Keys the scheduler already holds; they are left out, with what only they need.
    reports
        Whether tasks announce their outcome.
    """
    program = plan.program
    graph: DaskGraph = {}
    stack = [i for i in program.targets if plan.decisions[i] is Decision.RUN]
    done: set[int] = set()
    while stack:
        index = stack.pop()
        if index in done:
            continue
        done.add(index)
        key = keys.of(index)
        if key in known:
            continue
        if plan.decisions[index] is Decision.REUSE:
            planned = program.steps[index].planned
            graph[key] = Task(key, load_node, planned, info, _data_producer=True)
            continue
        is_forced = index in forced
        graph[key] = _run_task(
            key, index, keys, info, forced=is_forced, reports=reports, after=_running(plan, index)
        )
        stack.extend(program.steps[index].inputs)
        stack.extend(_running(plan, index))
    return graph


def _running(plan: Plan, index: int) -> list[int]:
    """Return the ordering-only dependencies that run too; stored ones are done already."""
    after = plan.program.steps[index].after
    return [i for i in after if plan.decisions[i] is Decision.RUN]


def _run_task(
    key: str,
    index: int,
    keys: Keys,
    info: RunInfo,
    *,
    store_first: bool = False,
    forced: bool = False,
    reports: bool = False,
    after: Sequence[int] | None = None,
) -> Task:
    program = keys.program
    step = program.steps[index]
    spec = Spec(
        node=step.node,
        code=code.reference(step.bound),
        planned=step.planned,
        parts=step.parts,
        count=len(step.inputs),
        private=step.private,
        retries=_retries(step),
        store_first=store_first,
        forced=forced,
        info=info,
        reports=reports,
    )
    waits = step.after if after is None else after
    refs = [TaskRef(keys.of(source)) for source in (*step.inputs, *waits)]
    return Task(key, run_node, spec, *refs)


def _retries(step: Step) -> int:
    return int(step.hints.get("retries", 0)) if step.hints else 0


def _add_value(graph: DaskGraph, program: Program, keys: Keys) -> None:
    key = value_key(program)
    refs: list[Any] = [TaskRef(keys.of(index)) for index in program.targets]
    if len(refs) == 1:
        graph[key] = Task(key, unwrap, refs[0])
    else:
        graph[key] = Task(key, unwrap_all, list(program.outputs), *refs)
