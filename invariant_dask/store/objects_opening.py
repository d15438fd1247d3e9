"""Open object stores from references, in the processes that work for a client."""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable

from invariant_dask.errors import StoreNotSharedError
from invariant_dask.store.base import Store, StoreRef
from invariant_dask.store.compression import usable
from invariant_dask.store.objects import ObjectStore

# The stores of this process that were opened from references; they stay open between tasks.
_opened: dict[Hashable, ObjectStore] = {}
_opened_lock = threading.Lock()


def _after_fork() -> None:
    global _opened_lock  # noqa: PLW0603  a thread that the child does not have may hold it
    _opened_lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def open_reference(ref: StoreRef) -> Store:
    """Return the store that a client referred to, if this process sees it.

    Raises
    ------
    StoreNotSharedError
        If it does not.
    """
    options = dict(ref.options)
    if "compression" in options:
        options["compression"] = usable(options["compression"], ref.url)
    store = ObjectStore(ref.url, terms=ref.terms, **options)
    if store.is_process_local:
        msg = f"{ref.url} is in the memory of the process that made it; use a store that is shared"
        raise StoreNotSharedError(msg)
    with _opened_lock:
        store = _opened.setdefault(store.key, store)
    if not store.sees_token(ref.token):
        msg = (
            f"this process ({os.uname().nodename}, pid {os.getpid()}) does not see the store "
            f"{store.place} of the client: give it the same endpoint, or a folder that is shared"
        )
        raise StoreNotSharedError(msg)
    return store
