"""How parameters were written that took more than a literal: expressions and context values.

A manifest has values only. Whoever explains a rerun wants to name the expression or the context
value that gave them, so the text of the one and the name of the other go with the step, and with
the record that it leaves. Values never do: a context value may be a secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from invariant_dask.core.encode import Encoded
from invariant_dask.graph.markers import Cel, Ref, markers_in
from invariant_dask.graph.node import Node
from invariant_dask.plan.binding import Scope

LIMIT = 4096
"""Longest text that is kept; of what is longer, nothing."""

_DEPTH = 8


class Written(NamedTuple):
    """What a parameter was made from, in the author's words."""

    expressions: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    """Names of context values."""
    is_context: bool = False
    """Whether it is one context value, and nothing else."""


def write(scope: Scope, params: Mapping[str, Any]) -> str:
    """Return what a record keeps of how parameters were written; nothing if all are literals."""
    told = []
    for name, value in params.items():
        found = _Found()
        found.collect(scope, value, 0)
        if found.expressions or found.context:
            alone = type(value) is Ref and not found.computed and len(found.context) == 1
            told.append((name, tuple(found.expressions), tuple(found.context), alone))
    return _text(tuple(told)) if told else ""


def read(text: str) -> dict[str, Written]:
    """Return what `write` wrote, by parameter; nothing if it is anything else."""
    if not text or len(text) > LIMIT:
        return {}
    try:
        told = json.loads(text)
        return {
            name: Written(tuple(map(str, expressions)), tuple(map(str, context)), alone is True)
            for name, (expressions, context, alone) in told.items()
        }
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}  # somebody else wrote it


@lru_cache(maxsize=4096)
def _text(told: tuple[tuple[str, tuple[str, ...], tuple[str, ...], bool], ...]) -> str:
    text = json.dumps({name: rest for name, *rest in told}, separators=(",", ":"))
    return text if len(text) <= LIMIT else ""


class _Found:
    """What is behind one parameter."""

    def __init__(self) -> None:
        self.expressions: list[str] = []
        self.context: dict[str, None] = {}
        self.computed = False
        """Whether any of it went through an expression or an op."""

    def collect(self, scope: Scope, value: object, depth: int) -> None:
        for marker in markers_in(value):
            if isinstance(marker, Ref):
                names: tuple[str, ...] = (marker.name,)
                if marker.path:
                    path = "".join(f"[{key!r}]" for key in marker.path)
                    self.express(marker.name + path)
            elif isinstance(marker, Cel):
                names = marker.expression.names
                self.express(marker.expr)
            else:
                names = marker.names
                self.express(marker.source)
            if depth < _DEPTH:
                for name in names:
                    self.follow(scope, name, depth + 1)

    def express(self, text: str) -> None:
        self.expressions.append(text)
        self.computed = True

    def follow(self, scope: Scope, name: str, depth: int) -> None:
        """Add what is behind a name, unless it is a step: that has a record of its own."""
        if name in scope.graph:
            vertex = scope.graph[name]
            if isinstance(vertex, Node) and isinstance(scope.values.get(name), Encoded):
                self.computed = True
                for value in vertex.params.values():
                    self.collect(scope, value, depth)
        elif scope.parent is None:
            self.context[name] = None
        elif name in scope.outside:
            given = scope.outside[name]
            self.computed |= type(given) is not Ref
            self.collect(scope.parent, given, depth)
