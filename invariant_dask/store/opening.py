"""Open stores by what people write: a path, `memory:`, `null:`, a list of them; or by reference."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from invariant_dask.errors import SpecError
from invariant_dask.store.base import Store, StoreRef, register_live
from invariant_dask.store.chain import ChainStore
from invariant_dask.store.disk import DiskStore
from invariant_dask.store.memory import MemoryStore
from invariant_dask.store.null import NullStore
from invariant_dask.store.tiers import Tier

__all__ = ["DEFAULT_PATH", "VARIABLE", "StoreRef", "open_store", "register_live"]

VARIABLE = "INVARIANT_STORE"
"""The environment variable that names the store where nobody else does."""

DEFAULT_PATH = ".invariant"

_KNOWN = "memory:, null:, disk:PATH, a path, or a list of these"
# Two letters at least, so that C:\folder is a path.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(.*)", re.DOTALL)

_shared: WeakValueDictionary[str, DiskStore] = WeakValueDictionary()
os.register_at_fork(after_in_child=_shared.clear)

_chains: WeakValueDictionary[tuple[Any, ...], ChainStore] = WeakValueDictionary()
os.register_at_fork(after_in_child=_chains.clear)

_TIER_OPTIONS = {"url", "write", "private", "name"}

One = str | os.PathLike[str] | Store
Where = One | Sequence[One | Tier | Mapping[str, Any]]
"""What names a store, or several from near to far."""


def open_store(where: Where | None = None) -> Store:
    """Return the store that is meant by a URL or path, or the chain that is meant by several.

    Parameters
    ----------
    where
        `"memory:"`, `"null:"`, `"disk:PATH"`, a path, or a store, which is returned as it is. By
        default what the environment variable `INVARIANT_STORE` says, else the folder `.invariant`.
        While the store of a folder is in use, the same one is returned again.

        A list gives a `ChainStore` from near to far. Each item is one of these, a `Tier`, or a
        mapping with `url` and what `Tier` takes: `{"url": "/shared", "write": "behind"}`. Text
        that begins with `[` is such a list in JSON, in the variable too; a folder whose name
        begins so is written `./[name`.

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
    >>> open_store(["memory:", "null:"])
    ChainStore('["memory:", "null:"]')
    """
    if isinstance(where, Store):
        return where
    if where is None:
        where = os.environ.get(VARIABLE) or DEFAULT_PATH
    if isinstance(where, str) and where.lstrip().startswith("["):
        where = _listed(where)
    if isinstance(where, (list, tuple)):
        return _chain(where)
    if isinstance(where, Path):
        return _disk(where)
    given: object = where
    text = os.fspath(given) if isinstance(given, (str, os.PathLike)) else ""
    if not text:
        msg = f"not one place of a store: {where!r}; there are {_KNOWN}"
        raise SpecError(msg)
    return _from_text(text)


def _listed(text: str) -> list[Any]:
    try:
        listed = json.loads(text)
    except ValueError as error:
        msg = (
            f'not a JSON list of stores: {text!r} ({error}); write ["./.invariant", "/shared"], '
            "or ./ before the name of a folder that begins with ["
        )
        raise SpecError(msg) from error
    assert isinstance(listed, list)
    return listed


def _chain(items: Sequence[Any]) -> ChainStore:
    # Whoever compiles often gets the same chain: it knows which tiers fail, and what they miss.
    tiers = [_tier(item) for item in items]
    key = tuple((tier.store, tier.write, tier.private, tier.name) for tier in tiers)
    chain = _chains.get(key)
    if chain is None:
        chain = _chains[key] = ChainStore(*tiers)
    return chain


def _tier(item: Any) -> Tier:
    if isinstance(item, Tier):
        return item
    if not isinstance(item, Mapping):
        if isinstance(item, (list, tuple)) or item is None:
            raise SpecError(f"not a tier of a chain: {item!r}; there are {_KNOWN}, but lists")
        return Tier(open_store(item))
    unknown = item.keys() - _TIER_OPTIONS
    if unknown or "url" not in item:
        msg = (
            f"not a tier of a chain: {dict(item)!r}; it takes url, and perhaps write, private, name"
        )
        raise SpecError(msg)
    options = {name: item[name] for name in _TIER_OPTIONS - {"url"} if name in item}
    return Tier(open_store(item["url"]), **options)


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
