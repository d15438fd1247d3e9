"""What is wrong in a document, and where: paths, line and column.

Readers raise `Fault` with the way to the place in the parsed tree; where that is in the text is
only looked up when it is shown to somebody.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

Step = str | int
Path = tuple[Step, ...]
Place = tuple[int, int]
"""Line and column, counted from 1."""

MAX_NESTING = 300
"""Deepest nesting of a document; a tuple is two levels, and so is a subgraph."""

NESTED = f"nested deeper than {MAX_NESTING} levels; use a flatter graph or value"


class Fault(Exception):  # noqa: N818  never leaves this package; people see a DocumentError
    """What is wrong with a document.

    Parameters
    ----------
    reason
        What was expected, what was seen, and what to do.
    path
        The way to the place from where it is raised.
    at_key
        Whether the key at the end of the path is meant, not the value under it.
    place
        Line and column, where they are known already.
    """

    def __init__(
        self, reason: str, path: Path = (), *, at_key: bool = False, place: Place | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at_key = at_key
        self.place = place
        self._steps = list(reversed(path))

    @property
    def path(self) -> Path:
        """The way to the place, from the outermost level seen so far."""
        return tuple(reversed(self._steps))

    def within(self, *steps: Step) -> Fault:
        """Return this fault, seen from further out."""
        self._steps.extend(reversed(steps))
        return self


def show_path(path: Iterable[Step]) -> str:
    """Return a path as people write it.

    Examples
    --------
    >>> show_path(("graph", "sum", "params", "a b", 0))
    "graph.sum.params['a b'][0]"
    """
    shown = ""
    for step in path:
        if isinstance(step, str) and step.lstrip("$").isidentifier():
            shown += f".{step}"
        else:
            shown += f"[{step!r}]"
    return shown.removeprefix(".")


def place_of(text: str, offset: int) -> Place:
    """Return line and column of an offset into a text."""
    start = text.rfind("\n", 0, offset) + 1
    return text.count("\n", 0, start) + 1, offset - start + 1


def guess(name: object, known: Iterable[str]) -> str:
    """Return words that help somebody who wrote `name` where one of `known` was expected."""
    known = sorted(known)
    close = get_close_matches(name, known, n=2, cutoff=0.6) if isinstance(name, str) else []
    if close:
        return "did you mean " + " or ".join(map(repr, close)) + "?"
    shown = ", ".join(map(repr, known[:12]))
    return f"there are {shown}{', ...' if len(known) > 12 else ''}"


def kind_of(value: object) -> str:
    """Return what a parsed value is, in the words of JSON."""
    names = {
        "NoneType": "null", "bool": "a boolean", "int": "a number", "Decimal": "a number",
        "float": "a number", "str": "text", "list": "a list", "dict": "a mapping",
    }  # fmt: skip
    return names.get(type(value).__name__, type(value).__name__)
