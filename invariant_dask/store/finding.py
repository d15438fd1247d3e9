"""Find the stores that are named, each by itself, for whoever looks after them; none is made."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from invariant_dask.errors import SpecError
from invariant_dask.store.base import Store
from invariant_dask.store.chain import ChainStore
from invariant_dask.store.opening import DEFAULT_PATH, VARIABLE, described, listed, open_store
from invariant_dask.store.tiers import Tier


def find_stores(where: str | None = None, cure: str = "name one that is") -> list[Tier]:
    """Open a store, or each tier of a chain, if it is there.

    Parameters
    ----------
    where
        What `open_store` takes as text.
    cure
        What to do if there is none, for people.

    Returns
    -------
    The tiers that are there, from near to far, at least one.

    Raises
    ------
    SpecError
        If there is no store at all, or the text names none.
    StoreLayoutError, StoreUnavailableError
        If one is there and cannot be used.
    """
    name = where or os.environ.get(VARIABLE) or DEFAULT_PATH
    items: Sequence[Any] = listed(name) if name.lstrip().startswith("[") else [name]
    found = [tier for item in items if (tier := _find(item)) is not None]
    if not found:
        raise SpecError(f"there is no store at {name}; {cure}")
    return found


def joined(tiers: Sequence[Tier]) -> Store:
    """Return one store, or several as a chain."""
    if len(tiers) == 1 and tiers[0].write != "read-only":
        return tiers[0].store
    return ChainStore(*tiers)


def _find(item: Any) -> Tier | None:
    url, how, options = described(item)
    if not isinstance(url, str):
        return Tier(open_store(url, **options), **how)  # which says what is wrong with it
    folder = _folder(url, options)
    if folder is not None and not _may_be_store(folder):
        return None
    store = open_store(url, **options)
    keeper = store.keeper()
    if keeper is not None and keeper.read_note("", "LAYOUT") is None:
        return None  # a place in a bucket where there is none yet
    return Tier(store, **how)


def _folder(url: str, options: Mapping[str, Any]) -> Path | None:
    """Return the folder that a store would be in, if it would be in one."""
    scheme = url.partition(":")[0].lower()
    if scheme == "file":
        folder = Path(unquote(urlsplit(url).path))
    elif "://" in url or url in {"memory:", "null:"}:
        return None
    else:
        folder = Path(url.removeprefix("disk:")).expanduser()
    namespace = options.get("namespace")
    return folder / "namespaces" / namespace if namespace else folder


def _may_be_store(folder: Path) -> bool:
    """Whether opening it makes nothing: it is a store, or something else, which is then refused."""
    if (folder / "LAYOUT").exists() or folder.is_file():
        return True
    return folder.is_dir() and any(folder.iterdir())
