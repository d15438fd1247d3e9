"""What differs between two runs, node by node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from invariant_dask.ledger.rows import NodeRun

COMPARED = ("op", "state", "digest", "resolved", "artifact", "error")
"""What makes two runs of a node differ. Times and workers do not, nor does why something ran."""


@dataclass(frozen=True, slots=True)
class NodeDifference:
    """What two runs of a node do not have in common."""

    node: str
    before: NodeRun | None
    """None if only the other run had it."""
    after: NodeRun | None
    differs: tuple[str, ...]
    """Those of `COMPARED` that differ; `added` or `removed` where only one run had the node."""


def compare(before: Sequence[NodeRun], after: Sequence[NodeRun]) -> list[NodeDifference]:
    """Return the nodes that differ between two runs, by id."""
    old = {node.node: node for node in before}
    new = {node.node: node for node in after}
    found = []
    for name in sorted(old.keys() | new.keys()):
        one, other = old.get(name), new.get(name)
        differs = _differs(one, other)
        if differs:
            found.append(NodeDifference(name, one, other, differs))
    return found


def _differs(before: NodeRun | None, after: NodeRun | None) -> tuple[str, ...]:
    if before is None:
        return ("added",)
    if after is None:
        return ("removed",)
    return tuple(name for name in COMPARED if _is_other(name, before, after))


def _is_other(name: str, before: NodeRun, after: NodeRun) -> bool:
    one, other = getattr(before, name), getattr(after, name)
    if name in {"resolved", "artifact"}:
        return bool(one and other and one != other)  # what was reused may not say it
    return bool(one != other)
