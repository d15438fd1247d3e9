"""Dask graphs from programs and plans. Every key is `<op>-<hex of the planned digest>`.

The op name in front groups tasks on the dashboard; the hex alone is identity. Outputs asked for
through plain Dask get one more task, `value-<hex>`, that unwraps the artifact handle.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from dask._task_spec import DataNode, GraphNode, Task, TaskRef

from invariant_dask.core.digest import DOMAIN_SALT, sha256
from invariant_dask.core.manifest import bundle_digest
from invariant_dask.plan.plan import Decision, Plan
from invariant_dask.plan.program import Program, Step
from invariant_dask.runtime import code, collector
from invariant_dask.runtime.handle import Handle
from invariant_dask.runtime.spec import Job, Jobs, RunInfo, Spec
from invariant_dask.runtime.task import ByGraph, load_node, run_node, unwrap, unwrap_all

DaskGraph = dict[str, GraphNode]

_NOT_IN_PREFIX = re.compile(r"[^A-Za-z0-9_:.]")


@lru_cache(maxsize=4096)
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
        digest: bytes = steps[0].planned
    else:
        named = zip(program.outputs, (step.planned for step in steps), strict=True)
        digest = bundle_digest(named)
    if any(step.volatile for step in program.steps):
        # The same graph, compiled again, runs again: a scheduler must not take one for the other.
        digest = sha256(DOMAIN_SALT + program.nonce + digest).digest()
    return digest.hex()


def value_key(program: Program) -> str:
    """Return the key under which plain Dask finds the value of the outputs."""
    return f"value-{bundle_hex(program)}"


def complete_graph(program: Program, info: RunInfo) -> DaskGraph:
    """Return the graph for plain Dask: every step, store-first, and the unwrapped outputs."""
    graph, keys = step_tasks(program, info)
    _add_outputs(graph, program, keys, info)
    return graph


def step_tasks(program: Program, info: RunInfo) -> tuple[DaskGraph, Keys]:
    """Return a store-first task for each step, and their keys."""
    jobs, graph = Jobs(code.reference, info, store_first=True), DaskGraph()
    volatile = [index for index, step in enumerate(program.steps) if step.volatile]
    fresh = {*volatile, *program.descendants(volatile)} if volatile else set()
    keys = Keys(program, program.nonce if fresh else b"", fresh)
    # What is volatile runs always, and what is made from it has to agree with what came out now.
    after_inputs = Jobs(code.reference, info)
    for index, step in enumerate(program.steps):
        key = keys.of(index)
        job = (after_inputs if index in fresh else jobs).of(step.bound)
        graph[key] = _task(key, spec_of(step, job, forced=step.volatile), keys, step.needs)
    return graph, keys


def frozen_graph(plan: Plan, info: RunInfo, complete: DaskGraph) -> DaskGraph:
    """Return the graph that a plan leaves, for plain Dask.

    What is stored and follows from what runs stays store-first: it has to agree with its inputs.
    """
    program = plan.program
    keys, jobs = Keys(program), Jobs(code.reference, info, store_first=True)
    graph: DaskGraph = {}
    unsure = program.descendants(plan.run)
    stack = list(program.targets)
    while stack:
        index = stack.pop()
        key, step = keys.of(index), program.steps[index]
        if key in graph:
            continue
        if plan.decisions[index] is Decision.REUSE and index not in unsure:
            again = ByGraph(complete, key)
            graph[key] = Task(key, load_node, step.planned, info, again, _data_producer=True)
        else:
            needs = (*step.inputs, *running_after(plan, step))
            graph[key] = _task(key, spec_of(step, jobs.of(step.bound)), keys, needs)
            stack.extend(needs)
    _add_outputs(graph, program, keys, info)
    return graph


@dataclass(frozen=True)
class Work:
    """What a plan leaves to do, for a scheduler to do it its own way."""

    plan: Plan
    keys: Keys
    info: RunInfo
    wanted: Sequence[int]
    """The steps to run, with all that they need; their handles are asked for."""
    forced: Collection[int] = ()
    """Steps that must not look at the store."""
    known: Collection[str] = ()
    """Keys the scheduler already holds; they are left out, with what only they need."""
    reports: bool = False
    """Whether tasks announce their outcome."""
    whole: bool = True
    """Whether this is all that the plan has to run. If not, nothing need be brought back."""
    given: dict[int, Handle] = field(default_factory=dict)
    """Handles of steps that ran before in this run, to be taken over by whoever does the rest."""

    @property
    def wanted_keys(self) -> list[str]:
        """The keys whose handles are asked for."""
        return [self.keys.of(index) for index in self.wanted]

    def running(self) -> list[int]:
        """Return the steps that run, in topological order."""
        plan = self.plan
        run = [index for index in plan.run if index not in self.given]
        if self.whole:
            return run
        needed = set(self.wanted)
        for index in reversed(run):
            if index in needed:
                needed.update(plan.program.steps[index].needs)
        return [index for index in run if index in needed]

    @property
    def hints(self) -> dict[str, dict[str, Any]]:
        """The hints of what runs, by key, where there are any."""
        steps = self.plan.program.steps
        running = (index for index in self.running() if steps[index].hints)
        return {self.keys.of(index): dict(steps[index].hints or {}) for index in running}

    def dask_graph(self) -> DaskGraph:
        """Return the graph of what must run, with loaders for what is stored and needed."""
        with collector.paused():
            return self._dask_graph()

    def _dask_graph(self) -> DaskGraph:
        plan, keys = self.plan, self.keys
        jobs = Jobs(code.reference, self.info, reports=self.reports)
        graph: DaskGraph = {}
        stack = list(self.wanted)
        done: set[int] = set()
        while stack:
            index = stack.pop()
            if index in done:
                continue
            done.add(index)
            key = keys.of(index)
            if key in self.known:
                continue
            if index in self.given:
                graph[key] = DataNode(key, self.given[index])
                continue
            step = plan.program.steps[index]
            if plan.decisions[index] is Decision.REUSE:
                graph[key] = Task(key, load_node, step.planned, self.info, _data_producer=True)
                continue
            after = running_after(plan, step)
            spec = spec_of(step, jobs.of(step.bound), forced=index in self.forced)
            graph[key] = _task(key, spec, keys, (*step.inputs, *after))
            stack.extend(step.inputs)
            stack.extend(after)
        return graph


def running_after(plan: Plan, step: Step) -> list[int]:
    """Return the ordering-only dependencies that run too; stored ones are done already."""
    return [i for i in step.after if plan.decisions[i] is Decision.RUN]


def spec_of(step: Step, job: Job, *, forced: bool = False) -> Spec:
    """Return what it takes to produce a step, but for its inputs."""
    return Spec(
        job, step.node, step.planned, step.parts, len(step.inputs),
        step.private, int(step.hints.get("retries", 0)) if step.hints else 0,
        forced, step.derives, step.written,
    )  # fmt: skip


def _task(key: str, spec: Spec, keys: Keys, needs: Iterable[int]) -> Task:
    return Task(key, run_node, spec, *[TaskRef(keys.of(index)) for index in needs])


def _add_outputs(graph: DaskGraph, program: Program, keys: Keys, info: RunInfo) -> None:
    refs = [TaskRef(keys.of(index)) for index in program.targets]
    add_value(graph, value_key(program), program.outputs, refs, info)


def add_value(
    graph: DaskGraph, key: str, outputs: Sequence[str], refs: Sequence[Any], info: RunInfo
) -> None:
    """Add the task that unwraps the outputs, given what refers to their handles."""
    if len(refs) == 1:
        graph[key] = Task(key, unwrap, info.types, refs[0])
    else:
        graph[key] = Task(key, unwrap_all, info.types, list(outputs), *refs)
