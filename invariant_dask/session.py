"""The one orchestrator: compile a graph into a Dask collection, plan it, run it, record it.

`Compiled` is a Dask collection like any other (`dask.compute`, `client.compute`, `.persist`,
`dask.delayed` take it), and has entries of its own that plan first: `.compute()`, `.run()`,
`.plan()`.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from dask.delayed import Delayed

from invariant_dask.core.digest import parse_hex
from invariant_dask.core.sealed import SealedDict
from invariant_dask.errors import (
    OutputsError,
)
from invariant_dask.graph.markers import Ref
from invariant_dask.graph.model import Node
from invariant_dask.ops.registry import OpRegistry, default_registry
from invariant_dask.plan.compile import compile_graph
from invariant_dask.plan.plan import Plan
from invariant_dask.plan.program import Program
from invariant_dask.runtime import code, collector, graph, planner
from invariant_dask.runtime.driver import Driver, Progress, writer
from invariant_dask.runtime.handle import Outcome
from invariant_dask.runtime.produce import RunInfo
from invariant_dask.runtime.run import Run
from invariant_dask.runtime.schedulers import scheduler_for
from invariant_dask.store.base import Store
from invariant_dask.store.disk import DiskStore
from invariant_dask.store.files import FileHasher
from invariant_dask.store.opening import open_store

__all__ = ["Compiled", "Progress", "Run", "compile"]


def compile(  # noqa: A001  the verb of this package
    graph: Mapping[str, Node],
    outputs: Iterable[str | Ref] | None = None,
    context: Mapping[str, object] | None = None,
    *,
    store: Store | str | os.PathLike[str] | None = None,
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
    hasher = FileHasher(Path(opened.url, "files.sqlite") if isinstance(opened, DiskStore) else None)
    if isinstance(outputs, Iterable) and not isinstance(outputs, str | bytes):
        outputs = tuple(outputs)  # a generator must survive being compiled twice

    def draw() -> Program:
        with collector.paused():
            return compile_graph(
                graph, outputs, context,
                registry=chosen, resolve_file=hasher, nonce=os.urandom(16),
            )  # fmt: skip

    return Compiled(draw(), opened, draw)


class Compiled(Delayed):  # type: ignore[misc]  # dask is untyped here
    """A compiled graph: a Dask collection with plans.

    It subclasses `Delayed` because that is the only kind of collection that other Dask collections
    take over task by task instead of copying it under random keys.
    """

    __slots__ = ("_complete", "_draw", "program", "store")

    program: Program
    store: Store

    def __init__(self, program: Program, store: Store, draw: Callable[[], Program]) -> None:
        super().__init__(graph.value_key(program), None)
        self.program = program
        self.store = store
        self._draw = draw
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
        code.recheck_ops(self.program.steps)
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
        plan, _ = planner.make_plan(self.program, self.store)
        code.recheck_ops(self.program.steps[index] for index in plan.run)
        return Delayed(self.key, graph.frozen_graph(plan, self.info("")))

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
        plan, _ = planner.make_plan(self.program, self.store, forced=self._forced(rerun))
        return planner.add_causes(plan, self.store)

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
        return RunInfo(self.store.ref(), run, writer())

    def _forced(self, rerun: Iterable[str]) -> frozenset[int]:
        if isinstance(rerun, str):
            raise OutputsError(f"rerun must be a list of node ids; write [{rerun!r}]")
        unknown = [node for node in rerun if node not in self.program.index]
        if unknown:
            raise OutputsError(f"rerun names {unknown[0]!r}, which is not among the active nodes")
        return frozenset(self.program.index[node] for node in rerun)

    def _execute(
        self,
        scheduler: Any,
        rerun: Iterable[str],
        options: dict[str, Any],
        progress: Progress | None,
    ) -> Run:
        forced = self._forced(rerun)
        # Ephemeral nodes are new in every run, and this object may be run by several threads.
        program = self._draw() if self.program.has_private else self.program
        run = Run(uuid.uuid4().hex, program, time.time_ns())
        driver = Driver(self.store, run, forced, progress)
        driver.start()
        if not driver.finished:
            with scheduler_for(scheduler, options) as chosen:
                driver.finish(chosen)
        run.seconds = (time.time_ns() - run.started) / 1e9
        return run


def _ignore(_plan: Plan, _digest: str, _outcome: Outcome) -> None:
    pass


def _as_delayed(key: str, dsk: graph.DaskGraph) -> Delayed:
    return Delayed(key, dsk)
