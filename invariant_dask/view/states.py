"""The states a node can be in, with the words and colours that all pictures share."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Paint(NamedTuple):
    """How something is painted: the inside, and the line around it."""

    fill: str
    line: str


class State(Enum):
    """What a picture says of a node. The value is the word for it."""

    FAILED = "failed"
    SKIPPED = "skipped: an input failed"
    RUNNING = "running"
    RAN = "ran"
    TO_RUN = "to run"
    SHARED = "shared: the work of an equal node"
    REUSED = "reused"
    PRUNED = "not looked at"
    INLINE = "inline: known while compiling"
    UNDECIDED = "undecided"
    NOT_TAKEN = "case not taken"

    @property
    def word(self) -> str:
        """The word for it, without what explains it."""
        return self.value.partition(":")[0]

    @property
    def css(self) -> str:
        """The name of its class in HTML and SVG."""
        return self.name.lower().replace("_", "-")

    @property
    def is_ghost(self) -> bool:
        """Whether a node may never come to be."""
        return self in {State.UNDECIDED, State.NOT_TAKEN}


LIGHT = {
    State.FAILED: Paint("#f6c1bb", "#b3261e"),
    State.SKIPPED: Paint("#f7e4e2", "#a0736f"),
    State.RUNNING: Paint("#b9d4fb", "#1a56c4"),
    State.RAN: Paint("#f7c66b", "#96600a"),
    State.TO_RUN: Paint("#fdeac4", "#b0771a"),
    State.SHARED: Paint("#fdf6e3", "#b08a48"),
    State.REUSED: Paint("#bfe5ca", "#25733f"),
    State.PRUNED: Paint("#e9ebee", "#9aa3ad"),
    State.INLINE: Paint("#c9ebf0", "#1f7885"),
    State.UNDECIDED: Paint("#f1e9fb", "#7d55b5"),
    State.NOT_TAKEN: Paint("#ffffff", "#9aa3ad"),
}
DARK = {
    State.FAILED: Paint("#6d211c", "#f2867d"),
    State.SKIPPED: Paint("#40302f", "#b98f8b"),
    State.RUNNING: Paint("#1d3f78", "#82aefa"),
    State.RAN: Paint("#7d5510", "#f5bd54"),
    State.TO_RUN: Paint("#4a3a17", "#d9a441"),
    State.SHARED: Paint("#35301f", "#b5965a"),
    State.REUSED: Paint("#1d5130", "#6cc98a"),
    State.PRUNED: Paint("#2b3037", "#717b86"),
    State.INLINE: Paint("#184a52", "#5fc0cd"),
    State.UNDECIDED: Paint("#392c50", "#b595e6"),
    State.NOT_TAKEN: Paint("#1b1f24", "#717b86"),
}
DASHED = frozenset({State.SHARED, State.SKIPPED})
"""Drawn with a dashed line; ghosts have a dotted one."""
