"""Open a folder from a reference: only if the client's token is in it."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from invariant_dask.errors import StoreNotSharedError, StoreUnavailableError
from invariant_dask.store.base import Store, StoreRef, openers
from invariant_dask.store.disk import DiskStore
from invariant_dask.store.trust import Terms

# The stores of this process that were opened from references; they stay open between tasks.
_opened: dict[tuple[str, int | None, Terms], DiskStore] = {}
_opened_lock = threading.Lock()


def _after_fork() -> None:
    global _opened_lock  # noqa: PLW0603  a thread that the child does not have may hold it
    _opened_lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def open_disk(ref: StoreRef) -> Store:
    """Return the store in the folder that a reference names.

    Raises
    ------
    StoreNotSharedError
        If this process does not see that folder.
    StoreUnavailableError
        If it sees it and cannot use it.
    """
    # The folder is never made here: an empty one on the wrong disk would look like a store.
    try:
        limit = json.loads((Path(ref.url) / "tokens" / ref.token).read_text())["size_limit"]
    except (FileNotFoundError, NotADirectoryError):
        msg = (
            f"this process ({os.uname().nodename}, pid {os.getpid()}) does not see the store "
            f"{ref.url} of the client; use a folder that all workers share, or an s3:// URL, or "
            "let results stay on the client with NullStore"
        )
        raise StoreNotSharedError(msg) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"store {ref.url} of the client cannot be opened here: {error}"
        raise StoreUnavailableError(msg) from error
    with _opened_lock:
        store = _opened.get((ref.url, limit, ref.terms))
        if store is None:
            store = DiskStore(ref.url, size_limit=limit, terms=ref.terms)
            _opened[ref.url, limit, ref.terms] = store
        store.settle_in()
    return store


openers[DiskStore.kind] = open_disk
