"""Expressions in parameters. PROVISIONAL: interface only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from invariant_dask.errors import ExpressionError

SEMANTICS = 1


@dataclass(frozen=True)
class Expression:
    """A CEL expression."""

    source: str
    names: tuple[str, ...]

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """Return the value, given those of the names."""
        raise NotImplementedError


@dataclass(frozen=True)
class Text:
    """Text with expressions in it."""

    source: str
    parts: tuple[str | Expression, ...]

    @property
    def names(self) -> tuple[str, ...]:
        found = {name for part in self.parts if isinstance(part, Expression) for name in part.names}
        return tuple(sorted(found))

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """Return the value, given those of the names."""
        raise NotImplementedError


@lru_cache(4096)
def parse(source: str) -> Expression:
    """Parse an expression."""
    if not isinstance(source, str) or not source.strip():
        raise ExpressionError("an expression is not empty")
    return Expression(
        source, tuple(sorted(set(re.findall(r"[A-Za-z_]\w*", source)) - {"min", "max", "decimal"}))
    )


@lru_cache(4096)
def parse_text(source: str) -> Text:
    """Parse text with expressions in it."""
    return Text(source, tuple(map(parse, re.findall(r"\$\{([^}]+)\}", source))))
