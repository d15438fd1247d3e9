"""Keep what one run hands out consistent, even when an op turns out not to be deterministic.

A planned entry says: asked this way, from inputs with these hashes, that came out. If an input is
in use in this run with another hash, because it was lost and computed anew with another result,
the entry is void for this run and the resolved digest decides instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from invariant_dask.core.digest import ArtifactHash
from invariant_dask.plan.plan import Decision, Plan
from invariant_dask.plan.program import Step


def suspects(plan: Plan, ran: Collection[int]) -> list[int]:
    """Return the pruned steps that stand between what ran and what was reused.

    Their planned entries were not looked at by the plan, but connect a reused result to an input
    that was computed anew. Usually there are none.
    """
    steps = plan.program.steps
    fresh = set(ran)
    if not plan.reused or all(fresh.isdisjoint(step.inputs) for step in _pruned(plan)):
        return []
    below = set(plan.reused)
    between = []
    for index in range(len(steps) - 1, -1, -1):
        if index not in below:
            continue
        below.update(steps[index].inputs)
        if plan.decisions[index] is Decision.PRUNED and fresh.intersection(steps[index].inputs):
            between.append(index)
    return between


def _pruned(plan: Plan) -> Iterator[Step]:
    decisions = plan.decisions
    steps = enumerate(plan.program.steps)
    return (step for index, step in steps if decisions[index] is Decision.PRUNED)


def used_hashes(plan: Plan) -> dict[int, ArtifactHash]:
    """Return the stable hashes of the stored artifacts that a plan hands out or computes with."""
    used = set(plan.loads) | set(plan.program.targets)
    reused = ((i, plan.found[i]) for i in used if plan.decisions[i] is Decision.REUSE)
    # A store answers by planned digest only if the entry and the record agree on the hash.
    return {i: found.entry.hash if found.entry else found.record.hash for i, found in reused}


def contradictions(
    plan: Plan, hashes: Mapping[int, ArtifactHash], entries: Mapping[int, Any]
) -> set[int]:
    """Return the steps whose planned entry names another hash for an input that is in use.

    Parameters
    ----------
    plan
        The plan that was followed, or is about to be.
    hashes
        Stable hashes of the artifacts in use, by step.
    entries
        Planned entries to examine, by step.
    """
    steps = plan.program.steps
    void = set()
    for index, entry in entries.items():
        sources = steps[index].inputs
        used = [steps[source].planned + hashes.get(source, b"") for source in sources]
        if b"".join(used) == entry.joined:
            continue  # the usual case: all inputs are in use, and the same as ever
        recorded = dict(entry.inputs)
        for source in sources:
            seen = hashes.get(source)
            if seen is not None and recorded.get(steps[source].planned, seen) != seen:
                void.add(index)
    return void
