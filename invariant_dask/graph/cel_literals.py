"""The literals of CEL: numbers, text and bytes with their escapes."""

from __future__ import annotations

import re
from typing import Any

from invariant_dask.errors import ExpressionError
from invariant_dask.graph.cel_values import in_range

_LONGEST_INT = 200
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL
)
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def literal(token: Any) -> Any:
    """Return the value of a literal.

    Raises
    ------
    ExpressionError
        If it is of a kind that is not there.
    """
    text, kind = str(token), token.type
    if kind == "INT_LIT":
        if len(text) > _LONGEST_INT:
            raise ExpressionError(f"{text[:20]}...: an integer of CEL has 64 bits")
        return in_range(int(text, 0 if "x" in text else 10))
    if kind == "FLOAT_LIT":
        return float(text)
    if kind == "BOOL_LIT":
        return text == "true"
    if kind == "NULL_LIT":
        return None
    if kind == "UINT_LIT":
        raise ExpressionError(f"{text}: there are no unsigned integers; leave the u out")
    binary = kind == "BYTES_LIT"
    text = text[1:] if binary else text
    raw = text[0] in "rR"
    text = text[1:] if raw else text
    quotes = 3 if text[:3] in ('"""', "'" * 3) and len(text) >= 6 else 1
    body = text[quotes:-quotes]
    if binary:
        return body.encode() if raw else _bytes(body)
    try:
        return body if raw else _ESCAPE.sub(_unescaped, body)
    except ValueError:
        raise ExpressionError(f"{text}: there is no such character") from None


def _bytes(body: str) -> bytes:
    # Letters are their UTF-8 form, and two or three digits are one byte.
    made, at = b"", 0
    for match in _ESCAPE.finditer(body):
        made += body[at : match.start()].encode()
        two, four, eight, octal, letter = match.groups()
        if four or eight:
            raise ExpressionError(f"{match[0]}: in bytes, write \\x and two digits for each byte")
        if octal is not None and int(octal, 8) > 255:
            raise ExpressionError(f"{match[0]}: there is no such byte")
        made += bytes([int(two, 16) if two else int(octal, 8)]) if letter is None else (
            _LETTERS.get(letter, letter).encode()
        )  # fmt: skip
        at = match.end()
    return made + body[at:].encode()


def _unescaped(match: re.Match[str]) -> str:
    two, four, eight, octal, letter = match.groups()
    if letter is not None:
        return _LETTERS.get(letter, letter)
    return chr(int(octal, 8) if octal else int(two or four or eight, 16))
