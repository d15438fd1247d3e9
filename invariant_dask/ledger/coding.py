"""Events as JSON, and back.

As JSON an event is an object with its `event`, the name of its type, and those fields that are not
at their default; `schema` is always there. `SCHEMA` is raised when a reader of the old form would
misread the new one, and then refuses the run; what is only added is passed over by older readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

from invariant_dask.errors import EventError, NewerEventsError
from invariant_dask.ledger.events import (
    NUMBER_LIMIT,
    SCHEMA,
    TEXT_LIMIT,
    TYPES,
    Event,
    RunStarted,
    cut,
)

_DEFAULTS = {
    kind: tuple((field.name, field.default) for field in fields(kind)) for kind in TYPES.values()
}
_WORDS = {str: "a text", int: "an integer of 64 bits", bool: "true or false"}
_NEEDED = {
    kind: frozenset(name for name, default in form if default is MISSING)
    for kind, form in _DEFAULTS.items()
}


def _hints(kind: type[Event]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


_HINTS = {kind: _hints(kind) for kind in TYPES.values()}


def to_json(event: Event) -> dict[str, Any]:
    """Return an event as a JSON object; MessagePack takes it too."""
    found: dict[str, Any] = {"event": event.event}
    for name, default in _DEFAULTS[type(event)]:
        value = getattr(event, name)
        if value != default:
            found[name] = list(value) if type(value) is tuple else value
    if type(event) is RunStarted:
        found["schema"] = event.schema  # the default of a later version is another one
    return found


def from_json(data: object) -> Event | None:
    """Return the event that `to_json` wrote; None for a type that only a newer version knows.

    Raises
    ------
    EventError
        If it is anything else.
    NewerEventsError
        If it begins a run whose events this version would misread.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("event"), str):
        raise EventError("an event must be an object that names its type as `event`")
    kind = TYPES.get(data["event"])
    if kind is None:
        return None
    hints = _HINTS[kind]
    given = {
        name: value
        if type(value) is (hint := hints[name])
        and (len(value) <= TEXT_LIMIT if hint is str else abs(value) < NUMBER_LIMIT)
        else _converted(kind, name, value)
        for name, value in data.items()
        if name in hints
    }
    missing = _NEEDED[kind].difference(given)
    if missing:
        raise EventError(f"{kind.event}: {', '.join(sorted(missing))} must be given")
    if kind is RunStarted and given.get("schema", 1) > SCHEMA:
        raise NewerEventsError(
            f"run {given['run']:.40} has events of schema {given['schema']}, and this version "
            f"reads {SCHEMA} at most; use a newer invariant-dask"
        )
    return kind(**given)


def _converted(kind: type[Event], name: str, value: object) -> Any:
    """Return a field that JSON or MessagePack gave another type, or a text that is too long."""
    hint = _HINTS[kind][name]
    if hint is str and isinstance(value, str):
        return cut(value)
    if hint == tuple[str, ...] and isinstance(value, (list, tuple)):  # noqa: SIM102
        if all(isinstance(each, str) for each in value):
            return tuple(map(cut, value))
    # The type alone: to show an integer of a million digits takes long, or fails.
    found = "a greater one" if hint is int is type(value) else f"of type {type(value).__name__}"
    expected = _WORDS.get(hint, "a list of texts")
    raise EventError(f"{kind.event}: {name} must be {expected}, not {found}")
