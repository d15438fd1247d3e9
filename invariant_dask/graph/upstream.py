"""Objects of the package `invariant` in graphs: recognised here, without importing it.

A graph can only hold such objects if somebody imported that package; so it is looked up among the
loaded modules, and where it is not there, nothing can be foreign. What is made of them is
`foreign`'s business.
"""

from __future__ import annotations

import sys
from typing import Final

_MODULES: Final = {
    "Node": "invariant.node",
    "SubGraphNode": "invariant.node",
    "SwitchNode": "invariant.node",
    "ref": "invariant.params",
    "cel": "invariant.params",
}
VERTICES: Final = ("Node", "SubGraphNode", "SwitchNode")
MARKERS: Final = ("ref", "cel")


def is_present() -> bool:
    """Return whether anything can be foreign at all."""
    return any(module in sys.modules for module in _MODULES.values())


def kind_of(thing: object, among: tuple[str, ...]) -> str:
    """Return the name of the upstream class, one of `among`, that an object has; or an empty text.

    Subclasses count: upstream's engine takes them too.
    """
    for name in among:
        cls = getattr(sys.modules.get(_MODULES[name]), name, None)
        if isinstance(cls, type) and isinstance(thing, cls):
            return name
    return ""


def is_vertex(thing: object) -> bool:
    """Return whether an object is a vertex of upstream's."""
    return bool(kind_of(thing, VERTICES))
