"""Plan against a store: ask what `plan.decide` wants to know, and make the result consistent."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from invariant_dask.core.digest import ArtifactHash
from invariant_dask.errors import InternalError
from invariant_dask.plan import coherence
from invariant_dask.plan.decide import ResolvedBatch, decide
from invariant_dask.plan.plan import Decision, Plan, Reason
from invariant_dask.plan.program import Program
from invariant_dask.runtime.known import Known
from invariant_dask.store.base import Store

_ROUNDS = 4


def make_plan(
    program: Program,
    store: Store,
    *,
    forced: Collection[int] = (),
    void: Collection[int] = (),
    lost: Collection[bytes] = (),
    known: Known | None = None,
) -> tuple[Plan, set[int]]:
    """Return a plan, and the steps whose planned entries were found to be void.

    Parameters
    ----------
    program
        The compiled graph.
    store
        Where to look.
    forced, void, lost
        As for `plan.decide.decide`.
    known
        Stored records that were read already.
    """
    distrusted = set(void)
    while True:
        plan = _ask(program, store, forced, distrusted, lost, known)
        entries = {
            index: plan.found[index].entry
            for index in plan.reused
            if plan.found[index].entry is not None
        }
        wrong = coherence.contradictions(plan, coherence.used_hashes(plan), entries) - distrusted
        if not wrong:
            return plan, distrusted
        distrusted |= wrong


def make_open_plan(program: Program, store: Store, forced: Collection[int] = ()) -> Plan:
    """Return a plan for what is certain of a program whose open switches take a run to decide.

    Parameters
    ----------
    program
        The compiled graph, with open switches.
    store
        Where to look.
    forced
        Steps to run whatever is stored.
    """
    stage = program.selectors(forced)
    sure = [
        program.steps[program.index[output]].node
        for output in program.outputs
        if output in program.index
    ]
    outputs = tuple(dict.fromkeys([*stage.outputs, *sure]))
    plan, _ = make_plan(replace(stage, outputs=outputs), store, forced=forced)
    for index, decision in enumerate(plan.decisions):
        if decision is Decision.PRUNED:
            plan.reasons[index] = Reason.UNDECIDED
    undecided = {
        switch.name: tuple(program.steps[index].node for index in switch.inputs)
        for switch in program.open
    }
    switches = tuple(undecided)
    for output in program.outputs:
        if output not in program.index and output not in undecided:
            undecided[output] = switches
    plan.undecided = undecided
    return plan


def _ask(
    program: Program,
    store: Store,
    forced: Collection[int],
    void: Collection[int],
    lost: Collection[bytes],
    known: Known | None,
) -> Plan:
    questions = decide(program, forced=forced, void=void, lost=lost)
    rounds = 0
    try:
        batch = next(questions)
        while True:
            if not isinstance(batch, ResolvedBatch):
                missed = known.missed if known else ()
                batch = questions.send(store.lookup(d for d in batch if d not in missed))
                continue
            rounds += 1
            if known is None and rounds > _ROUNDS:
                # One stored result leads to the next: reading ahead beats asking one by one.
                known = Known(program, range(len(program.steps)), store)
            if known is None:
                batch = questions.send(store.lookup(batch))
            else:
                answers = ((digest, known.find(digest)) for digest in batch)
                batch = questions.send({digest: found for digest, found in answers if found})
    except StopIteration as done:
        plan = done.value
        if not isinstance(plan, Plan):
            raise InternalError("planning ended without a plan") from None
        return plan


def claim_resolved(plan: Plan, store: Store, writer: str) -> None:
    """Write the planned entries of what is reused and was found by resolved digest.

    Steps that were only walked through on the way get none: they would cost more than they save.
    """
    steps = plan.program.steps
    for index in plan.by_resolved:
        if plan.decisions[index] is not Decision.REUSE:
            continue
        found, sources = plan.found[index], steps[index].inputs
        inputs = [(steps[source].planned, plan.found[source].record.hash) for source in sources]
        vouched = found.vouched and all(plan.found[source].vouched for source in sources)
        store.claim(steps[index].planned, found.record, inputs, writer=writer, vouched=vouched)


def incoherent_after(plan: Plan, store: Store) -> set[int]:
    """Return the steps that must not be believed, now that everything that had to run has run."""
    ran = plan.run
    steps = plan.program.steps
    watched = {source for i in plan.reused for source in steps[i].inputs}
    between = coherence.suspects(plan, ran)
    if not between and watched.isdisjoint(ran):
        return set()
    asked = [*ran, *between]
    answers = store.lookup([steps[index].planned for index in asked])
    hashes: dict[int, ArtifactHash] = coherence.used_hashes(plan)
    entries = {
        index: plan.found[index].entry
        for index in plan.reused
        if plan.found[index].entry is not None
    }
    for index in ran:
        found = answers.get(steps[index].planned)
        if found is not None:
            hashes[index] = found.record.hash
    for index in between:
        found = answers.get(steps[index].planned)
        if found is not None and found.entry is not None:
            entries[index] = found.entry
    return coherence.contradictions(plan, hashes, entries)
