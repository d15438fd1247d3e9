"""What a client agrees on with a cluster: one store that all see, and whose keys it shares.

A scheduler is one store and trust domain: who shares its keys believes the same signatures. The
first user pins it in the scheduler's metadata; whoever comes with another store or policy works
under salted keys, so that neither is handed results that only the other's store has, or believes.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from invariant_dask.core.digest import sha256
from invariant_dask.errors import StoreNotSharedError, StoreUnavailableError
from invariant_dask.store.opening import StoreRef

if TYPE_CHECKING:
    from distributed import Client

    from invariant_dask.store.base import Store

_checked: WeakKeyDictionary[Any, dict[str, frozenset[str]]] = WeakKeyDictionary()
_lock = threading.Lock()

_PATIENCE = 10.0

logger = logging.getLogger("invariant_dask.runtime")


def _after_fork() -> None:
    global _lock  # noqa: PLW0603  a thread that the child does not have may hold it
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def check_shared(client: Client, store: Store) -> None:
    """Open the client's store on every worker that was not asked yet.

    Raises
    ------
    StoreNotSharedError
        If a worker does not see it; nothing was submitted.
    """
    ref = store.ref()
    try:
        ref.show()
    except StoreUnavailableError as error:
        msg = f"workers cannot check that they see the store: {error}"
        raise StoreNotSharedError(msg) from error
    workers = frozenset(client.scheduler_info(n_workers=-1)["workers"])
    seen = _checked.setdefault(client, {})
    fresh = workers - seen.get(ref.token, frozenset())
    if not fresh:
        return
    answers = client.run(_try_to_open, ref, workers=sorted(fresh))
    refusals = {worker: answer for worker, answer in answers.items() if answer}
    if refusals:
        worker, reason = min(refusals.items())
        msg = f"worker {worker} does not see the store of this client: {reason}"
        raise StoreNotSharedError(msg)
    seen[ref.token] = workers


def _try_to_open(ref: StoreRef) -> str:
    from invariant_dask.errors import StoreError

    try:
        ref.open()
    except StoreError as error:
        return str(error)
    return ""


def domain_salt(client: Client, store: Store) -> bytes:
    """Return nothing for the store and policy that the scheduler is pinned to, else a salt."""
    pinned = client.run_on_scheduler(_pin, store.domain)
    if pinned == store.domain:
        return b""
    warnings.warn(
        f"this scheduler works with the store {pinned}; with {store.domain}, tasks get keys of "
        "their own and share nothing with other users of the scheduler",
        stacklevel=2,
    )
    return sha256(store.domain.encode()).digest()


def _pin(domain: str, dask_scheduler: Any) -> str:
    """Return what a scheduler is pinned to: the first store that anybody comes with."""
    metadata = dask_scheduler.task_metadata.setdefault("invariant-dask", {})
    return str(metadata.setdefault("store", domain))
