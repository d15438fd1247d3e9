"""A plan: for each step a decision and a reason, and how they read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from invariant_dask.cards import MOST_ROWS, Card, Shown
from invariant_dask.core.digest import PlannedDigest
from invariant_dask.plan import words
from invariant_dask.plan.cost import Cost
from invariant_dask.plan.program import Program
from invariant_dask.plan.words import Reason

__all__ = ["Decision", "Plan", "PlannedNode", "Reason"]


class Decision(Enum):
    """What happens to a node."""

    RUN = "run"
    REUSE = "reuse"
    INLINE = "inline"
    PRUNED = "pruned"


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """What a plan says about one node."""

    node: str
    op: str
    digest: PlannedDigest | None
    decision: Decision
    reason: Reason
    causes: tuple[str, ...]
    """In words: what differs from the nearest stored result, or which inputs run."""
    shares: str | None = None
    """The node whose work this one shares, if both run: they ask for the same."""


@dataclass(slots=True)
class Plan(Shown):
    """A decision for each node of a compiled graph; nothing has run yet.

    A plan is a mapping of node ids to `PlannedNode`; printed, it is a table, and in a notebook an
    HTML one.
    """

    program: Program
    decisions: list[Decision]
    reasons: list[Reason]
    found: Mapping[int, Any]
    """What the store answered, by step."""
    by_resolved: set[int]
    """Steps found by resolved digest; their planned entry is still to be written."""
    run: list[int]
    """The steps that run, in topological order."""
    reused: list[int]
    """The steps that are reused, in topological order."""
    causes: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """In words, by step: what `explain` found."""
    cost: Cost | None = None
    """What following it will take, if somebody asked."""
    undecided: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Switches and outputs that take a run to know, each with the nodes that decide it."""

    @property
    def loads(self) -> list[int]:
        """Steps that are reused as inputs of what runs."""
        needed = {source for index in self.run for source in self._inputs(index)}
        return sorted(i for i in needed if self.decisions[i] is Decision.REUSE)

    def _inputs(self, index: int) -> tuple[int, ...]:
        return self.program.steps[index].inputs

    def counts(self) -> dict[Decision, int]:
        """Return how many nodes get each decision; those that `shared` counts are left out."""
        counts = Counter(node.decision for node in self.nodes() if node.shares is None)
        return {decision: counts.get(decision, 0) for decision in Decision}

    @property
    def shared(self) -> int:
        """How many nodes need no execution of their own: they share that of an equal node."""
        return sum(node.shares is not None for node in self.nodes())

    def nodes(self) -> Iterator[PlannedNode]:
        """Yield what is said about each node, in topological order, inlined ones first."""
        for node in self.program.inlined:
            yield _inlined(node)
        for node, index in sorted(self.program.index.items(), key=lambda item: item[1]):
            yield self._planned(node, index)

    def _planned(self, node: str, index: int) -> PlannedNode:
        step = self.program.steps[index]
        decision, causes, shares = self.decisions[index], self.causes.get(index, ()), None
        if decision is Decision.RUN and node != step.node:
            shares, causes = step.node, (words.same_work_as(step.node),)
        return PlannedNode(
            node, step.bound.op.name, step.planned, decision, self.reasons[index], causes, shares
        )

    def __getitem__(self, node: str) -> PlannedNode:
        if node in self.program.inlined:
            return _inlined(node)
        return self._planned(node, self.program.index[node])

    def __contains__(self, node: object) -> bool:
        return node in self.program.index or node in self.program.inlined

    def __iter__(self) -> Iterator[str]:
        return (planned.node for planned in self.nodes())

    def __len__(self) -> int:
        return len(self.program.index) + len(self.program.inlined)

    def summary(self) -> str:
        """Return one line: how much runs, is reused, is not looked at."""
        counts, shared = self.counts(), self.shared
        parts = [
            f"{counts[Decision.RUN]} to run",
            f"{shared} shared" if shared else "",
            f"{counts[Decision.REUSE]} reused",
            f"{counts[Decision.PRUNED]} not looked at",
            f"{counts[Decision.INLINE]} inline" if counts[Decision.INLINE] else "",
            f"{len(self.undecided)} undecided" if self.undecided else "",
        ]
        return ", ".join(filter(None, parts))

    def open_ends(self) -> list[str]:
        """Return a line for each switch or output that takes a run to know."""
        return [
            words.of_node(name, words.decided_by(known)) for name, known in self.undecided.items()
        ]

    def costs(self) -> list[str]:
        """Return a line for what following the plan will take, if that was asked and is known."""
        cost = self.cost
        if cost is None or not self.run:
            return []
        lines = [str(cost)]
        if cost.load_bytes:
            lines.append(f"{cost.load_bytes} bytes to load")
        return lines

    def _rows(self, limit: int) -> tuple[list[tuple[str, ...]], int]:
        """Return rows to show, what runs first, and how many are left out."""
        order = {Decision.RUN: 0, Decision.REUSE: 1, Decision.INLINE: 2, Decision.PRUNED: 3}
        nodes = sorted(self.nodes(), key=lambda node: order[node.decision])
        rows: list[tuple[str, ...]] = [
            (
                node.decision.value,
                node.node,
                node.op,
                node.digest.hex()[:12] if node.digest else "",
                "; ".join(node.causes) or node.reason.value,
            )
            for node in nodes[:limit]
        ]
        return rows, max(0, len(nodes) - limit)

    def __str__(self) -> str:
        rows, left_out = self._rows(200)
        table = [("decision", "node", "op", "digest", "reason"), *rows]
        widths = [max(len(row[column]) for row in table) for column in range(4)]
        lines = [
            "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[4]])
            for row in table
        ]
        if left_out:
            lines.append(f"... and {left_out} more")
        below = [*self.open_ends(), self.summary(), *self.costs()]
        return "\n".join([*(line.rstrip() for line in lines), *below])

    def __repr__(self) -> str:
        return f"<Plan: {self.summary()}>"

    def _card(self) -> Card:
        rows, left_out = self._rows(MOST_ROWS)
        columns = ("decision", "node", "op", "digest", "reason")
        notes = [f"... and {left_out:,} more"] if left_out else []
        notes += [*self.open_ends(), *self.costs()]
        return Card(f"Plan: {self.summary()}", columns=columns, rows=rows, notes=notes)


def _inlined(node: str) -> PlannedNode:
    return PlannedNode(node, "", None, Decision.INLINE, Reason.INLINED, ())
