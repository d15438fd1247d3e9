"""Why: the words for every decision and every cause, in one place.

Plans, explanations, reports and whatever else tells why print these and no others.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum

_SHOWN = 3


class Reason(Enum):
    """Why a node runs, is reused or is left alone."""

    STORED = "stored"
    SAME_INPUTS = "same inputs as a stored result"
    INLINED = "evaluated while compiling"
    NOT_NEEDED = "nothing that runs needs it"
    UNDECIDED = "only what is undecided may need it"
    NOT_STORED = "not stored"
    FOLLOWS = "an input runs"
    FORCED = "asked to rerun"
    EPHEMERAL = "not cached"
    VOLATILE = "volatile: it runs every time"
    LOST = "its artifact was lost"


NEVER_SEEN = "never seen"


def never_seen_but(node: str, difference: object) -> str:
    """Return the cause of a new node, all but one thing of which was stored as another."""
    return f"{NEVER_SEEN}; nearest stored: {node}, with {difference}"


def same_work_as(node: str) -> str:
    """Return the cause of a node that asks for the same as another."""
    return f"the same work as {node}"


def follows(roots: Sequence[str], through: Sequence[str] = ()) -> str:
    """Return the line that says what a node merely follows from."""
    way = f" through {join(through)}" if through else ""
    return f"follows from {join(roots)}{way}"


def of_node(node: str, cause: str) -> str:
    """Return the cause of another node."""
    return f"{node}: {cause}"


def decided_by(nodes: Collection[str]) -> str:
    """Return when something is decided that takes a run to know."""
    return f"decided once {' and '.join(nodes)} {'are' if len(nodes) > 1 else 'is'} known"


def changed(what: str, old: str, new: str) -> str:
    """Return that something is not what it was."""
    return f"{what}: {old} -> {new}"


def code_changed(changes: Sequence[str]) -> str:
    """Return which parts of an op's code changed."""
    return f"code: {join(changes)}"


def code_not_kept(op: str) -> str:
    """Return that code changed and it is not known how it read before."""
    return f"code of {op} changed; its earlier source is not stored"


def code_not_readable(op: str) -> str:
    """Return that code changed and it cannot be read how it is now."""
    return f"code of {op} changed; its present source cannot be read here"


def code_rewired(op: str) -> str:
    """Return that the parts of an op's code are the same, and used in other places."""
    return f"code of {op} changed in what its names stand for"


def join(names: Sequence[str]) -> str:
    """Return a few names, and how many more there are."""
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def printable(text: str) -> str:
    """Return text of somebody else's without what a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)
