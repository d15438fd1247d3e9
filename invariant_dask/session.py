"""The one orchestrator: compile a graph into a Dask collection, plan it, run it, record it.

`Compiled` is a Dask collection like any other (`dask.compute`, `client.compute`, `.persist`,
`dask.delayed` take it), and has entries of its own that plan first: `.compute()`, `.run()`,
`.plan()`.
"""

from __future__ import annotations

import getpass
import os
import socket
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dask.delayed import Delayed

from invariant_dask.core.digest import parse_hex
from invariant_dask.core.sealed import SealedDict
from invariant_dask.errors import (
    ArtifactLostError,
    InternalError,
    OpError,
    OutputsError,
    SchedulerError,
    StaleCodeError,
)
from invariant_dask.graph.model import Node
from invariant_dask.ops.registry import OpRegistry, default_registry
from invariant_dask.plan.compile import compile_graph
from invariant_dask.plan.drift import find_drift
from invariant_dask.plan.plan import Decision, Plan
from invariant_dask.plan.program import Program
from invariant_dask.runtime import code, graph, planner
from invariant_dask.runtime.drive import (
    HEALTHY,
    GraphForgottenError,
    Scheduler,
    scheduler_for,
)
from invariant_dask.runtime.handle import Handle, Outcome
from invariant_dask.runtime.task import RunInfo
from invariant_dask.store.base import Store
from invariant_dask.store.disk import DiskStore
from invariant_dask.store.files import FileHasher
from invariant_dask.store.opening import open_store

ATTEMPTS = 3
"""How often a run is planned, if artifacts or keys it relies on keep going away."""

Progress = Callable[["Plan", str, Outcome], None]


def compile(  # noqa: A001  the verb of this package
    graph: Mapping[str, Node],
    outputs: Iterable[str] | None = None,
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
        Ids to produce. By default all nodes that no other depends on.
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
        """The complete graph for plain Dask; its tasks ask the store first."""
        if self._complete is None:
            self._complete = graph.complete_graph(self.program, self.info(""))
        return self._complete

    def frozen(self) -> Delayed:
        """Plan now, and return a plain Dask object for what is left to do."""
        plan, _ = planner.make_plan(self.program, self.store)
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
        return RunInfo(self.store.ref(), run, _writer())

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
        if self.program.has_private:
            # Ephemeral nodes are new in every run.
            self.program = self._draw()
        forced = self._forced(rerun)
        run = Run(uuid.uuid4().hex, self.program, time.time_ns())
        driver = _Driver(self, run, forced, progress)
        driver.first_plan()
        if driver.needs_scheduler:
            with scheduler_for(scheduler, options) as chosen:
                driver.finish(chosen)
        run.seconds = (time.time_ns() - run.started) / 1e9
        return run


def _ignore(_plan: Plan, _digest: str, _outcome: Outcome) -> None:
    pass


def _report_drift(plan: Plan) -> None:
    """Warn of code that changed under one version; somebody else's results are an error."""
    for drift in find_drift(plan):
        if drift.policy == "error" or drift.writer != _writer():
            raise StaleCodeError(str(drift))
        warnings.warn(str(drift), stacklevel=6)


def _as_delayed(key: str, dsk: graph.DaskGraph) -> Delayed:
    return Delayed(key, dsk)


def _writer() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


@dataclass
class Run:
    """One execution: the plan that was followed, what happened to each node, the values."""

    id: str
    program: Program
    started: int
    """Nanoseconds since the epoch."""
    seconds: float = 0.0
    values: dict[str, Any] = field(default_factory=dict)
    """Sealed value of each output."""
    plans: list[Plan] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """What happened to the nodes that got a task, by planned digest in hex."""

    @property
    def plan(self) -> Plan:
        """The plan that was followed; the first one, if it had to be made anew."""
        return self.plans[0]

    def ran(self) -> list[str]:
        """Return the ids of the nodes whose op was called."""
        return self._with("ran")

    def _with(self, kind: str) -> list[str]:
        hits = {digest for digest, outcome in self.outcomes.items() if outcome.kind == kind}
        steps = self.program.steps
        return [n for n, i in self.program.index.items() if steps[i].planned.hex() in hits]

    def counts(self) -> dict[str, int]:
        """Return how many nodes `ran`, were `reused` and were `pruned`."""
        planned = self.plan.counts()
        ran = len(self.ran())
        pruned = planned[Decision.PRUNED]
        total = len(self.program.index)
        return {"ran": ran, "reused": total - ran - pruned, "pruned": pruned}

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {what}" for what, count in self.counts().items())
        return f"<Run {self.id[:8]}: {counts} in {self.seconds:.2f} s>"


class _Driver:
    """Plans, submits, and plans again when what a plan relied on went away."""

    def __init__(
        self, compiled: Compiled, run: Run, forced: frozenset[int], progress: Progress | None
    ) -> None:
        self.compiled = compiled
        self.program = compiled.program
        self.store = compiled.store
        self.run = run
        self.forced = forced
        self.progress = progress
        self.void: set[int] = set()
        self.lost: set[bytes] = set()
        self.handles: dict[int, Handle] = {}
        self.attempts = 0

    @property
    def needs_scheduler(self) -> bool:
        return len(self.run.values) < len(self.program.outputs)

    def first_plan(self) -> None:
        """Plan, and read the outputs here if all of them are stored."""
        self.make_plan()
        while not self.plan.steps(Decision.RUN) and self.needs_scheduler:
            if self.read_outputs():
                return
            self.make_plan()

    def make_plan(self) -> None:
        plan, self.void = planner.make_plan(
            self.program, self.store, forced=self.forced, void=self.void, lost=self.lost
        )
        if self.progress is not None:
            planner.add_causes(plan, self.store)
        if not self.run.plans:
            _report_drift(plan)
        planner.claim_resolved(plan, self.store, _writer())
        self.plan = plan
        self.run.plans.append(plan)

    def finish(self, scheduler: Scheduler) -> None:
        """Run what must run, until all outputs are there and agree with each other."""
        scheduler.prepare(self.store)
        for bound in {id(s.bound): s.bound for s in self.program.steps}.values():
            code.recheck(bound)
        while self.needs_scheduler:
            try:
                self.submit(scheduler)
            except (ArtifactLostError, GraphForgottenError) as error:
                self.note_loss(error)
                self.make_plan()
                continue
            wrong = planner.incoherent_after(self.plan, self.store) - self.void
            if wrong:
                self.void |= wrong
                self.forced = frozenset()  # they ran
                self.make_plan()
            elif not self.read_outputs():
                self.make_plan()

    def note_loss(self, error: Exception) -> None:
        self.attempts += 1
        if isinstance(error, ArtifactLostError):
            if self.attempts >= ATTEMPTS * 10:
                raise error
            self.lost.add(parse_hex(error.digest))
        elif self.attempts >= ATTEMPTS:
            msg = f"the scheduler forgot tasks of this run {ATTEMPTS} times: {error}"
            raise SchedulerError(msg) from error

    def submit(self, scheduler: Scheduler) -> None:
        plan = self.plan
        keys = graph.Keys(self.program, getattr(scheduler, "salt", b""))
        must_run = plan.steps(Decision.RUN)
        tainted = set(self.forced) | self.void
        tainted |= self.program.descendants(tainted) if tainted else set()
        states = scheduler.known([keys.of(index) for index in (*must_run, *plan.loads)])
        known = {key for key, state in states.items() if state in HEALTHY}
        if self.lost:
            # Under the old keys a scheduler may still know the tasks that found nothing.
            keys, known = graph.Keys(self.program, os.urandom(16)), set()
        elif any(keys.of(index) in states for index in tainted):
            # The scheduler still has an older result, or an older task, under these keys.
            keys = graph.Keys(self.program, os.urandom(16), None if keys.salt else tainted)
        wanted = [i for i in self.program.targets if plan.decisions[i] is Decision.RUN]
        wanted = list(dict.fromkeys(wanted))
        dsk = graph.planned_graph(
            plan, keys, self.compiled.info(self.run.id),
            forced=self.forced, known=known,
            reports=self.progress is not None and scheduler.reports_by_event,
        )  # fmt: skip
        with self.renaming():
            report = self.report if self.progress is not None else None
            handles = scheduler.execute(dsk, [keys.of(index) for index in wanted], report)
        self.handles = dict(zip(wanted, handles, strict=True))

    def renaming(self) -> _Renaming:
        return _Renaming(self.program)

    def report(self, digest: str, outcome: Outcome, run: str | None = None) -> None:
        if run is not None and run != self.run.id:
            return
        previous = self.run.outcomes.get(digest)
        if previous is None or previous.kind != "ran":
            self.run.outcomes[digest] = outcome
        if self.progress is not None:
            self.progress(self.plan, digest, outcome)

    def read_outputs(self) -> bool:
        """Fill in the values; return False if a stored one turned out to be gone."""
        values: dict[str, Any] = {}
        for node, index in zip(self.program.outputs, self.program.targets, strict=True):
            handle = self.handles.get(index)
            try:
                if handle is None:
                    handle = self.stored_handle(index)
                values[node] = handle.value(sealed=True)
            except ArtifactLostError as error:
                self.note_loss(error)
                self.handles = {}
                return False
        self.run.values = values
        return True

    def stored_handle(self, index: int) -> Handle:
        step = self.program.steps[index]
        found = self.plan.found.get(index)
        if found is None:
            raise InternalError(f"node {step.node!r} was neither run nor found")
        record = found.record
        return Handle(
            step.planned, record.descriptor, record.kind, record.size, Outcome("stored"),
            self.store.ref(), record,
        )  # fmt: skip


class _Renaming:
    """Tells failures under the node ids of this graph: equal nodes of two graphs share a task."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, OpError):
            return
        planned = {step.planned.hex(): step.node for step in self.program.steps}
        node = planned.get(error.digest, error.node)
        if node != error.node:
            raise error.renamed(node) from error.__cause__
