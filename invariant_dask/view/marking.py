"""A picture of a plan, and of how far it came: which state each node is in, and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from invariant_dask.errors import OpError
from invariant_dask.plan.plan import Decision, Plan
from invariant_dask.view.outline import Outline, Place, outline
from invariant_dask.view.picture import Kind, Picture, PictureNode
from invariant_dask.view.states import State


class Happened(Protocol):
    """What a run says of one node."""

    @property
    def kind(self) -> str:
        """`ran`, or how its artifact was found."""
        ...

    @property
    def nanoseconds(self) -> int: ...

    @property
    def worker(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Course:
    """How far a plan has been followed, by planned digest in hex."""

    outcomes: Mapping[str, Happened] = field(default_factory=dict)
    running: Collection[str] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    """What failed, with the error in a line."""
    is_over: bool = False
    """Whether nothing more will happen; what did not run turned out not to be needed."""


PLANNED = Course()
"""Nothing has run yet."""

_DECIDED = {
    Decision.RUN: State.TO_RUN,
    Decision.REUSE: State.REUSED,
    Decision.PRUNED: State.PRUNED,
    Decision.INLINE: State.INLINE,
}


def picture_of(
    plan: Plan,
    course: Course = PLANNED,
    *,
    outputs: Collection[str] | None = None,
    summary: str | None = None,
) -> Picture:
    """Return a picture of a plan, with all its nodes.

    Parameters
    ----------
    plan
        What is to be done and why.
    course
        What has been done by now.
    outputs
        What was asked for, if the plan is only for what decides it.
    summary
        The line above; by default that of the plan.

    Notes
    -----
    Values of parameters are not in it, but for those that the reasons of a plan tell.
    """
    asked = plan.program.outputs if outputs is None else outputs
    drawn = outline(plan.program, asked)
    marker = _Marker(plan, course, drawn)
    nodes = tuple(marker.node(number, place) for number, place in enumerate(drawn.places))
    name = plan.program.name
    told = plan.summary() if summary is None else summary
    return Picture(name, told, nodes, tuple(drawn.edges), tuple(drawn.clusters))


def course_after(plan: Plan, error: OpError | None) -> Course:
    """Return how far a plan came, if it was followed until an error, or not yet."""
    if error is None:
        return PLANNED
    told = f"{error.cause_type}: {error.cause_text}"
    failed = {error.digest: told}
    index = plan.program.index.get(error.node)
    if index is not None:  # an ephemeral node had another digest
        failed[plan.program.steps[index].planned.hex()] = told
    return Course(failed=failed)


class _Marker:
    def __init__(self, plan: Plan, course: Course, drawn: Outline) -> None:
        self.plan = plan
        self.course = course
        self.drawn = drawn
        program = plan.program
        self.step_of = [program.index.get(place.name) for place in drawn.places]
        # Of equal nodes the first one in the picture has the work: the plan's depends on how the
        # outputs are sorted.
        self.first: dict[int, str] = {}
        for place, step in zip(drawn.places, self.step_of, strict=True):
            if step is not None and place.kind is Kind.NODE:
                self.first.setdefault(step, place.name)
        self.states: dict[int, State] = {}
        for index in {step for step in self.step_of if step is not None}:
            self.states[index] = self.state_of(index)
        if course.failed:
            self.skip()

    def state_of(self, index: int) -> State:
        digest = self.plan.program.steps[index].planned.hex()
        decision, course = self.plan.decisions[index], self.course
        happened = course.outcomes.get(digest)
        if digest in course.failed:
            return State.FAILED
        if happened is not None:
            return State.RAN if happened.kind == "ran" else State.REUSED
        if digest in course.running:
            return State.RUNNING
        if course.is_over and decision is Decision.RUN and not course.failed:
            return State.REUSED
        return _DECIDED[decision]

    def skip(self) -> None:
        """Mark what will not run because of what failed."""
        steps = self.plan.program.steps
        hopeless: set[int] = set()
        for index in sorted(self.states):  # steps only name steps before them
            state = self.states[index]
            if state is State.FAILED:
                hopeless.add(index)
            elif state is State.TO_RUN and not hopeless.isdisjoint(steps[index].needs):
                hopeless.add(index)
                self.states[index] = State.SKIPPED

    def node(self, number: int, place: Place) -> PictureNode:
        step = self.step_of[number]
        state, notes = self.known(place) if step is None else self.told(place, step)
        return PictureNode(
            place.name, place.label, place.op, place.kind, state, notes,
            place.cluster, number in self.drawn.outputs,
        )  # fmt: skip

    def known(self, place: Place) -> tuple[State, tuple[str, ...]]:
        """Return what there is to say of what is no step."""
        if place.name in self.plan.program.inlined:
            return State.INLINE, ()
        if place.not_taken:
            return State.NOT_TAKEN, ()
        waits = self.plan.undecided.get(place.name)
        if not waits or place.kind is not Kind.SWITCH:
            return State.UNDECIDED, ()
        are = "are" if len(waits) > 1 else "is"
        return State.UNDECIDED, (f"decided once {' and '.join(waits)} {are} known",)

    def told(self, place: Place, index: int) -> tuple[State, tuple[str, ...]]:
        step, state = self.plan.program.steps[index], self.states[index]
        digest = step.planned.hex()
        notes = [f"digest {digest[:12]}"]
        if place.kind is Kind.SWITCH:
            return state, tuple(notes)
        first = self.first[index]
        shares = place.name != first
        if shares and state in {State.TO_RUN, State.RUNNING, State.RAN}:
            return State.SHARED, (*notes, f"the same work as {first}")
        happened = self.course.outcomes.get(digest)
        if state is State.RAN and happened is not None:
            where = f" on {happened.worker}" if happened.worker else ""
            notes.append(f"took {happened.nanoseconds / 1e9:.3g} s{where}")
        if state is State.FAILED:
            notes.append(self.course.failed[digest])
        elif state is State.REUSED and self.plan.decisions[index] is Decision.RUN:
            notes.append("its inputs came out the same")
        else:
            notes.extend(self.plan.causes.get(index) or (self.plan.reasons[index].value,))
        return state, tuple(notes)
