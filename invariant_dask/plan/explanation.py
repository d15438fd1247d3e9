"""What there is to say of one node: what happens to it, why, and what it was compared with."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from invariant_dask.ops.code_text import source_diff
from invariant_dask.plan import words
from invariant_dask.plan.explain import Explainer, History, Past
from invariant_dask.plan.plan import Decision, Plan
from invariant_dask.plan.words import Reason

_ROOTS = 5
_DIFF_LIMIT = 64 << 10


@dataclass(frozen=True, slots=True)
class Nearest:
    """The stored record that a node was compared with, or that is reused."""

    node: str
    digest: str
    """The resolved digest, in hex."""
    run: str
    """Id of the run that made it; empty if plain Dask did."""
    writer: str
    created: int
    """Nanoseconds since 1970."""

    @property
    def when(self) -> str:
        """When it was made, as ISO 8601 in UTC."""
        return datetime.fromtimestamp(self.created // 10**9, UTC).isoformat()

    def __str__(self) -> str:
        run = f" in run {self.run[:12]}" if self.run else ""
        by = f" by {self.writer}" if self.writer else ""
        return f"{self.node or self.digest[:12]}, made {self.when}{by}{run}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a node runs, is reused or is left alone.

    Printed, it is a few lines of text; in a notebook, HTML.
    """

    node: str
    op: str
    digest: str | None
    """The planned digest, in hex; None while it is not known."""
    decision: Decision
    reason: Reason
    causes: tuple[str, ...]
    """In words: root causes first, then in one line what merely follows from them."""
    nearest: Nearest | None = None
    """What it was compared with, or what is reused."""
    diff: str = ""
    """What changed in the source of the code, where both texts are known."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        nearest = None
        if self.nearest is not None:
            names = ("node", "digest", "run", "writer", "when")
            nearest = {name: getattr(self.nearest, name) for name in names}
        return {
            "node": self.node,
            "op": self.op or None,
            "digest": self.digest,
            "decision": self.decision.value,
            "reason": self.reason.value,
            "causes": list(self.causes),
            "nearest": nearest,
            "diff": self.diff,
        }

    def _lines(self) -> list[str]:
        lines = [f"{self.node}: {self.decision.value}, {self.reason.value}"]
        lines += [f"  {cause}" for cause in self.causes if cause != self.reason.value]
        if self.op:
            lines.append(f"op      {self.op}")
        if self.digest:
            lines.append(f"digest  {self.digest}")
        if self.nearest is not None:
            what = "stored " if self.decision is Decision.REUSE else "nearest"
            lines.append(f"{what} {self.nearest}")
        return lines

    def __str__(self) -> str:
        return "\n".join([*self._lines(), *(["", self.diff] if self.diff else [])])

    def _repr_html_(self) -> str:
        first, *rest = (html.escape(line.strip()) for line in self._lines())
        items = "".join(f"<li>{line}</li>" for line in rest)
        diff = f"<pre>{html.escape(self.diff)}</pre>" if self.diff else ""
        return f"<p><b>{first}</b></p><ul>{items}</ul>{diff}"


def explain_node(plan: Plan, node: str, history: History) -> Explanation:
    """Return what there is to say of one node of a plan.

    Parameters
    ----------
    plan
        The plan.
    node
        A node that it has.
    history
        What is known of earlier runs.
    """
    planned = plan[node]
    digest = planned.digest.hex() if planned.digest else None
    index = plan.program.index.get(node)
    causes: tuple[str, ...] = ()
    nearest, diff = None, ""
    if index is not None and planned.decision is Decision.RUN:
        explainer = Explainer(plan, history)
        explainer.look_at(explainer.running(index))
        causes = _causes(explainer, node, index)
        past = explainer.own[index].nearest
        nearest = None if past is None else _nearest(past)
        behind = sorted({index, *explainer.upstream(index)})
        changed = dict.fromkeys(each for i in behind for each in explainer.own[i].code)
        diff = words.printable(source_diff(changed))[:_DIFF_LIMIT]
    elif index is not None and index in plan.found:
        nearest = _nearest(plan.found[index].record)
    decision, reason = planned.decision, planned.reason
    return Explanation(node, planned.op, digest, decision, reason, causes, nearest, diff)


def _causes(explainer: Explainer, node: str, index: int) -> tuple[str, ...]:
    """Return causes of a node's own, then those that it follows from, and how."""
    own = explainer.own[index]
    roots = sorted(explainer.upstream(index))
    if own.is_new or not roots:
        return own.texts
    told = [
        words.of_node(explainer.called(node, root), text)
        for root in roots[:_ROOTS]
        for text in explainer.own[root].texts
    ]
    if len(roots) > _ROOTS:
        told.append(f"and {len(roots) - _ROOTS} more nodes that changed themselves")
    through = _way(explainer, index, roots[0]) if len(roots) == 1 else []
    names = [explainer.called(node, root) for root in roots]
    follows = words.follows(names, [explainer.called(node, each) for each in through])
    return (*own.texts, *told, follows)


def _way(explainer: Explainer, index: int, root: int) -> Sequence[int]:
    """Return the steps between a root and what follows from it, on a shortest way."""
    before: dict[int, int] = {index: index}
    queue = [index]
    for step in queue:  # grows while it is walked: breadth first
        if step == root:
            break
        for source in explainer.steps[step].inputs:
            if source not in before and root in explainer.roots.get(source, ()):
                before[source] = step
                queue.append(source)
    way = []
    step = before.get(root, index)
    while step != index:
        way.append(step)
        step = before[step]
    return way


def _nearest(past: Past) -> Nearest:
    about = past.about
    node, run, writer = map(words.printable, (about.node, about.run, about.writer))
    return Nearest(node, past.resolved.hex(), run, writer, about.created)
