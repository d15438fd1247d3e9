"""Strict JSON: exact numbers, no duplicate keys, and where things are in the text.

The standard library parses; this module's own scanner, which is slow, runs only to find the place
of something that is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from invariant_dask.graph.positions import (
    MAX_NESTING,
    NESTED,
    Fault,
    Path,
    Place,
    Step,
    place_of,
)  # fmt: skip

_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:("[^"\\]*(?:\\.[^"\\]*)*")|([{}\[\]:,])|([^\s"{}\[\]:,]+))""", re.DOTALL
)


class _RefusedError(ValueError):
    """Something that the standard library would accept, or place nowhere."""


def parse(text: str) -> Any:
    """Parse JSON; numbers with a fraction or an exponent become `Decimal`, exactly as written.

    Raises
    ------
    Fault
        If it is no JSON, repeats a key, has a number without an exact form, or is nested deeper
        than `MAX_NESTING` levels.
    """
    try:
        return json.loads(
            text,
            object_pairs_hook=_pairs,
            parse_float=decimal,
            parse_int=integer,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:]
        raise Fault(f"not valid JSON: {reason}", place=(error.lineno, error.colno)) from None
    except _RefusedError as error:
        _raise_first(text)
        raise Fault(str(error)) from None
    except RecursionError:
        _raise_first(text)
        raise Fault(NESTED) from None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise _RefusedError("a key stands twice in one mapping")
    return result


def decimal(text: str) -> Decimal:
    """Return a number literal as a Decimal, whatever the ambient context.

    Raises
    ------
    ValueError
        If its exponent is beyond what a Decimal can hold.
    """
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite():
        raise _RefusedError(f"{text:.40} is out of range of a Decimal")
    return number


def integer(text: str) -> int:
    """Return an integer literal.

    Raises
    ------
    ValueError
        If it has more digits than Python reads in a reasonable time.
    """
    try:
        return int(text)
    except ValueError:
        raise _RefusedError(
            f"an integer of {len(text)} digits; write it in hexadecimal: "
            '{"$icacheable": {"type": "int", "value": "0x..."}}'
        ) from None


def _constant(name: str) -> NoReturn:
    raise _RefusedError(f"{name} is no number; write null, or text")


def locate(text: str, path: Path, *, at_key: bool = False) -> Place:
    """Return where a path leads to in a JSON text, or the closest place above it."""
    best, depth = 0, -1
    for is_key, offset, _, steps in _walk(text):
        size = len(steps)
        if size > len(path) or (not is_key and size <= depth) or tuple(steps) != path[:size]:
            continue
        if not is_key:
            best, depth = offset, size
        if size == len(path) and is_key == at_key:
            return place_of(text, offset)
    return place_of(text, best)


def _raise_first(text: str) -> None:
    """Raise a fault for the first thing in a text that is refused, if the scanner finds one."""
    seen: dict[int, set[Step]] = {}  # the keys of the open mappings, by how deep they are
    for is_key, offset, raw, steps in _walk(text):
        reason = ""
        if is_key:
            if steps[-1] in seen[len(steps)]:
                reason = f"the key {steps[-1]!r} stands twice in this mapping"
            seen[len(steps)].add(steps[-1])
        elif raw in "{[" and len(steps) >= MAX_NESTING:
            reason = NESTED
        elif raw == "{":
            seen[len(steps) + 1] = set()
        elif raw != "[" and raw[0] != '"':
            reason = _refusal_of(raw)
        if reason:
            path = tuple(steps)[:8] if reason is NESTED else tuple(steps)
            raise Fault(reason, path, at_key=is_key, place=place_of(text, offset))


def _refusal_of(raw: str) -> str:
    try:
        json.loads(raw, parse_float=decimal, parse_int=integer, parse_constant=_constant)
    except _RefusedError as error:
        return str(error)
    except ValueError:
        return f"not valid JSON: {raw:.40}"
    return ""


def _walk(text: str) -> Iterator[tuple[bool, int, str, list[Step]]]:
    """Yield for each key and value whether it is a key, its offset, its first token, its path.

    The list of steps is reused; the text is good JSON up to the place that is looked for.
    """
    steps: list[Step] = []
    open_: list[str] = []
    expects_key = False
    for match in _TOKEN.finditer(text):
        raw = match[0].lstrip()
        offset = match.end() - len(raw)
        if raw == ",":
            if open_ and open_[-1] == "[":
                steps[-1] += 1  # type: ignore[operator]
            else:
                expects_key = True
        elif raw in "}]":
            # An empty mapping has no key on the path, every list has its position there.
            if open_ and open_.pop() == "[":
                steps.pop()
            expects_key = False
            _leave(steps, open_)
        elif raw[0] == '"' and expects_key:
            steps.append(json.loads(raw, strict=False))
            expects_key = False
            yield True, offset, raw, steps
        elif raw != ":":
            yield False, offset, raw, steps
            if raw in "{[":
                open_.append(raw)
                expects_key = raw == "{"
                steps += [0] * (raw == "[")
            else:
                _leave(steps, open_)


def _leave(steps: list[Step], open_: list[str]) -> None:
    """A value has ended: if it stood under a key, that key ends too."""
    if open_ and open_[-1] == "{" and steps:
        steps.pop()
