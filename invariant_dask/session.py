"""The one orchestrator: compile a graph into a Dask collection, plan it, run it, record it.

`Compiled` is a Dask collection like any other (`dask.compute`, `client.compute`, `.persist`,
`dask.delayed` take it), and has entries of its own that plan first: `.compute()`, `.run()`,
`.plan()`.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

from dask.delayed import Delayed

from invariant_dask.core.digest import PlannedDigest, parse_hex
from invariant_dask.core.manifest import NONCE_SIZE
from invariant_dask.core.sealed import SealedDict
from invariant_dask.errors import ArtifactLostError, GraphError, OutputsError
from invariant_dask.graph.composite import Vertex
from invariant_dask.graph.markers import Ref
from invariant_dask.graph.model import Graph
from invariant_dask.ops import claims
from invariant_dask.ops.registry import OpRegistry, default_registry
from invariant_dask.plan.compile import compile_graph
from invariant_dask.plan.plan import Plan
from invariant_dask.plan.program import Program
from invariant_dask.runtime import code, collector, graph, planner
from invariant_dask.runtime.driver import Driver, Progress, writer
from invariant_dask.runtime.handle import Handle, Outcome, decode_artifact
from invariant_dask.runtime.produce import RunInfo
from invariant_dask.runtime.run import Run
from invariant_dask.runtime.schedulers import scheduler_for
from invariant_dask.store.base import Store
from invariant_dask.store.file_hashes import FileHasher
from invariant_dask.store.opening import Where, open_store

__all__ = ["Compiled", "Progress", "Run", "compile"]


def compile(  # noqa: A001  the verb of this package
    graph: Mapping[str, Vertex],
    outputs: Iterable[str | Ref] | None = None,
    context: Mapping[str, object] | None = None,
    *,
    store: Where | None = None,
    registry: OpRegistry | None = None,
) -> Compiled:
    """Compile a graph into a Dask collection whose keys are manifest digests.

    Parameters
    ----------
    graph
        A `Graph`, or a dict of nodes by id.
    outputs
        Ids to produce, or the markers that `Graph.add` returned. By default all nodes that no
        other depends on.
    context
        External values by name, for markers that name no node.
    store
        A store, or what `open_store` takes. By default `$INVARIANT_STORE` or `.invariant`.
    registry
        Where ops are looked up; by default the one that `@op` fills.

    Returns
    -------
    Compiled
        One output computes to its value, several to a dict of values by id.

    Raises
    ------
    SpecError
        If the graph, its parameters or the outputs are not valid; nothing has run.
    StoreError
        If the store cannot be used.

    Examples
    --------
    >>> from invariant_dask import Graph, MemoryStore
    >>> g = Graph()
    >>> total = g.add("total", "stdlib:add", a=2, b=3)
    >>> compile(g, store=MemoryStore()).compute(scheduler="sync")
    5
    """
    opened = open_store(store)
    chosen = default_registry() if registry is None else registry
    folder = opened.local_folder
    hasher = FileHasher(folder / "files.sqlite" if folder else None)
    compiling = partial(compile_graph, registry=chosen, resolve_file=hasher)
    with collector.paused():
        program = compiling(graph, outputs, context, nonce=os.urandom(NONCE_SIZE))
    if not program.open:
        return Compiled(program, opened)
    # The caller may change the graph before its switches are decided.
    kept, outside = Graph(program.name, graph), dict(context or {})
    return Compiled(program, opened, partial(compiling, kept, program.outputs, outside))


class Compiled(Delayed):  # type: ignore[misc]  # dask is untyped here
    """A compiled graph: a Dask collection with plans.

    It subclasses `Delayed` because that is the only kind of collection that other Dask collections
    take over task by task instead of copying it under random keys.
    """

    __slots__ = ("_complete", "_grow", "program", "store")

    program: Program
    store: Store

    def __init__(
        self, program: Program, store: Store, grow: Callable[..., Program] | None = None
    ) -> None:
        super().__init__(graph.value_key(program), None)
        self.program = program
        self.store = store
        self._grow = grow
        self._complete: graph.DaskGraph | None = None

    # --- what it is ---

    @property
    def digests(self) -> Mapping[str, str]:
        """Planned digest of each node, in hex.

        With several outputs, `<outputs>` names all of them together.
        """
        steps = self.program.steps
        digests = {node: steps[i].planned.hex() for node, i in self.program.index.items()}
        if len(self.program.outputs) > 1:
            digests["<outputs>"] = graph.bundle_hex(self.program)
        return digests

    @property
    def outputs(self) -> tuple[str, ...]:
        """Ids of the outputs."""
        return self.program.outputs

    def __repr__(self) -> str:
        count = len(self.program.index) + len(self.program.inlined)
        return f"<Compiled: {count} nodes -> {', '.join(self.outputs[:4])}; {self.store!r}>"

    def __getattr__(self, name: str) -> Any:
        # Delayed would answer any name with a task that gets that attribute.
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _as_delayed, (self.key, self.dask)

    # --- plain Dask ---

    @property
    def dask(self) -> graph.DaskGraph:
        """The complete graph for plain Dask; its tasks ask the store first.

        Raises
        ------
        StaleCodeError
            If an op, or code it uses, changed since the graph was compiled.
        """
        self._check_decided()
        code.recheck_ops(self.program.steps)
        return self._graph()

    def _graph(self) -> graph.DaskGraph:
        if self._complete is None:
            with collector.paused():
                self._complete = graph.complete_graph(self.program, self.info(""))
        return self._complete

    def frozen(self) -> Delayed:
        """Plan now, and return a plain Dask object for what is left to do.

        Raises
        ------
        StaleCodeError
            If an op that must run, or code it uses, changed since the graph was compiled.
        """
        self._check_decided()
        plan, _ = planner.make_plan(self.program, self.store)
        code.recheck_ops(self.program.steps[index] for index in plan.run)
        return Delayed(self.key, graph.frozen_graph(plan, self.info(""), self._graph()))

    # --- entries that plan ---

    def plan(self, *, rerun: Iterable[str] = ()) -> Plan:
        """Return what would run, what is reused and why; nothing runs.

        Parameters
        ----------
        rerun
            Ids of nodes to run whatever is stored.

        Raises
        ------
        OutputsError
            If `rerun` names an unknown node.
        """
        names = checked_names(rerun)
        program, decisions = self.program, dict[str, str]()
        while program.open:
            stage = program.selectors()
            plan, _ = planner.make_plan(stage, self.store, forced=forced_steps(stage, names))
            values = self._stored_values(plan)
            if values is None:
                return planner.add_causes(plan, self.store)
            assert self._grow is not None
            decisions |= program.decide(values)
            program = self._grow(decisions=decisions)
        check_known(program, names)
        plan, _ = planner.make_plan(program, self.store, forced=forced_steps(program, names))
        return planner.add_causes(plan, self.store)

    def _stored_values(self, plan: Plan) -> dict[str, Any] | None:
        """Return the values of the outputs, or None if any of them takes a run."""
        if plan.run:
            return None
        program = plan.program
        records = {
            node: plan.found[index].record
            for node, index in zip(program.outputs, program.targets, strict=True)
        }
        try:
            fetched = {node: self.store.fetch(record) for node, record in records.items()}
        except ArtifactLostError:
            return None
        return {node: decode_artifact(*stored) for node, stored in fetched.items()}

    def compute(self, *, scheduler: Any = None, rerun: Iterable[str] = (), **options: Any) -> Any:
        """Return the value of the output, or a dict of values by id for several.

        Parameters
        ----------
        scheduler
            As in Dask: `"sync"`, `"threads"`, `"processes"`, a distributed client; also a cluster
            or the address of a scheduler. By default what Dask would use.
        rerun
            Ids of nodes to run whatever is stored.
        **options
            Further options of a local scheduler, such as `num_workers`.

        Raises
        ------
        OpError
            If an op fails; what succeeded before is stored.
        StoreNotSharedError
            If the workers do not see the store.
        SchedulerError
            If the scheduler does not answer.
        """
        values = self._execute(scheduler, rerun, options, None).values
        return values[self.outputs[0]] if len(self.outputs) == 1 else SealedDict(values)

    def run(
        self,
        *,
        scheduler: Any = None,
        rerun: Iterable[str] = (),
        progress: Progress | None = None,
        **options: Any,
    ) -> Run:
        """Run as `compute` does, and return what happened together with the values.

        Parameters
        ----------
        scheduler, rerun, **options
            As for `compute`.
        progress
            Called with the plan, a digest and an outcome whenever a task has finished.

        Raises
        ------
        OpError, StoreNotSharedError, SchedulerError
            As for `compute`.
        """
        return self._execute(scheduler, rerun, options, progress or _ignore)

    def invalidate(self, node: str) -> int:
        """Forget what is stored for a node; return how many entries went."""
        if node not in self.program.index:
            raise OutputsError(f"{node!r} is not a node of this graph")
        return self.store.invalidate(parse_hex(self.digests[node]))

    # --- how it runs ---

    def info(self, run: str) -> RunInfo:
        """Return what all tasks of one submission share."""
        return RunInfo(self.store.ref(), run, writer(), claims.references())

    def _check_decided(self) -> None:
        if self.program.open:
            names = ", ".join(repr(switch.name) for switch in self.program.open)
            msg = (
                f"what switch {names} takes is known only when its selector has been computed, and "
                "plain Dask wants the whole graph before; use .compute() or .run()"
            )
            raise GraphError(msg)

    def _execute(
        self,
        scheduler: Any,
        rerun: Iterable[str],
        options: dict[str, Any],
        progress: Progress | None,
    ) -> Run:
        names = checked_names(rerun)
        if not self.program.open:
            check_known(self.program, names)
        # Ephemeral nodes are new in every run, and this object may be run by several threads.
        nonce = os.urandom(NONCE_SIZE)
        program = self.program.renewed(nonce) if self.program.has_private else self.program
        run = Run(uuid.uuid4().hex, program, time.time_ns())
        decisions: dict[str, str] = {}
        made: dict[PlannedDigest, Handle] = {}
        while program.open:
            assert self._grow is not None
            run.program = program.selectors(forced_steps(program, names))
            self._drive(run, names, made, scheduler, options, progress)
            decisions |= program.decide(run.values)
            program = self._grow(nonce=nonce, decisions=decisions)
            run.values, run.plans = {}, []
        check_known(program, names)
        run.program = program
        self._drive(run, names, made, scheduler, options, progress)
        run.seconds = (time.time_ns() - run.started) / 1e9
        return run

    def _drive(
        self,
        run: Run,
        rerun: Collection[str],
        made: dict[PlannedDigest, Handle],
        scheduler: Any,
        options: dict[str, Any],
        progress: Progress | None,
    ) -> None:
        """Run one program of a run; what it makes is used by the next one of the same run."""
        steps = run.program.steps
        again = forced_steps(run.program, rerun)
        done = {index for index in again if steps[index].planned in made}
        driver = Driver(self.store, run, again - done, progress)
        # What is made from these is stored as it came out some other time.
        driver.void |= done
        driver.start()
        driver.take_over(made)
        if not driver.finished:
            with scheduler_for(scheduler, options) as chosen:
                driver.finish(chosen)
        made.update((steps[index].planned, handle) for index, handle in driver.handles.items())


def checked_names(rerun: Iterable[str]) -> list[str]:
    """Return the ids of nodes to run again."""
    if isinstance(rerun, str):
        raise OutputsError(f"rerun must be a list of node ids; write [{rerun!r}]")
    return list(rerun)


def check_known(program: Program, names: Iterable[str]) -> None:
    """Raise OutputsError if a name is not that of an active node."""
    for name in names:
        if name not in program.index:
            raise OutputsError(f"rerun names {name!r}, which is not among the active nodes")


def forced_steps(program: Program, rerun: Iterable[str]) -> frozenset[int]:
    """Return the steps to run whatever is stored: those asked for, and volatile ones."""
    steps = program.steps
    forced = {program.index[name] for name in rerun if name in program.index}
    forced |= {index for index, step in enumerate(steps) if step.volatile}
    return frozenset(forced)


def _ignore(_plan: Plan, _digest: str, _outcome: Outcome) -> None:
    pass


def _as_delayed(key: str, dsk: graph.DaskGraph) -> Delayed:
    return Delayed(key, dsk)
