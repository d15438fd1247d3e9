"""Messages are cut to a size before anything of them is remembered: anybody may send one."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

NAME_LIMIT, TEXT_LIMIT, TRACE_LIMIT = 200, 1000, 6000
"""The most characters of an id or name, of other words, and of errors."""

ITEMS_LIMIT, CAUSES_LIMIT = 1000, 10

_TEXTS = {"text", "reason", "causes"}
_TRACES = {"error", "traceback"}
_LATEST = 1 << 62


def trim(data: Mapping[str, Any], sender: str) -> dict[str, Any]:
    """Return an event's JSON with all that is too long or too large cut.

    Names stay different if they were. What is of a wrong type is left as it is.
    """
    found: dict[str, Any] = {}
    for name, value in data.items():
        if type(value) is str:
            plain = len(value) <= NAME_LIMIT and value.isascii()
            found[name] = value if plain else _cut(name, value)
        elif type(value) is int:
            found[name] = value if 0 <= value <= _LATEST else min(max(value, 0), _LATEST)
        elif type(value) in {list, tuple}:
            limit = CAUSES_LIMIT if name in _TEXTS else ITEMS_LIMIT
            found[name] = [
                _cut(name, item) if type(item) is str else item for item in value[:limit]
            ]
        else:
            found[name] = value
    if sender and not found.get("worker"):
        found["worker"] = sender
    return found


def _cut(name: str, text: str) -> str:
    if len(text) <= NAME_LIMIT:
        # Half of a surrogate pair would stop every page that shows it.
        return text if text.isascii() else text.encode(errors="replace").decode()
    if name in _TRACES:
        # The end of a traceback says most.
        cut = text if len(text) <= TRACE_LIMIT else f"[...]\n{text[-TRACE_LIMIT:]}"
    elif name in _TEXTS:
        cut = text if len(text) <= TEXT_LIMIT else f"{text[:TEXT_LIMIT]} [...]"
    else:
        mark = sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]
        cut = f"{text[: NAME_LIMIT - 20]}...{mark}"
    return cut.encode(errors="replace").decode()
