"""Tell of a run: what was asked, what was planned, how each node fared, how it ended.

What nodes tell comes from where they are produced; the rest is made here. Everything goes to the
run itself first (its outcomes, its progress callback), then to the recorder of its ledger.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from invariant_dask.errors import OpError
from invariant_dask.ledger.events import (
    Event,
    NodeCancelled,
    NodeFailed,
    NodeFinished,
    NodePlanned,
    NodeReused,
    NodeSkipped,
    RunEnded,
    RunPlanned,
    RunStarted,
    StoreHit,
    StorePut,
    TierDown,
    cut,
)
from invariant_dask.ledger.folding import RunState
from invariant_dask.plan.plan import Decision, Plan
from invariant_dask.runtime.handle import Outcome
from invariant_dask.runtime.run import Run
from invariant_dask.runtime.watching import Watch, watching

if TYPE_CHECKING:
    from invariant_dask.ledger.recorder import Recorder, Sink
    from invariant_dask.runtime.outbox import Page
    from invariant_dask.store.base import Store
    from invariant_dask.store.record import Record

logger = logging.getLogger("invariant_dask.runtime")

Progress = Callable[[Plan, str, Outcome], None]
"""Called with the plan, a planned digest in hex and an outcome whenever a task has finished."""


class Teller:
    """Tells of one run.

    Parameters
    ----------
    run
        What is told of.
    store
        Where its artifacts are.
    recorder
        Takes the events.
    asked
        What the run was asked for: fields of `RunStarted`.
    progress
        Told of each finished task.
    sinks
        Where events go once there are any.
    """

    def __init__(
        self,
        run: Run,
        store: Store,
        recorder: Recorder,
        asked: Mapping[str, Any],
        progress: Progress | None = None,
        sinks: Callable[[], Mapping[str, Sink]] = dict,
    ) -> None:
        self.run = run
        self.store = store
        self.recorder = recorder
        self.progress = progress
        self.is_awake = False
        self._asked = asked
        self._sinks = sinks
        self._plans: list[Plan] = []
        self._page: Page | None = None
        self._unsent: list[Event] = []
        self._has_ended = False

    def wake(self) -> None:
        """Begin to tell. A run that nobody asked about sleeps until it meets a cluster."""
        if self.is_awake:
            return
        self.is_awake = True
        for name, sink in self._sinks().items():
            self.recorder.add(name, sink)
        self.recorder.start()
        about = {**self.now, "time": self.run.started}
        self.say(RunStarted(**about, **self._asked))

    def connect(self, page: Page | None) -> None:
        """Tell the dashboard of a cluster too, also of what was told before."""
        self._page = page
        self._send()

    def say(self, event: Event) -> None:
        """Tell something that no worker knows of."""
        self.recorder.emit(event)
        self._unsent.append(event)

    def _send(self) -> None:
        if self._page is not None:
            unsent, self._unsent = self._unsent, []
            self._page.send(unsent)

    @property
    def now(self) -> dict[str, Any]:
        """The fields that all events share."""
        return {"time": time.time_ns(), "run": self.run.id}

    def watching(self) -> AbstractContextManager[None]:
        """Tell of trouble with stores that comes up in a block."""
        return watching(Watch(self.recorder.emit, self.run.id))

    def emit(self, event: Event) -> None:
        """Take an event of a node, from wherever it was produced."""
        self.recorder.emit(event)
        if isinstance(event, NodeFinished):
            outcome = Outcome("ran", event.nanoseconds, event.worker, event.attempt)
        elif isinstance(event, NodeReused):
            outcome = Outcome("stored" if event.by == "planned" else "same inputs")
        else:
            return
        previous = self.run.outcomes.get(event.digest)
        if previous is None or previous.kind != "ran":
            self.run.outcomes[event.digest] = outcome
        if self.progress is None:
            return
        try:
            self.progress(self.run.plan, event.digest, outcome)
        except Exception:
            # An observer must not break what it observes.
            self.progress = None
            logger.exception("the progress callback failed and is not called again")

    def planned(self, plan: Plan, stage: int) -> None:
        """Tell of a plan: of each node that runs or is reused, and how many there are."""
        self._plans.append(plan)
        counts = plan.counts()
        self.say(
            RunPlanned(
                **self.now, stage=stage, nodes=len(plan), to_run=counts[Decision.RUN],
                shared=plan.shared, reused=counts[Decision.REUSE],
                not_looked_at=counts[Decision.PRUNED], inline=counts[Decision.INLINE],
                undecided=len(plan.undecided),
                to_load=plan.cost.load_bytes if plan.cost else 0,
                expected=round(plan.cost.seconds * 1e9) if plan.cost else 0,
            )
        )  # fmt: skip
        steps = plan.program.steps
        for planned in plan.nodes():
            if planned.decision not in {Decision.RUN, Decision.REUSE} or planned.digest is None:
                continue
            index = plan.program.index[planned.node]
            about = {**self.now, "node": planned.node, "digest": planned.digest.hex()}
            self.say(
                NodePlanned(
                    **about, op=planned.op, decision=planned.decision.value,
                    reason=planned.reason.value, causes=tuple(map(cut, planned.causes)),
                    inputs=tuple(steps[source].node for source in steps[index].needs),
                    shares=planned.shares or "",
                )
            )  # fmt: skip
            if planned.decision is Decision.REUSE:
                self._reused(about, planned.op, plan, index)
        self._send()

    def _reused(self, about: dict[str, Any], op: str, plan: Plan, index: int) -> None:
        found = plan.found[index]
        record = found.record
        by = "resolved" if index in plan.by_resolved else "planned"
        tier = found.tier or self.store.url
        self.say(StoreHit(**about, by=by, tier=tier, size=record.size))
        self.say(
            NodeReused(
                **about, op=op, by=by, artifact=record.hash.hex(), type=record.kind,
                size=record.size, saved=record.about.nanoseconds,
            )
        )  # fmt: skip

    def put_beside(self, records: Iterable[Record]) -> None:
        """Tell what went into the store that is no node's artifact."""
        for record in records:
            about = {**self.now, "node": "", "digest": record.resolved.hex()}
            self.say(StorePut(**about, size=record.size, tier=self.store.url))

    def store_fails(self, error: Exception) -> None:
        """Tell that the store does not answer any more."""
        self.say(TierDown(**self.now, tier=self.store.url, reason=cut(str(error))))

    def ended(self, error: BaseException | None) -> RunState:
        """Tell how the run ended, and what became of nodes that nobody told of; return the state.

        Raises
        ------
        ObserverError
            If the run is strict, ended well, and an observer failed.
        """
        if self._has_ended:
            return self.recorder.state
        self._has_ended = True
        if isinstance(error, OpError):
            self.say(
                NodeFailed(
                    **self.now, node=error.node, digest=error.digest, op=error.op,
                    error=cut(_told(error)), traceback=cut(error.traceback_text),
                )
            )  # fmt: skip
        self.recorder.flush()
        for event in self._rest(error):
            self.say(event)
        state = "finished"
        if error is not None:
            state = "failed" if isinstance(error, Exception) else "cancelled"
        told = "" if error is None else cut(f"{type(error).__name__}: {error}")
        seconds = time.time_ns() - self.run.started
        self.say(RunEnded(**self.now, state=state, nanoseconds=seconds, error=told))
        self._send()
        self._page = None
        self._unsent = []
        return self.recorder.flush()

    def _rest(self, error: BaseException | None) -> Iterable[Event]:
        """Yield what is to be told of nodes that have no end yet."""
        state = self.recorder.state
        failed = error.node if isinstance(error, OpError) else ""
        downstream = self._below(failed) if failed else set()
        for name, node in list(state.nodes.items()):
            if node.outcome is not None or node.decision == Decision.REUSE.value:
                continue
            about = {**self.now, "node": name, "digest": node.digest}
            owner = state.nodes.get(node.shares, node)  # who does the work
            if owner.state in {"ran", "reused"}:
                yield NodeReused(
                    **about, op=node.op, by="shared" if owner.state == "ran" else owner.by,
                    artifact=owner.artifact, type=owner.type, size=owner.size,
                )  # fmt: skip
            elif error is None:
                yield NodeReused(**about, op=node.op, by="scheduler")
            elif owner.state == "failed":
                yield NodeFailed(**about, op=node.op, error=owner.error)
            elif owner.node in downstream:
                yield NodeSkipped(**about, because=failed)
            else:
                yield NodeCancelled(**about)

    def _below(self, failed: str) -> set[str]:
        """Return the ids of the nodes that cannot run without one."""
        below: set[str] = set()
        for plan in self._plans:
            program = plan.program
            if failed in program.index:
                steps = program.descendants([program.index[failed]])
                below |= {node for node, index in program.index.items() if index in steps}
        return below


def _told(error: OpError) -> str:
    return f"{error.cause_type}: {error.cause_text}" if error.cause_type else str(error)
