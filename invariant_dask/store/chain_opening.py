"""Open a chain from a reference, in a process that may not see all of its tiers."""

from __future__ import annotations

import logging
import os
import stat
import tempfile
import threading
from pathlib import Path
from typing import Any

from invariant_dask.core.digest import sha256
from invariant_dask.errors import StoreError, StoreNotSharedError, StoreUnavailableError
from invariant_dask.store.base import Store, StoreRef, openers
from invariant_dask.store.chain import ChainStore
from invariant_dask.store.chain_ref import ChainRef, TierRef
from invariant_dask.store.compression import usable
from invariant_dask.store.disk import DiskStore
from invariant_dask.store.late import LateStore
from invariant_dask.store.tiers import Tier
from invariant_dask.store.trust import Terms

logger = logging.getLogger("invariant_dask.store")


def open_chain(ref: StoreRef) -> Store:
    """Return the chain that a reference names, with what this process sees of it.

    Raises
    ------
    StoreNotSharedError
        If this process does not see a tier that all must see.
    StoreUnavailableError
        If no shared tier that can be written is in reach.
    """
    assert isinstance(ref, ChainRef)
    tiers: list[Tier] = []
    proven = False
    for each in ref.tiers:
        store, shared = _open_tier(each)
        if store is not None:
            tiers.append(Tier(store, each.write, each.private, each.name))
            proven |= shared and each.write != "read-only"
    if not proven:
        late = [tier.store.url for tier in tiers if isinstance(tier.store, LateStore)]
        if late:
            raise StoreUnavailableError(f"no shared tier is in reach, only later: {late[0]}")
        msg = (
            f"the chain {ref.url} has no tier that other processes share and write; add one behind "
            "the private ones, such as a folder that all workers see or an s3:// URL"
        )
        raise StoreNotSharedError(msg)
    key = ref.url, tuple(_ref_key(tier.store) for tier in tiers)
    with _opened_lock:
        chain = _opened.get(key)
        if chain is None:
            chain = _opened[key] = ChainStore(*tiers)
    return chain


def _ref_key(store: Store) -> Any:
    return store.key if isinstance(store, LateStore) else store


def _open_tier(tier: TierRef) -> tuple[Store | None, bool]:
    """Return the store of a tier, and whether it is surely the same as the client's."""
    if tier.private and tier.folder:
        return _private(tier), False
    try:
        return tier.ref.open(), True
    except StoreNotSharedError as error:
        if tier.folder:
            return _private(tier), False
        if tier.required:
            raise
        logger.warning("tier %s is not used here: %s", tier.name or tier.ref.url, error)
        return None, False
    except StoreUnavailableError as error:
        logger.warning("tier %s cannot be reached yet: %s", tier.name or tier.ref.url, error)
        how = repr(sorted(tier.ref.options.items()))
        return LateStore(tier.ref.url, tier.ref.terms, tier.ref.open, tier.ref, how), False


def _private(tier: TierRef) -> Store | None:
    """Open a folder of this host: at the tier's own path if that can be had, or a temporary one."""
    path = Path(tier.folder)
    try:
        if not (path / "LAYOUT").exists() and not _may_make(path):
            path = _temporary(tier.folder)
        terms = tier.ref.terms
        compression = usable(tier.ref.options.get("compression"), str(path))
        key = str(path), tier.size_limit, terms, compression
        with _opened_lock:
            store = _folders.get(key)
            if store is None or not store.is_in_place:
                store = _folders[key] = DiskStore(
                    path, size_limit=tier.size_limit, terms=terms, compression=compression
                )
    except (StoreError, OSError) as error:
        logger.warning("tier %s is not used here: %s", tier.name or tier.folder, error)
        return None
    return store


def _may_make(path: Path) -> bool:
    there = path if path.exists() else path.parent
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _temporary(folder: str) -> Path:
    """Return a path under a folder of this user's own: others could put false artifacts there."""
    user = os.getuid()
    base = Path(tempfile.gettempdir()) / f"invariant-dask-{user}"
    base.mkdir(mode=0o700, exist_ok=True)
    found = base.lstat()
    if (
        found.st_uid != user
        or stat.S_IMODE(found.st_mode) & 0o077
        or not stat.S_ISDIR(found.st_mode)
    ):
        msg = f"{base} belongs to somebody else, or others may write there; remove it"
        raise StoreUnavailableError(msg)
    return base / sha256(folder.encode()).hexdigest()[:16]


# What this process opened from references; it stays open between tasks.
_opened: dict[Any, ChainStore] = {}
_folders: dict[tuple[str, int | None, Terms, str | None], DiskStore] = {}
_opened_lock = threading.Lock()


def _after_fork() -> None:
    global _opened_lock  # noqa: PLW0603  a thread that the child does not have may hold it
    _opened_lock = threading.Lock()
    # Its writers are those of the parent; the stores of folders know how to go on.
    _opened.clear()


os.register_at_fork(after_in_child=_after_fork)
openers[ChainStore.kind] = open_chain
