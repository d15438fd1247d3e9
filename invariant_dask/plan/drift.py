"""Drift: code that changed under one declared version.

A declared version takes identity out of the code's hands, so edits rerun nothing. What is reused
then may be what the code of today would not produce; somebody should know.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from invariant_dask.plan.plan import Plan


@dataclass(frozen=True, slots=True)
class Drift:
    """A reused artifact whose op has other code now."""

    op: str
    version: str
    node: str
    writer: str
    """Who made the artifact."""
    policy: str
    """What the op says to do: `warn`, `error` or `ignore`."""

    def __str__(self) -> str:
        return (
            f"op {self.op!r} has other code than when its version {self.version!r} made what is "
            f"reused for node {self.node!r} (by {self.writer}); raise the version if results "
            "changed, or register it with on_drift='ignore'"
        )


def find_drift(plan: Plan) -> Iterator[Drift]:
    """Yield one drift for each op of which a reused artifact was made by other code."""
    seen: set[str] = set()
    for index in plan.reused:
        step = plan.program.steps[index]
        op = step.bound.op
        if not step.bound.code or op.name in seen or op.on_drift == "ignore":
            continue
        about = plan.found[index].record.about
        if about.code and about.code != step.bound.code:
            seen.add(op.name)
            yield Drift(op.name, op.version or "", step.node, about.writer, op.on_drift)
