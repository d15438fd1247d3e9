"""The body of a task: resolve, look up, and only then run the op and publish what it made.

The same function runs under the synchronous, threaded, multiprocessing and distributed schedulers.
A task carries encoded parameters and references, so that a scheduler can unpickle it without the
user's modules.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from invariant_dask.core import manifest as manifests
from invariant_dask.core.decode import decode
from invariant_dask.core.digest import PlannedDigest, ResolvedDigest
from invariant_dask.core.encode import Encoded, encode
from invariant_dask.core.files import FileContent
from invariant_dask.core.sealed import SealedDict
from invariant_dask.errors import (
    ArtifactLostError,
    NotCacheableError,
    OpFailedError,
    StoreUnavailableError,
)
from invariant_dask.ops.surroundings import fixed_surroundings
from invariant_dask.plan.program import Part, Template, assemble_manifest
from invariant_dask.runtime.code import CodeRef, function_of
from invariant_dask.runtime.failures import op_failed, op_returned
from invariant_dask.runtime.flight import Flights
from invariant_dask.runtime.handle import Handle, Outcome
from invariant_dask.store.base import Store
from invariant_dask.store.files import FileHasher, open_file
from invariant_dask.store.opening import StoreRef
from invariant_dask.store.record import About, PlannedEntry

logger = logging.getLogger("invariant_dask.runtime")

TOPIC = "invariant-dask"
"""The event topic of a scheduler on which outcomes are announced."""

_flights = Flights()
_hasher = FileHasher(None)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What all tasks of one submission share."""

    store: StoreRef
    run: str
    writer: str = ""


@dataclass(frozen=True, slots=True)
class Spec:
    """Everything a worker needs to produce one node, but for its inputs."""

    node: str
    code: CodeRef
    planned: PlannedDigest
    parts: tuple[Part, ...]
    count: int
    """How many of the handles that the task gets are inputs; the rest only had to be done."""
    private: bytes
    retries: int
    sources: tuple[PlannedDigest, ...]
    store_first: bool
    forced: bool
    info: RunInfo
    reports: bool
    """Whether the outcome is announced to the client of a cluster."""


def run_node(spec: Spec, *handles: Handle) -> Handle:
    """Produce the artifact of one node, by running its op only if nothing stored will do.

    Raises
    ------
    OpError
        If the op fails or returns what cannot be an artifact.
    ArtifactLostError
        If an input is gone and cannot be made again here.
    StaleCodeError
        If this process does not have the code that the digest stands for.
    """
    handle = _produce(spec, handles[: spec.count])
    if spec.reports:
        announce(spec, handle.outcome)
    return handle


def _produce(spec: Spec, inputs: tuple[Handle, ...]) -> Handle:
    store = spec.info.store.open()
    asks = not (spec.private or spec.forced)
    if spec.store_first and asks:
        handle = _stored(spec, store, inputs, spec.planned, "stored")
        if handle is not None:
            return handle
    manifest = assemble_manifest(
        spec.code.identity, spec.parts, [handle.descriptor for handle in inputs], spec.private
    )
    resolved = ResolvedDigest(manifests.digest(manifest))
    with _flights.alone((spec.info.store.token, resolved)):
        if asks:
            handle = _stored(spec, store, inputs, resolved, "same inputs")
            if handle is not None:
                return handle
        return _make(spec, store, inputs, manifest)


def load_node(planned: PlannedDigest, info: RunInfo) -> Handle:
    """Return a handle for a stored artifact; its bytes are read by whoever uses them.

    Raises
    ------
    ArtifactLostError
        If the store no longer has it.
    """
    found = info.store.open().lookup([planned]).get(planned)
    if found is None:
        raise ArtifactLostError(digest=planned.hex(), reason="its record is gone")
    record = found.record
    return Handle(
        planned, record.descriptor, record.kind, record.size, Outcome("stored"), info.store, record
    )


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


@dataclass(frozen=True, slots=True)
class NodeRecipe:
    """Makes a node again from its inputs, under plain Dask where nobody plans anew."""

    spec: Spec
    inputs: tuple[Handle, ...]

    def remake(self) -> Handle:
        return run_node(replace(self.spec, store_first=False), *self.inputs)

    def shortened(self, levels: int) -> NodeRecipe | None:
        """Return the recipe with at most this many levels of recipes inside: it may travel."""
        if levels == 0:
            return None
        inputs = tuple(
            handle
            if handle.recipe is None
            else replace(handle, recipe=handle.recipe.shortened(levels - 1))
            for handle in self.inputs
        )
        return NodeRecipe(self.spec, inputs)


def _stored(
    spec: Spec, store: Store, inputs: tuple[Handle, ...], digest: bytes, kind: str
) -> Handle | None:
    found = store.lookup([digest]).get(digest)
    if found is None or (found.entry is not None and _is_void(spec, inputs, found.entry)):
        return None
    record = found.record
    if digest != spec.planned:
        store.claim(spec.planned, record, _recorded(spec, inputs), writer=spec.info.writer)
    recipe = None
    if spec.store_first and (record.storage is None or record.blobs):
        recipe = NodeRecipe(spec, tuple(handle.light() for handle in inputs))
    return Handle(
        spec.planned, record.descriptor, record.kind, record.size, Outcome(kind),
        spec.info.store, record, recipe=recipe,
    )  # fmt: skip


def _is_void(spec: Spec, inputs: tuple[Handle, ...], entry: PlannedEntry) -> bool:
    """Whether a planned entry was made from other inputs than those of this run."""
    recorded = dict(entry.inputs)
    return any(
        recorded.get(source, handle.hash) != handle.hash
        for source, handle in zip(spec.sources, inputs, strict=True)
    )


def _recorded(spec: Spec, inputs: tuple[Handle, ...]) -> list[tuple[PlannedDigest, Any]]:
    return [(source, h.hash) for source, h in zip(spec.sources, inputs, strict=True)]


def _make(spec: Spec, store: Store, inputs: tuple[Handle, ...], manifest: bytes) -> Handle:
    function = function_of(spec.code)
    loaded = [handle.loaded() for handle in inputs]
    result, nanoseconds, attempts = _attempt(spec, function, loaded, store)
    try:
        encoded = encode(result)
    except NotCacheableError as error:
        raise op_returned(spec.node, spec.code.name, spec.planned, error) from None
    kind = type(result).__name__.removeprefix("Sealed").lower()
    del result  # what the op still holds must not keep a second copy alive here
    record = None
    if not spec.private:
        about = About(
            op=spec.code.name, node=spec.node, run=spec.info.run, writer=spec.info.writer,
            nanoseconds=nanoseconds, created=time.time_ns(), code=spec.code.fingerprint,
        )  # fmt: skip
        record = _publish(spec, store, encoded, manifest, kind, about, inputs)
    return Handle(
        spec.planned, encoded.descriptor, kind, encoded.size,
        Outcome("ran", nanoseconds, _worker(), attempts), spec.info.store, record,
        encoded.storage, dict(encoded.blobs),
    )  # fmt: skip


def _publish(
    spec: Spec,
    store: Store,
    encoded: Encoded,
    manifest: bytes,
    kind: str,
    about: About,
    inputs: tuple[Handle, ...],
) -> Any:
    try:
        return store.publish(
            encoded, manifest, kind=kind, about=about,
            planned=spec.planned, inputs=_recorded(spec, inputs),
        )  # fmt: skip
    except StoreUnavailableError as error:
        # The result is right and in memory; losing the run as well would help nobody.
        logger.warning("node %r is not persisted: %s", spec.node, error)
        return None


def _attempt(
    spec: Spec, function: Callable[..., Any], inputs: list[Handle], store: Store
) -> tuple[Any, int, int]:
    """Run the op, again if asked to; every attempt gets values of its own."""
    failed: OpFailedError | None = None
    for attempt in range(1, spec.retries + 2):
        arguments = _arguments(spec, inputs, store)
        start = time.perf_counter_ns()
        try:
            with fixed_surroundings():
                result = function(**arguments)
        except BaseException as error:
            # SystemExit too: it would take the worker down, and its neighbours with it. Only the
            # user's own Ctrl-C passes.
            if isinstance(error, KeyboardInterrupt) and in_main_thread():
                raise
            failed = op_failed(spec.node, spec.code.name, spec.planned, error)
            logger.warning("node %r: attempt %d failed: %s", spec.node, attempt, failed.cause_text)
        else:
            return result, time.perf_counter_ns() - start, attempt
    assert failed is not None
    # Outside of the handler: a context that cannot be pickled must not come along.
    raise failed from failed.__cause__


def _arguments(spec: Spec, inputs: list[Handle], store: Store) -> dict[str, Any]:
    def file(content: FileContent) -> Any:
        return open_file(content, _hasher, store.read_blob)

    arguments: dict[str, Any] = {}
    for name, _, payload in spec.parts:
        if isinstance(payload, int):
            arguments[name] = inputs[payload].value()
        elif isinstance(payload, bytes):
            arguments[name] = decode(payload, open_file=file)
        elif isinstance(payload, Encoded):
            arguments[name] = _decode(payload.storage, payload.blobs, (), file)
        else:
            assert isinstance(payload, Template)
            slots = [handle.value() for handle in inputs]
            arguments[name] = _decode(payload.storage, payload.blobs, slots, file)
    return arguments


def _decode(storage: bytes, blobs: dict[Any, bytes], slots: Sequence[Any], file: Any) -> Any:
    return decode(storage, fetch=lambda blob, _: blobs[blob], slots=slots, open_file=file)


def announce(spec: Spec, outcome: Outcome) -> None:
    """Tell the client of a cluster what happened; local schedulers hand it the handle itself."""
    worker = _cluster_worker()
    if worker is None:
        return
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


def in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _worker() -> str:
    worker = _cluster_worker()
    return "" if worker is None else str(worker.address)


def _cluster_worker() -> Any:
    """Return the distributed worker that runs this task, or None under a local scheduler."""
    distributed = sys.modules.get("distributed.worker")
    if distributed is None:
        return None
    try:
        return distributed.get_worker()
    except ValueError:
        return None
