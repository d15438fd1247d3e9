"""Follow a plan to its end: submit, and plan again when what the plan relied on went away."""

from __future__ import annotations

import getpass
import logging
import os
import socket
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from invariant_dask.core.digest import PlannedDigest, parse_hex
from invariant_dask.errors import (
    ArtifactLostError,
    InternalError,
    OpError,
    SchedulerError,
    StaleCodeError,
    StoreUnavailableError,
)
from invariant_dask.ops import claims
from invariant_dask.plan.drift import find_drift
from invariant_dask.plan.plan import Decision, Plan
from invariant_dask.plan.program import Program
from invariant_dask.runtime import code, codes, explaining, graph, planner
from invariant_dask.runtime.handle import Handle, Outcome
from invariant_dask.runtime.known import Known
from invariant_dask.runtime.run import Run
from invariant_dask.runtime.schedulers import HEALTHY, GraphForgottenError, Scheduler
from invariant_dask.runtime.spec import RunInfo
from invariant_dask.runtime.telling import Teller
from invariant_dask.store.backend import merged
from invariant_dask.store.base import Store
from invariant_dask.store.notes import Root

ATTEMPTS = 3
"""How often a run is planned, if the same artifact keeps going away, or keys keep being forgotten.
"""

logger = logging.getLogger("invariant_dask.runtime")

_FOLLOWERS = 4
_WORTH_A_SLICE = 64


def sealed_value(handle: Handle) -> Any:
    """Return the value of an artifact, which refuses to change."""
    return handle.value(sealed=True)


class Driver:
    """Follows one run.

    Parameters
    ----------
    store
        Where artifacts are.
    run
        What is being done; the values and outcomes go in there.
    forced
        Steps to run whatever is stored.
    teller
        Tells of the run; None if nobody wants to know, which is cheaper.
    read
        What to make of the artifact of an output; it may find it lost.
    info
        What tasks share, if somebody else asked for this.
    """

    def __init__(
        self,
        store: Store,
        run: Run,
        forced: frozenset[int],
        teller: Teller | None,
        read: Callable[[Handle], Any] = sealed_value,
        info: RunInfo | None = None,
    ) -> None:
        self.store = store
        self.run = run
        self.program = run.program
        self.forced = forced
        self.teller = teller
        self.read = read
        self.info = info
        self.writer = writer() if info is None else info.writer
        self.void: set[int] = set()
        self.lost: set[bytes] = set()
        self.handles: dict[int, Handle] = {}
        self.slice: dict[int, Handle] = {}
        self.losses: Counter[str] = Counter()
        self.forgotten = 0
        self.known: Known | None = None
        self.root = Root(store, run.id)

    @property
    def finished(self) -> bool:
        """Whether the values of all outputs are there."""
        return len(self.run.values) == len(self.program.outputs)

    def start(self) -> None:
        """Plan, and read the outputs here if all of them are stored."""
        self.make_plan()
        while not self.plan.run and not self.finished:
            self.read_outputs()

    def make_plan(self) -> None:
        if self.known is not None:
            self.known.accept()
        plan, self.void = planner.make_plan(
            self.program, self.store,
            forced=self.forced, void=self.void, lost=self.lost, known=self.known,
        )  # fmt: skip
        self.tell_plan(plan)
        if not self.run.plans:
            _report_drift(plan, self.writer)
        planner.claim_resolved(plan, self.store, self.writer)
        if plan.run:
            # What is only read here is read at once.
            self.root.hold(plan.found[index] for index in plan.reused)
        self.plan = plan
        self.run.plans.append(plan)

    def tell_plan(self, plan: Plan) -> None:
        if self.teller is not None and self.teller.is_awake:
            explaining.add_causes(plan, self.store)
            self.teller.planned(plan, len(self.run.earlier))

    def finish(self, scheduler: Scheduler) -> None:
        """Run what must run, until all outputs are there and agree with each other."""
        try:
            self.follow(scheduler)
        except OpError:
            self.publish_codes()  # of what ran before
            raise
        self.publish_codes()
        self.run.missed = merged([*scheduler.missed, *self.store.barrier()])
        for missed in self.run.missed:
            warnings.warn(f"not all results are where they belong: {missed}", stacklevel=5)

    def publish_codes(self) -> None:
        """Keep how the code reads of what ran, to be compared with when it has changed."""
        ran = (self.program.steps[index] for plan in self.run.plans for index in plan.run)
        ops = {id(step.bound): step.bound for step in ran if not step.private}
        records = codes.publish_codes(self.store, ops.values(), run=self.run.id, writer=self.writer)
        if self.teller is not None and self.teller.is_awake:
            self.teller.put_beside(records)

    def follow(self, scheduler: Scheduler) -> None:
        """Submit what must run, and plan again, until all outputs are there."""
        scheduler.prepare(self.store)
        if self.teller is not None and scheduler.reports_by_event and not self.teller.is_awake:
            self.teller.wake()
            self.tell_plan(self.plan)
        if self.teller is not None:
            self.teller.connect(scheduler.page())
        while not self.finished:
            if not self.plan.run:
                self.read_outputs()
                continue
            try:
                first = self.first_slice()
                self.submit(scheduler, first)
                if first and self.can_plan():
                    continue
                if first:
                    self.submit(scheduler, [])
            except (ArtifactLostError, GraphForgottenError) as error:
                self.plan_around(error)
                continue
            wrong = self.incoherent() - self.void
            if wrong:
                self.void |= wrong
                self.forced = frozenset()  # they have run
                self.make_plan()
            else:
                self.read_outputs()

    def can_plan(self) -> bool:
        """Plan the rest anew; False, with the old plan, if the store does not answer any more."""
        try:
            self.make_plan()
        except StoreUnavailableError as error:
            warnings.warn(f"the run goes on without its store: {error}", stacklevel=2)
            if self.teller is not None and self.teller.is_awake:
                self.teller.store_fails(error)
            return False
        return True

    def incoherent(self) -> set[int]:
        """Return the steps that must not be believed, now that all have run."""
        try:
            return planner.incoherent_after(self.plan, self.store)
        except StoreUnavailableError as error:
            warnings.warn(
                f"whether stored results fit what ran cannot be checked: {error}", stacklevel=2
            )
            return set()

    def plan_around(self, error: Exception) -> None:
        """Plan again without what went away, unless it keeps doing so."""
        self.handles = {}
        if isinstance(error, ArtifactLostError):
            self.note_loss(error)
        else:
            self.forgotten += 1
            if self.forgotten >= ATTEMPTS:
                msg = f"the scheduler forgot tasks of this run {ATTEMPTS} times: {error}"
                raise SchedulerError(msg) from error
        self.make_plan()

    def note_loss(self, error: ArtifactLostError) -> None:
        digest = parse_hex(error.digest)
        self.lost.add(digest)
        self.store.note_loss(digest, error.reason)
        self.losses[error.digest] += 1
        if self.losses[error.digest] >= ATTEMPTS:
            raise error

    def first_slice(self) -> list[int]:
        """Return the steps to run before all else, if what follows may turn out to be stored.

        A step that gives what it gave before makes all that follows it reusable; with everything
        submitted at once, each step would find that out by itself. The rest waits for the slice,
        so this is done once a run, for few steps with many followers, whose ops have a history.
        """
        special = self.forced or self.void or self.lost or self.program.has_private
        if self.known is not None or special:
            return []
        run = self.plan.run
        running, steps = set(run), self.program.steps
        first = [index for index in run if running.isdisjoint(steps[index].needs)]
        following = len(run) - len(first)
        if following < max(_FOLLOWERS * len(first), _WORTH_A_SLICE):
            return []
        running.difference_update(first)
        self.known = Known(self.program, running, self.store)
        if len(self.known.rows) * 2 < following:
            return []
        self.known.missed = {steps[index].planned for index in running}
        return first

    def submit(self, scheduler: Scheduler, only: list[int]) -> None:
        plan = self.plan
        teller = self.teller
        emit = teller.emit if teller is not None and teller.is_awake else None
        code.recheck_ops(self.program.steps[index] for index in plan.run)
        keys = graph.Keys(self.program, getattr(scheduler, "salt", b""))
        must_run = plan.run
        # What was lost may still look as if it were there, where it could not be set aside.
        steps = self.program.steps
        forced = self.forced | {index for index in must_run if steps[index].planned in self.lost}
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
        running = (i for i in self.program.targets if plan.decisions[i] is Decision.RUN)
        work = graph.Work(
            plan, keys, self.info or info_of(self.store, self.run.id),
            wanted=only or list(dict.fromkeys(running)), whole=not only,
            forced=forced, known=known,
            reports=emit is not None and scheduler.reports_by_event,
            given=self.left_of_slice(),
        )  # fmt: skip
        with _own_names(self.program):
            handles = scheduler.execute(work, emit)
        if not only:
            self.handles = dict(zip(work.wanted, handles, strict=True))
        elif handles:  # a cluster keeps them, and finds them by their keys
            self.slice = dict(zip(only, handles, strict=True))

    def left_of_slice(self) -> dict[int, Handle]:
        """Return what the slice made and the store does not keep, once.

        Not if something that it was made from runs again: that may come out differently now.
        """
        made, self.slice = self.slice, {}
        if not made:
            return {}
        run, steps = set(self.plan.run), self.program.steps
        left: dict[int, Handle] = {}
        for index in sorted(run & made.keys()):
            if run.isdisjoint(steps[index].needs):
                run.remove(index)
                left[index] = made[index]
        return left

    def take_over(self, made: Mapping[PlannedDigest, Handle]) -> None:
        """Use what was made before in the same run, where it has to be made."""
        steps = self.program.steps
        self.slice = {i: made[steps[i].planned] for i in self.plan.run if steps[i].planned in made}

    def read_outputs(self) -> None:
        """Fill in the values, or plan again if stored ones turned out to be gone."""
        values: dict[str, Any] = {}
        lost: dict[str, ArtifactLostError] = {}
        for node, index in zip(self.program.outputs, self.program.targets, strict=True):
            handle = self.handles.get(index) or self.stored(index)
            try:
                values[node] = self.read(handle)
            except ArtifactLostError as error:
                lost[error.digest] = error
        if not lost:
            self.run.values = values
            return
        for loss in lost.values():
            self.note_loss(loss)
        self.handles = {}
        self.make_plan()

    def stored(self, index: int) -> Handle:
        found = self.plan.found.get(index)
        step = self.program.steps[index]
        if found is None:
            raise InternalError(f"node {step.node!r} was neither run nor found")
        record = found.record
        return Handle(
            step.planned, record.descriptor, record.kind, record.size,
            Outcome("stored"), self.store.ref(), record, keeps=True,
        )  # fmt: skip


@contextmanager
def _own_names(program: Program) -> Iterator[None]:
    """Tell failures under the node ids of this graph: equal nodes of two graphs share a task."""
    try:
        yield
    except OpError as error:
        nodes = {step.planned.hex(): step.node for step in program.steps}
        node = nodes.get(error.digest, error.node)
        if node == error.node:
            raise
        raise error.renamed(node) from error.__cause__


def _report_drift(plan: Plan, me: str) -> None:
    """Warn of code that changed under one version; somebody else's results are an error."""
    for drift in find_drift(plan):
        if drift.policy == "error" or drift.writer != me:
            raise StaleCodeError(str(drift))
        warnings.warn(str(drift), stacklevel=6)


def writer() -> str:
    """Return who makes artifacts here, as records say it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def info_of(store: Store, run: str) -> RunInfo:
    """Return what all tasks of one submission share."""
    return RunInfo(store.ref(), run, writer(), claims.references(), store.leases)
