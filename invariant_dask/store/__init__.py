"""Where artifacts live: the contract of a store, and the stores that come with the package.

A `StoreRef` is unpickled by importing this package, which makes all openers known.
"""

from typing import TYPE_CHECKING, Any

from invariant_dask.store import codecs  # noqa: F401  makes the formats of libraries known
from invariant_dask.store.about import About
from invariant_dask.store.backend import Missed, StoreStats
from invariant_dask.store.base import Store, StoreRef
from invariant_dask.store.chain import ChainStore
from invariant_dask.store.chain_opening import open_chain as _open_chain  # noqa: F401
from invariant_dask.store.disk import DiskStore
from invariant_dask.store.disk_opening import open_disk as _open_disk  # noqa: F401
from invariant_dask.store.memory import MemoryStore
from invariant_dask.store.null import NullStore
from invariant_dask.store.opening import open_store
from invariant_dask.store.record import Found, PlannedEntry, Record
from invariant_dask.store.tiers import Tier, TierStats
from invariant_dask.store.wrapping import ReadOnly

if TYPE_CHECKING:
    from invariant_dask.store.objects import ObjectStore

__all__ = [
    "About",
    "ChainStore",
    "DiskStore",
    "Found",
    "MemoryStore",
    "Missed",
    "NullStore",
    "ObjectStore",
    "PlannedEntry",
    "ReadOnly",
    "Record",
    "Store",
    "StoreRef",
    "StoreStats",
    "Tier",
    "TierStats",
    "open_store",
]


def __getattr__(name: str) -> Any:
    if name == "ObjectStore":  # it brings asyncio along
        from invariant_dask.store.objects import ObjectStore

        return ObjectStore
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
