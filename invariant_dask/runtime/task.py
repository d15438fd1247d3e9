"""The functions that Dask tasks call: produce a node, load a stored one, unwrap a handle."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import dask.local

from invariant_dask.core.digest import PlannedDigest
from invariant_dask.core.sealed import SealedDict
from invariant_dask.errors import ArtifactLostError, StoreUnavailableError
from invariant_dask.runtime.handle import Handle, Outcome, Recipe
from invariant_dask.runtime.outbox import outbox_of, say_settled
from invariant_dask.runtime.produce import produce
from invariant_dask.runtime.spec import RunInfo, Spec, bind_types
from invariant_dask.runtime.watching import produce_and_tell
from invariant_dask.store.backend import Missed
from invariant_dask.store.base import Store
from invariant_dask.store.opening import StoreRef


def run_node(spec: Spec, *handles: Handle) -> Handle:
    """Produce the artifact of one node; see `runtime.produce.produce`."""
    worker = _cluster_worker()
    address = "" if worker is None else str(worker.address)
    store = spec.job.info.store.open()
    if worker is not None and not spec.job.store_first:
        _let_entries_wait(store)
    inputs = handles[: spec.arity]
    if worker is None or not spec.job.reports:
        return produce(spec, inputs, store, address)
    emit = outbox_of(worker).emit
    return produce_and_tell(lambda: produce(spec, inputs, store, address), spec, emit, address)


_waiting: dict[Store, AbstractContextManager[None]] = {}
_waiting_lock = threading.Lock()


def _let_entries_wait(store: Store) -> None:
    """Let tasks of this worker commit together, until the run they belong to says `settle`."""
    if store not in _waiting:
        with _waiting_lock:
            if store not in _waiting:
                group = store.grouping()
                group.__enter__()
                _waiting[store] = group


def settle(
    ref: StoreRef, everywhere: bool = False, token: str = "", dask_worker: Any = None
) -> tuple[Missed, ...]:
    """Commit what tasks of this worker published.

    With `everywhere`, also wait until all tiers of a chain have it, and return what they lack.
    With a token, send all events that wait, and the token behind them.

    Raises
    ------
    StoreUnavailableError
        If not all of it could be kept.
    """
    if token and dask_worker is not None:
        say_settled(dask_worker, token)
    store = ref.open()
    with _waiting_lock:
        group = _waiting.pop(store, None)
    if group is not None:
        group.__exit__(None, None, None)
    if everywhere:
        return store.barrier()
    lost = store.missed()
    if lost is not None:
        raise StoreUnavailableError(f"not persisted: {lost}")
    return ()


@dataclass(frozen=True, slots=True)
class ByGraph:
    """Makes a node again by the complete graph, in the process that has it.

    It does not travel: each task would weigh as much as the graph.
    """

    graph: Mapping[str, Any]
    key: str

    def remake(self) -> Handle:
        return dask.local.get_sync(self.graph, self.key)  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()

    def __dask_tokenize__(self) -> str:
        return self.key


def load_node(planned: PlannedDigest, info: RunInfo, again: Recipe | None = None) -> Handle:
    """Return a handle for a stored artifact; its bytes are read by whoever uses them.

    Raises
    ------
    ArtifactLostError
        If the store no longer has it.
    """
    found = info.store.open().lookup([planned]).get(planned)
    if found is None:
        if again is not None:
            return again.remake()
        raise ArtifactLostError(digest=planned.hex(), reason="its record is gone")
    record = found.record
    return Handle(
        planned, record.descriptor, record.kind, record.size, Outcome("stored"), info.store, record,
        recipe=again, vouched=found.vouched,
    )  # fmt: skip


def unwrap(types: tuple[str, ...], handle: Handle) -> Any:
    """Return the sealed value behind a handle; it may be of a class that some package declares."""
    bind_types(types)
    value = handle.value(sealed=True)
    if _cluster_worker() is None:
        return value
    # Imported here: it brings distributed along, which local schedulers do without.
    from invariant_dask.runtime.sealing import seal_arrays

    return seal_arrays(value)


def unwrap_all(types: tuple[str, ...], names: Sequence[str], *handles: Handle) -> Any:
    """Return the sealed values of several outputs by name."""
    return SealedDict(zip(names, (unwrap(types, handle) for handle in handles), strict=True))


def _cluster_worker() -> Any:
    """Return the distributed worker that runs this task, or None under a local scheduler."""
    distributed = sys.modules.get("distributed.worker")
    if distributed is None:
        return None
    try:
        return distributed.get_worker()
    except ValueError:
        return None
