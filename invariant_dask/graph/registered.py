"""Registered types by the name that documents give them. Nothing is imported here."""

from __future__ import annotations

import sys
from typing import Any

from invariant_dask.core import types

_known_as: dict[str, type] = {}
_name_of: dict[type, str] = {}


def known_as(name: str, cls: type) -> None:
    """Let documents call a registered class by another name than `module.Class`.

    A class that really has that name, and is registered, is preferred when a document is read.
    """
    _known_as[name] = cls
    _name_of[cls] = name


def has_json(cls: type) -> bool:
    """Whether values of a class can be written as plain JSON and read back."""
    return callable(getattr(cls, "to_json_value", None)) and callable(
        getattr(cls, "from_json_value", None)
    )


def type_name(cls: type) -> str | None:
    """Return what documents call a class, or None if it could not be found by that name again."""
    if cls in _name_of:
        return _name_of[cls]
    name = f"{cls.__module__}.{cls.__qualname__}"
    return name if _look_up(name) is cls else None


def find_type(name: str) -> types.TypeBinding | None:
    """Return the registered type of this name, among the modules that are there already."""
    for cls in (_look_up(name), _known_as.get(name)):
        binding = types.binding_of(cls) if cls is not None else None
        if binding is not None:
            return binding
    return None


def _look_up(name: str) -> type | None:
    parts = name.split(".")
    for size in range(len(parts) - 1, 0, -1):
        found: Any = sys.modules.get(".".join(parts[:size]))
        if found is None:
            continue
        for part in parts[size:]:
            # Not getattr: a module may import things, and a class compute them, when it is asked.
            found = vars(found).get(part) if hasattr(found, "__dict__") else None
        return found if isinstance(found, type) else None
    return None
