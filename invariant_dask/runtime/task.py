"""The functions that Dask tasks call: produce a node, load a stored one, unwrap a handle."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask.local

from invariant_dask.core.digest import PlannedDigest
from invariant_dask.core.sealed import SealedDict
from invariant_dask.errors import ArtifactLostError
from invariant_dask.runtime.handle import Handle, Outcome, Recipe
from invariant_dask.runtime.produce import RunInfo, Spec, produce

TOPIC = "invariant-dask"
"""The event topic of a scheduler on which outcomes are announced."""


def run_node(spec: Spec, *handles: Handle) -> Handle:
    """Produce the artifact of one node; see `runtime.produce.produce`."""
    worker = _cluster_worker()
    address = "" if worker is None else str(worker.address)
    handle = produce(spec, handles[: spec.arity], spec.info.store.open(), address)
    if spec.reports and worker is not None:
        announce(worker, spec, handle.outcome)
    return handle


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
        recipe=again,
    )  # fmt: skip


def unwrap(handle: Handle) -> Any:
    """Return the sealed value behind a handle."""
    value = handle.value(sealed=True)
    if _cluster_worker() is None:
        return value
    # Imported here: it brings distributed along, which local schedulers do without.
    from invariant_dask.runtime.sealing import seal_arrays

    return seal_arrays(value)


def unwrap_all(names: Sequence[str], *handles: Handle) -> Any:
    """Return the sealed values of several outputs by name."""
    return SealedDict(zip(names, map(unwrap, handles), strict=True))


def announce(worker: Any, spec: Spec, outcome: Outcome) -> None:
    """Tell the client of a cluster what happened; local schedulers hand it the handle itself."""
    worker.log_event(
        TOPIC,
        {
            "run": spec.info.run,
            "digest": spec.planned.hex(),
            "kind": outcome.kind,
            "nanoseconds": outcome.nanoseconds,
            "attempts": outcome.attempts,
        },
    )


def _cluster_worker() -> Any:
    """Return the distributed worker that runs this task, or None under a local scheduler."""
    distributed = sys.modules.get("distributed.worker")
    if distributed is None:
        return None
    try:
        return distributed.get_worker()
    except ValueError:
        return None
