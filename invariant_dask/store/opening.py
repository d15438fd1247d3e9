"""Open stores by what people write: a path, `memory:`, `null:`; or by reference."""

from __future__ import annotations

import os
import re
from pathlib import Path
from weakref import WeakValueDictionary

from invariant_dask.errors import SpecError
from invariant_dask.store.base import Store, StoreRef, register_live
from invariant_dask.store.disk import DiskStore
from invariant_dask.store.memory import MemoryStore
from invariant_dask.store.null import NullStore

__all__ = ["DEFAULT_PATH", "VARIABLE", "StoreRef", "open_store", "register_live"]

VARIABLE = "INVARIANT_STORE"
"""The environment variable that names the store where nobody else does."""

DEFAULT_PATH = ".invariant"

_KNOWN = "memory:, null:, disk:PATH, or a path"
# Two letters at least, so that C:\folder is a path.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(.*)", re.DOTALL)

_shared: WeakValueDictionary[str, DiskStore] = WeakValueDictionary()
os.register_at_fork(after_in_child=_shared.clear)


def open_store(where: str | os.PathLike[str] | Store | None = None) -> Store:
    """Return the store that is meant by a URL or path.

    Parameters
    ----------
    where
        `"memory:"`, `"null:"`, `"disk:PATH"`, a path, or a store, which is returned as it is. By
        default what the environment variable `INVARIANT_STORE` says, else the folder `.invariant`.
        While the store of a folder is in use, the same one is returned again.

    Raises
    ------
    SpecError
        If it is nothing of that.
    StoreLayoutError
        If the path holds something else than a store, or one of another layout version.
    StoreUnavailableError
        If the place cannot be used.

    Examples
    --------
    >>> open_store("memory:")
    MemoryStore('memory:')
    """
    if isinstance(where, Store):
        return where
    if where is None:
        where = os.environ.get(VARIABLE) or DEFAULT_PATH
    if isinstance(where, Path):
        return _disk(where)
    given: object = where
    if any(cls.__module__.partition(".")[0] == "invariant" for cls in type(where).__mro__):
        msg = (
            f"{type(where).__name__} is a store of the package invariant, whose entries have other "
            "identities; pass a store of invariant_dask, or a path for a new one"
        )
        raise SpecError(msg)
    text = os.fspath(given) if isinstance(given, (str, os.PathLike)) else ""
    if not text:
        msg = f"not one place of a store: {where!r}; there are {_KNOWN}"
        raise SpecError(msg)
    return _from_text(text)


def _disk(path: str | Path) -> DiskStore:
    # Whoever compiles often must not open files as often.
    key = str(Path(path).expanduser().absolute())
    store = _shared.get(key)
    if store is None or not store.is_in_place:
        store = _shared[key] = DiskStore(path)
    return store


def _from_text(where: str) -> Store:
    match = _SCHEME.fullmatch(where)
    if match is None:
        return _disk(where)
    scheme, rest = match[1].lower(), match[2]
    if scheme == "disk" and rest:
        return _disk(rest)
    if scheme in {"memory", "null"} and not rest:
        return MemoryStore() if scheme == "memory" else NullStore()
    msg = f"no store for {where!r}; there are {_KNOWN} (write ./{where} if that is a folder)"
    raise SpecError(msg)
