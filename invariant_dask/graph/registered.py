"""Registered types by the name that documents give them. Nothing is imported here."""

from __future__ import annotations

import sys
from typing import Any

from invariant_dask.core import types


def has_json(cls: type) -> bool:
    """Whether values of a class can be written as plain JSON and read back."""
    return callable(getattr(cls, "to_json_value", None)) and callable(
        getattr(cls, "from_json_value", None)
    )


def type_name(cls: type) -> str:
    """Return what documents call a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def find_type(name: str) -> types.TypeBinding | None:
    """Return the registered type of this name, among the modules that are there already."""
    parts = name.split(".")
    for size in range(len(parts) - 1, 0, -1):
        module = sys.modules.get(".".join(parts[:size]))
        if module is None:
            continue
        found: Any = module
        for part in parts[size:]:
            found = vars(found).get(part) if hasattr(found, "__dict__") else None
        return types.binding_of(found) if isinstance(found, type) else None
    return None
