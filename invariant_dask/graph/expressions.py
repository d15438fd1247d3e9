"""Expressions in parameters: CEL, alone or within text as `${...}`.

Syntax is checked when a node is made. An expression reads values by name and gives a value that
can be a parameter: no doubles, whose last digits are nobody's decision.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from invariant_dask.errors import ExpressionError

if TYPE_CHECKING:
    from invariant_dask.graph.cel import Code

SEMANTICS = 1
"""The version of what expressions mean; it enters the identity of what they give."""

_LONGEST = 10_000
_DEEPEST = 100
_SHOWN = 80
"""How many characters of an expression an error repeats."""
_BRACKETS = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[(\[{)\]}]""", re.DOTALL)
"""Brackets, and strings, within which they are none."""
_PATH = re.compile(r"\s*([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*)*)\s*", re.ASCII)
_TEXTS = (str, bytes, int, type(None), Decimal, Fraction, date, time, timedelta)
_NOT_NAMES = {"true", "false", "null", "in"}


@dataclass(frozen=True, slots=True)
class Expression:
    """A CEL expression, ready to be evaluated."""

    source: str
    names: tuple[str, ...]
    """The names that it reads, sorted."""
    _code: Code = field(repr=False, compare=False)

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """Return the value, given those of the names.

        Raises
        ------
        ExpressionError
            If there is none, or none that can be a parameter.
        """
        # Imported here, as is the parser: most graphs have no expressions.
        from invariant_dask.graph.cel_objects import to_cel, to_python

        try:
            result = self._code({name: to_cel(values[name]) for name in self.names})
            return to_python(result)
        except ExpressionError as error:
            raise ExpressionError(f"{_shown(self.source)}: {error}") from None
        except RecursionError:
            msg = f"{_shown(self.source)}: the values are nested too deep"
            raise ExpressionError(msg) from None


@dataclass(frozen=True, slots=True)
class Text:
    """Text with expressions in it."""

    source: str
    parts: tuple[str | Expression, ...]
    names: tuple[str, ...]

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """Return the text with values put in or, of one expression alone, its value.

        Raises
        ------
        ExpressionError
            If an expression has no value.
        """
        made = [
            part if isinstance(part, str) else part.evaluate(values)
            for part in self.parts
        ]  # fmt: skip
        alone = [part for part in self.parts if not isinstance(part, str) or part.strip()]
        if len(alone) == 1 and isinstance(alone[0], Expression):
            return made[self.parts.index(alone[0])]
        return "".join(map(_as_text, made))


def _as_text(value: Any) -> str:
    _check_text(value)
    return str(value)


def _check_text(value: Any) -> None:
    """Raise ExpressionError if the text of a value is not the same everywhere."""
    if isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            _check_text(item)
    elif not isinstance(value, _TEXTS):
        msg = f"a {type(value).__name__} has no text of its own; put a field of it there"
        raise ExpressionError(msg)


@lru_cache(maxsize=16384)
def parse(source: str) -> Expression:
    """Return an expression.

    Raises
    ------
    ExpressionError
        If it cannot be parsed, with a caret under the place; or is too long or nested too deep.
    """
    _check_size(source)
    path = _PATH.fullmatch(source)
    if path and path[1] not in _NOT_NAMES:
        return Expression(source, (path[1],), _path_code(path[1], path[2].split(".")[1:]))
    from invariant_dask.graph.cel import Translator

    translator = Translator()
    try:
        code = translator.code(_tree(source))
    except ExpressionError as error:
        place = "" if translator.at is None else "\n" + _pointed(source, *translator.at)
        raise ExpressionError(f"{_shown(source)}: {error}{place}") from None
    return Expression(source, tuple(sorted(translator.names)), code)


def _path_code(name: str, fields: list[str]) -> Code:
    # No parser for what most expressions are.
    from invariant_dask.graph.cel_values import field as field_of

    def follow(values: dict[str, Any]) -> Any:
        value = values[name]
        for each in fields:
            value = field_of(value, each)
        return value

    return follow


def _check_size(source: object) -> None:
    if type(source) is not str or not source.strip():
        msg = f"an expression is text, and not empty: {source!r}"
        raise ExpressionError(msg)
    if len(source) > _LONGEST:
        msg = f"an expression has at most {_LONGEST:,} characters, not {len(source):,}"
        raise ExpressionError(msg)
    depth = 0
    for mark in _BRACKETS.finditer(source):
        depth += (mark[0] in "([{") - (mark[0] in ")]}")
        if depth > _DEEPEST:
            msg = f"an expression is nested at most {_DEEPEST} deep\n"
            raise ExpressionError(msg + _marked(source, mark.start()))


def _shown(source: str) -> str:
    return repr(source if len(source) <= _SHOWN else source[: _SHOWN - 3] + "...")


def _tree(source: str) -> Any:
    from celpy.celparser import CELParseError, CELParser

    try:
        return CELParser().parse(source)
    except CELParseError as error:
        line, column = error.line or 1, error.column or 1
        raise ExpressionError("not an expression\n" + _pointed(source, line, column)) from None


def _pointed(source: str, line: int, column: int) -> str:
    lines = source.splitlines() or [""]
    if not 1 <= line <= len(lines):
        line, column = len(lines), len(lines[-1]) + 1
    text = lines[line - 1]
    start = max(0, column - 60)
    return f"    {text[start : start + 100]}\n    {' ' * (column - 1 - start)}^"


@lru_cache(maxsize=16384)
def parse_text(source: str) -> Text:
    """Return text with its expressions, each in `${` and `}`.

    Raises
    ------
    ExpressionError
        If a `${` has no end, an expression in it has braces of its own, or cannot be parsed.
    """
    parts: list[str | Expression] = []
    at = 0
    while (start := source.find("${", at)) >= 0:
        end = _end(source, start + 2)
        if start > at:
            parts.append(source[at:start])
        parts.append(parse(source[start + 2 : end].strip()))
        at = end + 1
    if at < len(source):
        parts.append(source[at:])
    names = {name for part in parts if isinstance(part, Expression) for name in part.names}
    return Text(source, tuple(parts), tuple(sorted(names)))


def _end(source: str, start: int) -> int:
    """Return the position of the brace that ends an expression; braces in strings are text."""
    at, quote = start, ""
    while at < len(source):
        mark = source[at]
        if quote:
            if mark == "\\":
                at += 1
            elif mark == quote:
                quote = ""
        elif mark in "\"'":
            quote = mark
        elif mark == "}":
            if at == start:
                raise ExpressionError("an empty ${}\n" + _marked(source, start))
            return at
        elif mark == "{":
            msg = "a brace within ${...}; use cel() for expressions with maps\n"
            raise ExpressionError(msg + _marked(source, at))
        at += 1
    raise ExpressionError("a ${ without its }\n" + _marked(source, start - 2))


def _marked(source: str, at: int) -> str:
    line = source.count("\n", 0, at) + 1
    return _pointed(source, line, at - (source.rfind("\n", 0, at) + 1) + 1)
