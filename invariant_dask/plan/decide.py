"""Decide what must run: outputs first, and only what they need.

`decide` is a generator without input or output: it yields batches of digests to look up and is
sent what was found. Rounds are few, because a batch may probe ahead: as many nodes below a miss as
probes were useful so far, so a chain of any depth takes a logarithmic number of rounds and a hit
at the root costs one look-up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Generator, Iterable, Mapping
from typing import Any, Protocol

from invariant_dask.core.decode import decode
from invariant_dask.core.digest import PlannedDigest
from invariant_dask.errors import ExpressionError, IntegrityError, NotCacheableError
from invariant_dask.ops.surroundings import FixedSurroundings
from invariant_dask.plan.payload import ValueUnknownError
from invariant_dask.plan.plan import Decision, Plan, Reason
from invariant_dask.plan.program import Program


class HasDescriptor(Protocol):
    """The part of a stored record that planning reads."""

    @property
    def descriptor(self) -> bytes: ...

    @property
    def storage(self) -> bytes | None: ...

    @property
    def is_plain(self) -> bool: ...


class Hit(Protocol):
    """What a store answers for a digest it holds."""

    @property
    def record(self) -> HasDescriptor: ...


def inline_value(record: HasDescriptor) -> Any:
    """Return the value of an artifact that its record holds.

    Raises
    ------
    ValueUnknownError
        If the bytes are elsewhere, or take more to verify than the record.
    """
    if record.storage is None or not record.is_plain:
        raise ValueUnknownError
    return decode(record.storage)


class ResolvedBatch(list[bytes]):
    """A batch of resolved digests; other batches are of planned ones."""


Answers = Mapping[bytes, Hit]
Questions = Generator[list[bytes], Answers, Plan]


def decide(
    program: Program,
    *,
    forced: Collection[int] = (),
    void: Collection[int] = (),
    lost: Collection[bytes] = (),
) -> Questions:
    """Decide what to do with each step of a program.

    Parameters
    ----------
    program
        The compiled graph.
    forced
        Steps to run whatever is stored. What depends on them is reused only if they produce what
        it was made from.
    void
        Steps whose planned entry is not to be believed in this run (see `plan.coherence`); they
        are reused by resolved digest only, and so is what depends on them.
    lost
        Planned digests whose artifacts turned out to be gone.

    Yields
    ------
    list of bytes
        Digests to look up; the answer has those that were found.

    Returns
    -------
    Plan
        A decision and a reason for each step.
    """
    search = _Search(program, set(forced), set(void), set(lost))
    yield from search.downwards()
    yield from search.forwards()
    return search.plan()


class _Search:
    def __init__(
        self, program: Program, forced: set[int], void: set[int], lost: set[bytes]
    ) -> None:
        self.program = program
        self.steps = program.steps
        self.forced = forced
        self.lost = lost
        self.found: dict[int, Hit] = {}
        self.by_resolved: set[int] = set()
        self.probed: set[int] = set()
        self.missed: set[int] = set()
        # Steps that must not be believed by planned digest.
        self.blocked = forced | void
        if self.blocked:
            self.blocked |= program.descendants(self.blocked)

    def downwards(self) -> Generator[list[bytes], Answers, None]:
        """Look up planned digests from the outputs on, descending into misses only."""
        needed = deque(dict.fromkeys(self.program.targets))
        reached = set(needed)
        useful = 0
        while needed:
            batch = self.ahead(needed, len(needed) + useful)
            questions: list[bytes] = [self.steps[i].planned for i in batch if self.may_ask(i)]
            answers = (yield questions) if questions else {}
            self.probed.update(batch)
            for index in batch:
                hit = answers.get(self.steps[index].planned)
                if hit is not None and self.steps[index].planned not in self.lost:
                    self.found[index] = hit
            waiting: deque[int] = deque()
            while needed:
                index = needed.popleft()
                if index not in self.probed:
                    waiting.append(index)
                elif index not in self.found:
                    useful += 1
                    self.missed.add(index)
                    new = [source for source in self.steps[index].needs if source not in reached]
                    reached.update(new)
                    needed.extend(new)
            needed = waiting

    def ahead(self, needed: Iterable[int], limit: int) -> list[int]:
        """Return the needed steps, and up to `limit` in all with those below them."""
        batch = list(needed)
        taken = set(batch)
        for index in batch:  # grows while it is walked: breadth first
            if len(batch) >= limit:
                break
            for source in self.steps[index].needs:
                if source not in taken and source not in self.probed:
                    taken.add(source)
                    batch.append(source)
        return batch

    def may_ask(self, index: int) -> bool:
        return index not in self.blocked and not self.steps[index].private

    def forwards(self) -> Generator[list[bytes], Answers, None]:
        """Resolve missed steps whose inputs are stored, and look them up by resolved digest."""
        found = self.found
        users: dict[int, list[int]] = {}
        unknown: dict[int, int] = {}  # how many inputs of a step are not known to be stored
        candidates = []
        for index in sorted(filter(self.may_resolve, self.missed)):
            sources = [source for source in self.steps[index].inputs if source not in found]
            for source in sources:
                users.setdefault(source, []).append(index)
            unknown[index] = len(sources)
            if not sources:
                candidates.append(index)
        while candidates:
            asked: dict[bytes, list[int]] = {}
            for index in candidates:
                digest = self.resolve(index)
                if digest is not None:
                    asked.setdefault(digest, []).append(index)
            answers = yield ResolvedBatch(asked)
            candidates = []
            for digest, hit in answers.items():
                for index in asked.get(digest, ()):
                    found[index] = hit
                    self.by_resolved.add(index)
                    for user in users.get(index, ()):
                        unknown[user] -= 1
                        if not unknown[user]:
                            candidates.append(user)
        self.missed -= self.by_resolved

    def may_resolve(self, index: int) -> bool:
        """Return whether a missed step may be found by its resolved digest."""
        step = self.steps[index]
        return not (
            (step.settled and index not in self.blocked)  # the same digest missed already
            or step.private
            or index in self.forced
            or step.planned in self.lost
        )

    def resolve(self, index: int) -> bytes | None:
        """Return the resolved digest, or None if that takes more than records say."""
        step = self.steps[index]
        records = [self.found[source].record for source in step.inputs]
        descriptors = [record.descriptor for record in records]
        if not step.derives:
            return step.resolve(descriptors)
        try:
            with FixedSurroundings():
                return step.resolve(descriptors, lambda i: inline_value(records[i]))
        except (ValueUnknownError, ExpressionError, NotCacheableError, IntegrityError):
            # The task finds out, and what is wrong is told there.
            return None

    def plan(self) -> Plan:
        """Walk from the outputs through what must run; everything else is pruned."""
        count = len(self.steps)
        decisions = [Decision.PRUNED] * count
        reasons = [Reason.NOT_NEEDED] * count
        run: list[int] = []
        reused: list[int] = []
        stack = list(self.program.targets)
        while stack:
            index = stack.pop()
            if decisions[index] is not Decision.PRUNED:
                continue
            if index in self.found:
                decisions[index] = Decision.REUSE
                reused.append(index)
                resolved = index in self.by_resolved
                reasons[index] = Reason.SAME_INPUTS if resolved else Reason.STORED
            else:
                decisions[index] = Decision.RUN
                run.append(index)
                stack.extend(self.steps[index].needs)
        run.sort()
        reused.sort()
        for index in run:
            reasons[index] = self.reason(index, self.steps[index].planned, decisions)
        return Plan(self.program, decisions, reasons, self.found, self.by_resolved, run, reused)

    def reason(self, index: int, planned: PlannedDigest, decisions: list[Decision]) -> Reason:
        step = self.steps[index]
        if index in self.forced:
            return Reason.VOLATILE if step.volatile else Reason.FORCED
        if step.private:
            return Reason.EPHEMERAL
        if planned in self.lost:
            return Reason.LOST
        if any(decisions[source] is Decision.RUN for source in step.inputs):
            return Reason.FOLLOWS
        return Reason.NOT_STORED
