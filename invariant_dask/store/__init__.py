"""Where artifacts live: the contract of a store, and the stores that come with the package.

A `StoreRef` is unpickled by importing this package, which makes all openers known.
"""

from invariant_dask.store import codecs  # noqa: F401  makes the formats of libraries known
from invariant_dask.store.about import About
from invariant_dask.store.backend import StoreStats
from invariant_dask.store.base import Store, StoreRef
from invariant_dask.store.disk import DiskStore
from invariant_dask.store.memory import MemoryStore
from invariant_dask.store.null import NullStore
from invariant_dask.store.opening import open_store
from invariant_dask.store.record import Found, PlannedEntry, Record

__all__ = [
    "About",
    "DiskStore",
    "Found",
    "MemoryStore",
    "NullStore",
    "PlannedEntry",
    "Record",
    "Store",
    "StoreRef",
    "StoreStats",
    "open_store",
]
