"""Where in a document that is which cannot be compiled."""

from __future__ import annotations

from collections.abc import Sequence

from invariant_dask.errors import CycleError, DanglingRefError, SpecError
from invariant_dask.graph.model import Origin


def place_of(
    error: SpecError, levels: Sequence[tuple[Origin | None, str]], within: Sequence[str]
) -> str:
    """Return the place of an error as `file:line:column`; nothing if no document has it.

    Parameters
    ----------
    error
        What is wrong.
    levels
        Each graph from the outermost on: the document that it was read from, if it is one of its
        own, and the vertex at hand.
    within
        The way to what is wrong, within the innermost vertex.
    """
    origin: Origin | None = None
    path: list[str] = []
    for own, vertex_id in levels:
        if own is not None:
            origin, path = own, []
        path += ["graph", vertex_id]
    if origin is None:
        return ""
    # These are found before their vertex has its turn.
    if isinstance(error, DanglingRefError):
        path[-1] = error.node
    elif isinstance(error, CycleError):
        path[-1] = error.cycle[0]
    return origin.place([*path, *within])
