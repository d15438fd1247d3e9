"""Text of strangers, made fit to be shown: ids, op names and reasons can be anything."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterator

_JOINERS = "\u200c\u200d"
_NARROW = frozenset("ijlftr.,:;'|!()[]{}-/\\\" ")
_WIDE = frozenset("mwMW@%")
_ELLIPSIS = "\u2026"

LONGEST = 400
"""How many characters of a text are shown where there is room."""


def clean(text: str) -> str:
    """Return text in which all that is not seen, or changes how the rest is seen, is spelt out."""
    if text.isprintable():
        return text
    return "".join(_spelt(char) for char in text)


def _spelt(char: str) -> str:
    if char in _JOINERS:
        return char
    kind = unicodedata.category(char)
    if kind[0] != "C" and kind not in {"Zl", "Zp"}:
        return char
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def bounded(text: str, most: int = LONGEST) -> str:
    """Return clean text of at most so many characters, with what is left out in the middle."""
    if len(text) > 4 * most:  # a hostile one is not read to its end
        text = text[: 2 * most] + text[-2 * most :]
    text = clean(text)
    if len(text) <= most:
        return text
    tail = (most - 1) * 3 // 5  # the end of an id tells more than its beginning
    return text[: most - 1 - tail] + _ELLIPSIS + text[len(text) - tail :]


def fitted(text: str, width: float, size: float) -> str:
    """Return clean text that is not wider than `width` when it is `size` high."""
    text = bounded(text)
    if width_of(text, size) <= width:
        return text
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if width_of(bounded(text, middle), size) <= width:
            low = middle
        else:
            high = middle - 1
    return bounded(text, low)


def width_of(text: str, size: float) -> float:
    """Return about how wide text is in a sans-serif font of a size, rather more than less."""
    return sum(_widths(text)) * size


def _widths(text: str) -> Iterator[float]:
    for char in text:
        if char in _NARROW:
            yield 0.39
        elif char in _WIDE:
            yield 0.95
        elif unicodedata.east_asian_width(char) in "WF":
            yield 1.05
        elif char.isupper():
            yield 0.74
        else:
            yield 0.62


def markup(text: str) -> str:
    """Return clean text for HTML and SVG, as content or in quotes."""
    return html.escape(clean(text), quote=True)
