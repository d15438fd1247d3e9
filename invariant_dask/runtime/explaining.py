"""Explain against a store: what `plan.explain` wants to know comes from records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

from invariant_dask.errors import OutputsError
from invariant_dask.plan import words
from invariant_dask.plan.estimate import cost_of
from invariant_dask.plan.explain import History, Past, explain
from invariant_dask.plan.explanation import Explanation, explain_node
from invariant_dask.plan.plan import Decision, Plan
from invariant_dask.plan.words import Reason
from invariant_dask.runtime import codes
from invariant_dask.store.base import Store
from invariant_dask.store.evictions import evictions

_OF_A_PLAN = 50
_OF_A_NODE = 2000
"""How many records of an op are looked at: a plan has many ops, and an explanation few."""


def history_of(
    store: Store, window: int, recent: Callable[[str], Sequence[Past]] | None = None
) -> History:
    """Return what a store knows of earlier runs."""
    return History(
        recent or partial(store.recent, limit=window), store.why, _gone(store), codes.present_code,
        cache(partial(codes.stored_code, store)), window,
    )  # fmt: skip


def _gone(store: Store) -> Callable[[bytes], str]:
    removed: list[dict[bytes, str]] = []

    def gone(digest: bytes) -> str:
        if not removed:  # read once, and only if something is missing
            removed.append(evictions(store))
        return removed[0].get(digest, "")

    return gone


def add_causes(plan: Plan, store: Store) -> Plan:
    """Explain what runs, and what it will cost, from the store's records."""
    if not plan.causes:
        recent = cache(partial(store.recent, limit=_OF_A_PLAN))
        plan.causes = explain(plan, history_of(store, _OF_A_PLAN, recent))
        plan.cost = cost_of(plan, lambda op: [each.about.nanoseconds for each in recent(op)])
    return plan


def explain_in(plan: Plan, node: str, store: Store) -> Explanation:
    """Explain one node of a plan.

    Raises
    ------
    OutputsError
        If the plan has no such node.
    """
    if node in plan:
        return explain_node(plan, node, history_of(store, _OF_A_NODE))
    if node in plan.undecided:
        causes = (words.decided_by(plan.undecided[node]),)
        return Explanation(node, "", None, Decision.PRUNED, Reason.UNDECIDED, causes)
    msg = f"{node!r} is not a node of this graph, or no output needs it"
    if plan.undecided:
        msg += f"; or it depends on what takes a run to decide ({words.join(list(plan.undecided))})"
    raise OutputsError(msg)
