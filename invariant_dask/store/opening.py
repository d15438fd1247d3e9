"""Open stores by what people write: a path, `memory:`, `null:`; or by reference."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from invariant_dask.errors import SpecError
from invariant_dask.store.base import Store, StoreRef, openers, register_live
from invariant_dask.store.disk import DiskStore
from invariant_dask.store.memory import MemoryStore
from invariant_dask.store.null import NullStore

__all__ = ["DEFAULT_PATH", "VARIABLE", "StoreRef", "open_store", "register_live"]

VARIABLE = "INVARIANT_STORE"
"""The environment variable that names the store where nobody else does."""

DEFAULT_PATH = ".invariant"

_KNOWN = "memory:, null:, disk:PATH, s3://, gs://, az://, file:// and memory:// URLs, or a path"
_OBJECTS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "file", "memory"}
# Two letters at least, so that C:\folder is a path.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(.*)", re.DOTALL)

_shared: WeakValueDictionary[str, Any] = WeakValueDictionary()
os.register_at_fork(after_in_child=_shared.clear)


def open_store(where: str | os.PathLike[str] | Store | None = None, **options: Any) -> Store:
    """Return the store that is meant by a URL or path.

    Parameters
    ----------
    where
        `"memory:"`, `"null:"`, `"disk:PATH"`, a path, a URL of an `ObjectStore`, or a store, which
        is returned as it is. By default what the environment variable `INVARIANT_STORE` says, else
        the folder `.invariant`. While the store of a folder or URL is in use, the same one is
        returned again.
    options
        For an `ObjectStore`: credentials, endpoint and the like.

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
    if options and not (isinstance(where, str) and "://" in where):
        msg = f"{', '.join(options)}: only stores that are named by a URL take options"
        raise SpecError(msg)
    if isinstance(where, Store):
        return where
    if where is None:
        where = os.environ.get(VARIABLE) or DEFAULT_PATH
    if isinstance(where, Path):
        return _disk(where)
    given: object = where
    text = os.fspath(given) if isinstance(given, (str, os.PathLike)) else ""
    if not text:
        msg = f"not one place of a store: {where!r}; there are {_KNOWN}"
        raise SpecError(msg)
    return _from_text(text, options)


def _disk(path: str | Path) -> DiskStore:
    # Whoever compiles often must not open files as often.
    key = str(Path(path).expanduser().absolute())
    store = _shared.get(key)
    if store is None or not store.is_in_place:
        store = _shared[key] = DiskStore(path)
    return store


def _objects(url: str, options: dict[str, Any]) -> Store:
    from invariant_dask.store.objects import ObjectStore

    store = ObjectStore(url, **options)
    shared = _shared.get(store.key)
    if shared is not None:
        return shared  # type: ignore[no-any-return]
    store.check_layout()
    _shared[store.key] = store
    return store


def _from_text(where: str, options: dict[str, Any]) -> Store:
    match = _SCHEME.fullmatch(where)
    if match is None:
        return _disk(where)
    scheme, rest = match[1].lower(), match[2]
    if scheme in _OBJECTS and rest.startswith("//"):
        return _objects(where, options)
    if scheme == "disk" and rest:
        return _disk(rest)
    if scheme in {"memory", "null"} and not rest:
        return MemoryStore() if scheme == "memory" else NullStore()
    msg = f"no store for {where!r}; there are {_KNOWN} (write ./{where} if that is a folder)"
    raise SpecError(msg)


def _open_objects(ref: StoreRef) -> Store:
    from invariant_dask.store.objects import open_reference

    return open_reference(ref)


# By name: what it takes is imported where such a store is used, and nowhere else.
openers["objects"] = _open_objects
