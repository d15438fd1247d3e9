"""What one execution did: the plans it followed, what happened to each node, the values."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invariant_dask.cards import Card, Shown
from invariant_dask.ledger.folding import RunState
from invariant_dask.plan.plan import Decision, Plan, PlannedNode
from invariant_dask.plan.program import Program
from invariant_dask.runtime.handle import Outcome
from invariant_dask.store.backend import Missed
from invariant_dask.store.sizes import size_text

if TYPE_CHECKING:
    from invariant_dask.view.drawing import Drawing
    from invariant_dask.view.grouping import Detail
    from invariant_dask.view.report import Report


@dataclass
class Run(Shown):
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
    earlier: list[Plan] = field(default_factory=list)
    """The plans of what had to be known before all switches were decided."""
    again: list[Plan] = field(default_factory=list)
    """The plans of that which had to be made anew, such as when an artifact was lost."""

    missed: list[Missed] = field(default_factory=list)
    """What tiers of a chain do not have, though it was published in this run or before it."""

    state: RunState = field(default_factory=RunState)
    """What its events tell, once it is over; empty if nobody asked for any."""

    journal: Path | None = None
    """The file with its events, if they are recorded."""

    @property
    def plan(self) -> Plan:
        """The plan that was followed; the first one, if it had to be made anew."""
        return self.plans[0]

    def end_stage(self) -> None:
        """Make room for the next stage of the run: a switch is decided now."""
        self.earlier.append(self.plan)
        self.again += self.plans[1:]
        self.values, self.plans = {}, []

    def planned(self) -> list[PlannedNode]:
        """Return what was planned to run, with the first reasons, in all plans of the run."""
        nodes: dict[str, PlannedNode] = {}
        for plan in (*self.earlier, self.plan, *self.again, *self.plans[1:]):
            for node in plan.nodes():
                if node.decision is Decision.RUN:
                    nodes.setdefault(node.node, node)
        return list(nodes.values())

    def ran(self) -> list[str]:
        """Return the ids of the nodes whose op was called, those that shared a call included."""
        return self._with("ran")

    def _with(self, kind: str) -> list[str]:
        hits = {digest for digest, outcome in self.outcomes.items() if outcome.kind == kind}
        steps = self.program.steps
        return [n for n, i in self.program.index.items() if steps[i].planned.hex() in hits]

    def counts(self) -> dict[str, int]:
        """Return how many nodes `ran`, `shared` the work of one, were `reused` and `pruned`."""
        names = set(self.ran())
        index = self.program.index
        ran = len({index[name] for name in names})
        pruned = sum(
            planned.decision is Decision.PRUNED and planned.node not in names
            for planned in self.plan.nodes()
        )
        reused = len(index) - len(names) - pruned
        return {"ran": ran, "shared": len(names) - ran, "reused": reused, "pruned": pruned}

    def summary(self) -> str:
        """Return one line: how much ran, was shared, was reused, was not looked at."""
        words = {"pruned": "not looked at"}
        counts = self.counts().items()
        return ", ".join(
            f"{count} {words.get(what, what)}"
            for what, count in counts
            if count or what != "shared"
        )

    def visualize(
        self,
        filename: str | os.PathLike[str] | None = None,
        format: str | None = None,  # noqa: A002
        *,
        detail: Detail = "auto",
    ) -> Drawing:
        """Draw the graph, with what happened to each node.

        Parameters
        ----------
        filename, format, detail
            As for `Compiled.visualize`.

        Raises
        ------
        PictureError, GraphvizError
            As for `Compiled.visualize`.
        """
        from invariant_dask.view.drawing import check_asked, draw
        from invariant_dask.view.marking import Course, picture_of

        check_asked(filename, format, detail)
        summary = f"{self.summary()} in {self.seconds:.2f} s"
        course = Course(self.outcomes, is_over=True)
        return draw(picture_of(self.plan, course, summary=summary), filename, format, detail)

    def _card(self) -> Card:
        state = self.state
        facts = [("run", self.id), ("took", f"{self.seconds:.2f} s")]
        facts += [(what, f"{count:,}") for what, count in self.counts().items() if count]
        if state.saved:
            facts.append(("op time saved", f"{state.saved:.2f} s"))
        rows = []
        for name in self.program.outputs:
            node = state.nodes.get(name)
            kind = type(self.values[name]).__name__ if name in self.values else ""
            size = size_text(node.size) if node is not None and node.artifact else ""
            digest = node.artifact[:16] if node is not None else ""
            rows.append((name, kind, size, digest))
        title = f"Run of {self.program.name}" if self.program.name else "Run"
        notes = [".report() tells all that happened"] if state.run else []
        return Card(title, facts, ("output", "type", "size", "artifact"), rows, notes)

    def report(self) -> Report:
        """Return a page that tells all that happened; `.save(file)` writes it.

        A notebook shows it. Of a run that failed, `invariant-dask run --report` writes it, and
        `invariant-dask runs replay --html` does from the journal.

        Raises
        ------
        LedgerUnavailableError
            If there is a journal that cannot be read.
        """
        from invariant_dask.ledger.journal import read_journal
        from invariant_dask.view.report import report_of

        events = None
        if self.journal is not None and self.journal.is_file():  # nobody removed the run
            events = list(read_journal(self.journal, _pass_over))
        return report_of(self.state, events)

    def __repr__(self) -> str:
        return f"<Run {self.id[:8]}: {self.summary()} in {self.seconds:.2f} s>"


def _pass_over(line: str) -> None:
    """Leave out what is damaged in a journal: the state has all that the report must tell."""
